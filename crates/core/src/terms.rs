//! What a budget is allowed: its limits, what its parent keeps for it, its wrap-up reserve.

use crate::amount::{Amount, Resource, TimeUs};
use crate::id::BudgetId;
use crate::level::Levels;
use crate::sharing::Sharing;
use crate::window::Window;

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
    /// What keeps it from starving, fixed when it is allocated: the smaller of 5% of the
    /// parent's limit and half an equal part, as far as the parent can still keep it.
    Automatic,
}

/// Whether a budget is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Calls are admitted as far as there is room.
    #[default]
    Open,
    /// Its owner stopped it for now: nothing is admitted here and below; running calls end as
    /// they would.
    Frozen,
    /// Its work is done: nothing is admitted here and below ever again, and what it did not use
    /// is its parent's.
    Released,
}

/// Who froze a budget. Of those who may freeze a budget at all, each stands for one on its path,
/// and the order is theirs: who stands above comes first, an owner before a delegate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Freezer {
    /// The budget that it stands for.
    pub root: BudgetId,
    /// Whether it is a delegate, which may not change its root itself.
    pub delegate: bool,
}

/// How much a budget counts beside its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

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
    /// Whether it is in use.
    pub state: State,
    /// Who froze it, while it is frozen; `None` is the owner of the tree.
    pub frozen_by: Option<Freezer>,
    /// How its children share what it has.
    pub sharing: Sharing,
    /// How much it counts beside its siblings.
    pub weight: Weight,
    /// What it will have spent when it is done, as its owner expects.
    pub need: Limits,
    /// The share of its surplus that siblings may borrow.
    pub lendable: Lendable,
    /// When what it spent counts anew.
    pub window: Window,
    /// Where its levels begin; what is not said is as at its parent.
    pub levels: Levels,
    /// The most that calls here and below may spend a minute, however much is left.
    pub rate: Limits,
    /// Whether it only watches: all is computed and reported, and nothing refused.
    pub observed: bool,
}

/// The share of a budget's unheld surplus that siblings may borrow, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lendable(pub Permille);

// === impl Freezer ===

impl Freezer {
    /// The owner of the tree.
    pub const OWNER: Freezer = Freezer {
        root: BudgetId(0),
        delegate: false,
    };

    /// Says whether whoever this is may undo what `other` did: it stands as high, or higher.
    pub fn may_undo(self, other: Freezer) -> bool {
        // On one path, ids are given from above downwards.
        self <= other
    }
}

impl Terms {
    /// Freezes it, or lets it go on, in the name of `by`; says whether it did. Who stands lower
    /// than whoever froze it changes nothing.
    pub fn set_frozen(&mut self, frozen: bool, by: Freezer) -> bool {
        let former = self.frozen_by.unwrap_or(Freezer::OWNER);
        match (self.state, frozen) {
            (State::Frozen, _) if !by.may_undo(former) => return frozen,
            (State::Released, _) => return false,
            _ => {}
        }
        self.state = if frozen { State::Frozen } else { State::Open };
        self.frozen_by = frozen.then_some(by);
        true
    }
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

// === impl Weight ===

impl Default for Weight {
    fn default() -> Self {
        Weight(1)
    }
}

// === impl Lendable ===

impl Default for Lendable {
    fn default() -> Self {
        Lendable(Permille(500))
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
