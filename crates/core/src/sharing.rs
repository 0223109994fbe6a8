//! How the children of one budget share what it has: pure functions from what is known of every
//! child to what each may commit. The tree calls them and books the result; nothing here keeps
//! state, reads a clock or calculates with floats.
//!
//! Every model keeps the same promises, resource by resource. The shares add up to no more than
//! the total. Nobody falls below what it committed, and, as far as the total reaches, below its
//! guarantee. Nobody gets more than its limit. Nothing stays undivided while an active member
//! may still take it. Where more is committed than there is, everybody keeps just that.

use crate::amount::{Amount, Timestamp};
use crate::terms::Limits;

pub mod auction;
mod dynamic;
mod fair;
mod fill;
pub mod lend;
mod proportional;
mod stuck;
mod table;

#[cfg(test)]
mod tests;

use table::Tables;

/// How a budget divides what it has among its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Whoever calls draws on what is there, beside the guarantees; waiting calls are served in
    /// fair order.
    #[default]
    Pool,
    /// The same for everybody.
    Equal,
    /// An equal share for everybody, never beyond the need; the rest in proportion to what is
    /// missing to the declared or predicted needs.
    Proportional,
    /// In proportion to the weights.
    Priority,
    /// Weighted max-min over the dominant resource: nobody gets more while somebody with less
    /// wants more.
    Fair,
    /// A floor of 0.75 of the fair share, the rest to the smallest predicted remaining need.
    Dynamic,
    /// The guarantees first; the surplus is sold per period to the highest bids.
    Auction,
}

/// Whether a child still takes part in the division.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It calls, or may call any moment.
    Active,
    /// It has not called for a while: what it does not use may be reclaimed, and is given back
    /// when it calls again, as far as there is any.
    Idle,
    /// It was released: it keeps what it committed and nothing more.
    Released,
}

/// One child as a division sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Whether it takes part.
    pub standing: Standing,
    /// Its weight among its siblings, at least 1.
    pub weight: u32,
    /// What it will have spent in total when it is done, as predicted; `None` is unknown: it
    /// wants whatever it can get. A need that is committed already was a wrong prediction, and
    /// counts as unknown; but whoever neither used nor needs any of a resource wants none.
    pub need: Limits,
    /// What it spent and holds.
    pub committed: Amount,
    /// What the last of its calls that found no room would hold; nothing once one found some, or
    /// gave up.
    pub waiting: Amount,
    /// What nobody can take from it.
    pub guarantee: Amount,
    /// Its own limit, `i64::MAX` where there is none.
    pub limit: Amount,
    /// What the last division gave it; `None` before the first.
    pub share: Option<Amount>,
    /// When it was allocated.
    pub since: Timestamp,
}

// === impl Sharing ===

impl Sharing {
    /// Every way to share.
    pub const ALL: [Sharing; 7] = [
        Sharing::Pool,
        Sharing::Equal,
        Sharing::Proportional,
        Sharing::Priority,
        Sharing::Fair,
        Sharing::Dynamic,
        Sharing::Auction,
    ];

    /// Returns its name in configurations and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Sharing::Pool => "pool",
            Sharing::Equal => "equal",
            Sharing::Proportional => "proportional",
            Sharing::Priority => "priority",
            Sharing::Fair => "fair",
            Sharing::Dynamic => "dynamic",
            Sharing::Auction => "auction",
        }
    }

    /// Returns the way to share of that name.
    pub fn named(name: &str) -> Option<Sharing> {
        Sharing::ALL
            .into_iter()
            .find(|sharing| sharing.name() == name)
    }
}

/// Divides `total` among `members` and returns the share of each, in their order: the most that
/// it may have committed until the next division. Of a resource that is unlimited (`i64::MAX`)
/// every share is unlimited too.
///
/// A [pool](Sharing::Pool) is not divided: everybody's share is its own limit. Between two
/// [auctions](auction::auction) everybody keeps the last share.
pub fn divide(sharing: Sharing, total: Amount, members: &[Member]) -> Vec<Amount> {
    if sharing == Sharing::Pool {
        return members.iter().map(|member| member.limit).collect();
    }
    let tables = Tables::new(total, members);
    let shares = match sharing {
        Sharing::Pool | Sharing::Auction => tables.kept(members),
        Sharing::Equal => tables.by_weight(|_| 1),
        Sharing::Priority => tables.by_weight(|i| members[i].weight),
        Sharing::Proportional => proportional::shares(&tables),
        Sharing::Fair => tables.spread(&fair::shares(&tables, members), members),
        Sharing::Dynamic => dynamic::shares(&tables, members),
    };
    let shares = match sharing {
        Sharing::Auction => shares,
        _ => stuck::relieve(sharing, &tables, members, shares),
    };
    shares.into_iter().map(Amount::from_raw).collect()
}
