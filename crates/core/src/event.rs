//! What a change caused, for logs, alerts and the live view.

use crate::amount::{Amount, Resource};
use crate::id::BudgetId;
use crate::level::Level;
use crate::window::Span;

/// What the elapsed clock or a resource of a budget did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The level of one resource of one budget moved one step (skipped levels fire in order).
    LevelChanged {
        /// The budget.
        budget: BudgetId,
        /// The resource, or `None` for elapsed time.
        resource: Option<Resource>,
        /// The level before.
        from: Level,
        /// The level now.
        to: Level,
    },
    /// A settlement took a budget over its limit by this much more than before.
    Overrun {
        /// The budget.
        budget: BudgetId,
        /// How much the overrun grew.
        by: Amount,
    },
    /// What a budget spends leads beyond 95 % of its limit.
    Forecast {
        /// The budget.
        budget: BudgetId,
        /// The resource.
        resource: Resource,
        /// What it is expected to have spent at its horizon.
        at_horizon: i64,
        /// Its limit.
        limit: i64,
        /// Whether it is so likely that its level acts one step early.
        raised: bool,
    },
    /// A hold used a budget's wrap-up reserve.
    Finalize {
        /// The budget of the agent.
        budget: BudgetId,
    },
    /// A budget ended; what it did not use is its parent's.
    Released {
        /// The budget.
        budget: BudgetId,
    },
    /// A sibling lent a part of its limit.
    Lent {
        /// Whose limit fell.
        lender: BudgetId,
        /// Whose limit rose.
        borrower: BudgetId,
        /// By how much.
        amount: Amount,
    },
    /// A window of a budget began: what was spent before counts no more.
    WindowBegan {
        /// The budget.
        budget: BudgetId,
        /// The window.
        span: Span,
        /// What the last one left to it.
        carried: Amount,
    },
}
