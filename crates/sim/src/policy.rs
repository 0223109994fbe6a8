//! The ways of sharing that are compared.

use std::fmt;
use std::str::FromStr;

use fisc_core::sharing::Sharing;

/// A way of sharing one budget among a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// A fixed equal part for everybody; what one leaves nobody else gets.
    Static,
    /// The same fixed parts; whoever runs out borrows what others are predicted not to need.
    Loans,
    /// Guarantees, and a pool beside them.
    Pool,
    /// Equal shares, divided anew when somebody finishes.
    Equal,
    /// By the estimated needs, above a protected equal share.
    Proportional,
    /// By weights of 1, 2 or 4.
    Priority,
    /// Max-min without any knowledge of needs.
    Fair,
    /// A floor of 0.75 of the fair share, the rest to the smallest estimated remaining need.
    Dynamic,
    /// Guarantees, and the surplus sold every ten seconds.
    Auction,
}

// === impl Policy ===

impl Policy {
    /// Every policy, in the order of reports.
    pub const ALL: [Policy; 9] = [
        Policy::Dynamic,
        Policy::Fair,
        Policy::Equal,
        Policy::Proportional,
        Policy::Priority,
        Policy::Pool,
        Policy::Auction,
        Policy::Static,
        Policy::Loans,
    ];

    /// Returns its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Static => "static",
            Policy::Loans => "loans",
            Policy::Pool => "pool",
            Policy::Equal => "equal",
            Policy::Proportional => "proportional",
            Policy::Priority => "priority",
            Policy::Fair => "fair",
            Policy::Dynamic => "dynamic",
            Policy::Auction => "auction",
        }
    }

    /// Returns how the tree divides under it; `None` where shares are fixed for good.
    pub const fn sharing(self) -> Option<Sharing> {
        Some(match self {
            Policy::Static | Policy::Loans => return None,
            Policy::Pool => Sharing::Pool,
            Policy::Equal => Sharing::Equal,
            Policy::Proportional => Sharing::Proportional,
            Policy::Priority => Sharing::Priority,
            Policy::Fair => Sharing::Fair,
            Policy::Dynamic => Sharing::Dynamic,
            Policy::Auction => Sharing::Auction,
        })
    }

    /// Says whether it is told what agents are estimated to need.
    pub const fn knows_estimates(self) -> bool {
        matches!(
            self,
            Policy::Proportional | Policy::Dynamic | Policy::Auction | Policy::Loans
        )
    }

    /// Says whether shares are divided anew as work goes on.
    pub const fn rebalances(self) -> bool {
        !matches!(self, Policy::Static | Policy::Loans | Policy::Pool)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        let named = Policy::ALL.into_iter().find(|policy| policy.name() == text);
        named.ok_or_else(|| {
            let names = Policy::ALL.map(Policy::name).join(", ");
            format!("no policy is called {text:?}; there are {names}")
        })
    }
}
