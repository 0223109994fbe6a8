//! Why the tree did not do what it was asked: whose budget, which resource, when to retry.

use std::fmt;

use crate::amount::{Resource, Timestamp};
use crate::id::{BudgetId, HoldId, NameError};

/// What stood in the way of a hold at one budget, in the raw units of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shortfall {
    /// The budget that binds.
    pub budget: BudgetId,
    /// The resource that is short.
    pub resource: Resource,
    /// Its limit there; for a finalize reserve, what ordinary calls may use of it.
    pub limit: i64,
    /// What is spent there.
    pub spent: i64,
    /// What is held there by calls in flight.
    pub held: i64,
    /// What the call needed.
    pub needed: i64,
}

/// Why a hold was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It does not fit now and would fit if calls in flight ended cheaply: wait for one to end.
    NotNow(Shortfall),
    /// It would not fit even if every open hold were voided: do not retry.
    Never(Shortfall),
    /// It is larger than a single call may be: do not retry as it is.
    PerCall(Shortfall),
    /// The time of the budget is over: do not retry.
    Deadline(BudgetId),
    /// Its calls are slowed there: retry when others ended, or at that time where one is given.
    Throttled(BudgetId, Option<Timestamp>),
    /// The owner of the budget stopped it for now: retry when it is thawed.
    Frozen(BudgetId),
    /// The budget was released: do not retry.
    Released(BudgetId),
}

/// A request that the tree cannot carry out in its state; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// No budget has this id.
    UnknownBudget(BudgetId),
    /// No hold with this id is open, and none ended lately.
    UnknownHold(HoldId),
    /// A hold with this id exists with other terms, or has ended otherwise.
    Conflict(HoldId),
    /// The parent has a child of this name already.
    NameTaken(BudgetId),
    /// The name cannot name a budget.
    Name(NameError),
    /// A limit or an amount is negative.
    Negative,
    /// A sum left the range of 63-bit integers.
    OutOfRange,
    /// The child's guarantee or carved-out limit does not fit what its parent has left.
    DoesNotFit(Shortfall),
    /// A guarantee is larger than the child's own limit.
    GuaranteeAboveLimit,
    /// A static share needs a limit to carve out.
    StaticWithoutLimit,
    /// The tree would become deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
    /// The parent has [`MAX_CHILDREN`](crate::MAX_CHILDREN) children.
    TooManyChildren,
    /// The budget, or one above it, was released: nothing about it can change any more.
    Released(BudgetId),
    /// Calls are running at the budget or below: it cannot be released before they end.
    CallsRunning(u32),
    /// An elapsed limit on a budget that counts anew: it would end in its first window for good.
    ElapsedOnWindow,
    /// A level begins above the limit, or before the level below it.
    LevelsOutOfOrder,
    /// Only siblings lend to each other.
    NotSiblings,
    /// A loan between budgets that count in different windows, or from what is carved out to what
    /// is not.
    UnlikeTerms,
    /// The loan would make a circle of debts.
    LoanCycle,
    /// There is nothing that may be lent: no limit, no free surplus, or a level from Red on.
    NothingToLend,
}

// === impl Refusal ===

impl Refusal {
    /// Says whether the same request may be granted later without anybody raising a limit.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Refusal::NotNow(_) | Refusal::Throttled(..) | Refusal::Frozen(_)
        )
    }

    /// Returns the resource that is short, or `None` for elapsed time.
    pub const fn resource(&self) -> Option<Resource> {
        match self {
            Refusal::NotNow(short) | Refusal::Never(short) | Refusal::PerCall(short) => {
                Some(short.resource)
            }
            Refusal::Deadline(_)
            | Refusal::Throttled(..)
            | Refusal::Frozen(_)
            | Refusal::Released(_) => None,
        }
    }

    /// Returns the budget that refuses.
    pub const fn budget(&self) -> BudgetId {
        match self {
            Refusal::NotNow(short) | Refusal::Never(short) | Refusal::PerCall(short) => {
                short.budget
            }
            Refusal::Deadline(budget)
            | Refusal::Throttled(budget, _)
            | Refusal::Frozen(budget)
            | Refusal::Released(budget) => *budget,
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortfall {
            resource,
            limit,
            spent,
            held,
            needed,
            ..
        } = self;
        write!(
            f,
            "{resource}: limit {limit}, spent {spent}, held {held}, needed {needed}"
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotNow(short) => write!(f, "the hold does not fit now ({short})"),
            Refusal::Never(short) => write!(f, "the hold can never fit ({short})"),
            Refusal::PerCall(short) => write!(f, "the call is larger than one may be ({short})"),
            Refusal::Deadline(_) => f.write_str("the time of the budget is over"),
            Refusal::Throttled(..) => f.write_str("calls are slowed to make what is left last"),
            Refusal::Frozen(_) => f.write_str("the budget is frozen by its owner"),
            Refusal::Released(_) => f.write_str("the budget was released"),
        }
    }
}

impl std::error::Error for Refusal {}

// === impl TreeError ===

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeError::UnknownBudget(id) => write!(f, "no budget has the id {}", id.0),
            TreeError::UnknownHold(id) => write!(f, "no open hold has the id {id}"),
            TreeError::Conflict(id) => {
                write!(f, "hold {id} exists with other terms or ended otherwise")
            }
            TreeError::NameTaken(_) => f.write_str("the parent has a child of this name"),
            TreeError::Name(error) => error.fmt(f),
            TreeError::Negative => f.write_str("a limit or an amount is negative"),
            TreeError::OutOfRange => f.write_str("an amount is out of range"),
            TreeError::DoesNotFit(short) => write!(f, "the parent has not enough left ({short})"),
            TreeError::GuaranteeAboveLimit => {
                f.write_str("the guarantee is larger than the budget's own limit")
            }
            TreeError::StaticWithoutLimit => f.write_str("a static share needs a limit"),
            TreeError::TooDeep => f.write_str("the tree would become too deep"),
            TreeError::TooManyChildren => f.write_str("the parent has too many children"),
            TreeError::Released(_) => f.write_str("the budget was released"),
            TreeError::CallsRunning(count) => write!(f, "{count} calls are still running"),
            TreeError::ElapsedOnWindow => {
                f.write_str("an elapsed limit cannot be combined with a window")
            }
            TreeError::LevelsOutOfOrder => {
                f.write_str("levels begin one after the other, the last within the limit")
            }
            TreeError::NotSiblings => f.write_str("only siblings lend to each other"),
            TreeError::UnlikeTerms => f.write_str(
                "only budgets of the same window lend to each other, and carved-out ones only to \
                 carved-out ones",
            ),
            TreeError::LoanCycle => f.write_str("the loan would make a circle of debts"),
            TreeError::NothingToLend => f.write_str("there is nothing that may be lent"),
        }
    }
}

impl std::error::Error for TreeError {}

impl From<NameError> for TreeError {
    fn from(error: NameError) -> Self {
        TreeError::Name(error)
    }
}

impl From<crate::amount::OutOfRange> for TreeError {
    fn from(_: crate::amount::OutOfRange) -> Self {
        TreeError::OutOfRange
    }
}
