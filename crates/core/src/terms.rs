//! What a budget is allowed: its limits, what its parent keeps for it, its wrap-up reserve.

use crate::amount::{Amount, Resource, TimeUs};

/// An upper limit for each resource; `None` is unlimited, 0 denies everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits([Option<i64>; Resource::COUNT]);

/// What a parent keeps free for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Claim {
    /// Nothing: the child draws on what is there when it calls.
    #[default]
    Nothing,
    /// This much, whatever its siblings do.
    Guarantee(Amount),
    /// Its whole limit, carved out of the parent.
    Limit,
}

/// The share of every limit that only calls marked *finalize* may use, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Permille(pub u16);

/// Everything that its owner decides about one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// What the budget and everything below it may spend together.
    pub limits: Limits,
    /// How long after its allocation the budget may be used, in wall-clock time.
    pub elapsed: Option<TimeUs>,
    /// What the parent keeps for it.
    pub claim: Claim,
    /// The wrap-up reserve of each limit.
    pub reserve: Permille,
    /// The most that a single call below this budget may hold.
    pub per_call: Limits,
}

// === impl Limits ===

impl Limits {
    /// No limit on anything.
    pub const NONE: Limits = Limits([None; Resource::COUNT]);

    /// Returns the limit of one resource in its raw units.
    pub const fn get(&self, resource: Resource) -> Option<i64> {
        self.0[resource.index()]
    }

    /// Returns the same limits with that of one resource replaced.
    #[must_use]
    pub const fn with(mut self, resource: Resource, limit: Option<i64>) -> Limits {
        self.0[resource.index()] = limit;
        self
    }

    /// Says whether nothing is limited.
    pub fn is_none(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Returns the limits as an amount, with `unlimited` where there is none.
    pub fn or(&self, unlimited: i64) -> Amount {
        Amount::from_raw(self.0.map(|limit| limit.unwrap_or(unlimited)))
    }

    /// Returns the tighter of both limits, resource by resource.
    #[must_use]
    pub fn tightest(&self, other: &Limits) -> Limits {
        Limits(std::array::from_fn(|i| match (self.0[i], other.0[i]) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        }))
    }

    /// Says whether every given limit is 0 or more.
    pub fn is_non_negative(&self) -> bool {
        self.0.iter().flatten().all(|limit| *limit >= 0)
    }
}

// === impl Permille ===

impl Permille {
    /// The whole.
    pub const ONE: Permille = Permille(1000);

    /// Returns this share of `whole`, rounded down.
    pub const fn of(self, whole: i64) -> i64 {
        (whole as i128 * self.0 as i128 / 1000) as i64
    }

    /// Returns this share of `whole`, rounded up.
    pub const fn of_ceil(self, whole: i64) -> i64 {
        let product = whole as i128 * self.0 as i128;
        ((product + 999) / 1000) as i64
    }
}
