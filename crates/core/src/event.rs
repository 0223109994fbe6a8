//! What a change caused, for logs, alerts and the live view.

use crate::amount::{Amount, Resource};
use crate::id::BudgetId;
use crate::level::Level;
use crate::window::Span;

/// What makes a program look as if it ran away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// It asks the same again and again.
    Repeats,
    /// What it sends grows faster and faster.
    Growth,
    /// It calls far more often than it used to.
    Rate,
}

/// How a question to the owner of a budget ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// More was approved.
    Approved,
    /// There was room all the same: a limit was raised, or a window began.
    Room,
    /// It was denied.
    Denied,
    /// Nobody answered in time.
    TimedOut,
}

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
    /// A budget was frozen, or goes on.
    Frozen {
        /// The budget.
        budget: BudgetId,
        /// Whether nothing is admitted now.
        frozen: bool,
    },
    /// At this pace a limit will not last until the horizon.
    Forecast {
        /// The budget.
        budget: BudgetId,
        /// The resource.
        resource: Resource,
        /// What will have been spent at the horizon, in raw units.
        total: i64,
        /// The limit.
        limit: i64,
        /// Whether it is so likely that the level acts one step early.
        raised: bool,
    },
    /// An agent looks as if it ran away.
    Runaway {
        /// Its budget.
        budget: BudgetId,
        /// What gave it away.
        sign: Sign,
    },
    /// Calls for which nothing is left wait for the owner of a budget to decide.
    Asked {
        /// The budget that has run out.
        budget: BudgetId,
        /// Of what.
        resource: Resource,
        /// What the first of them lacks, in raw units.
        lacks: i64,
    },
    /// The owner of a budget decided, or did not.
    Answered {
        /// The budget that had run out.
        budget: BudgetId,
        /// Of what.
        resource: Resource,
        /// How it ended.
        answer: Answer,
    },
}

// === impl Event ===

impl Event {
    /// Returns the budget it is about; of a loan, whose limit rose.
    pub const fn budget(&self) -> BudgetId {
        match self {
            Event::LevelChanged { budget, .. }
            | Event::Overrun { budget, .. }
            | Event::Finalize { budget }
            | Event::Released { budget }
            | Event::Lent {
                borrower: budget, ..
            }
            | Event::WindowBegan { budget, .. }
            | Event::Frozen { budget, .. }
            | Event::Forecast { budget, .. }
            | Event::Runaway { budget, .. }
            | Event::Asked { budget, .. }
            | Event::Answered { budget, .. } => *budget,
        }
    }

    /// Returns the name of what happened, in the ledger and in alerts.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::LevelChanged { .. } => "level",
            Event::Overrun { .. } => "overrun",
            Event::Finalize { .. } => "finalize",
            Event::Released { .. } => "released",
            Event::Lent { .. } => "lent",
            Event::WindowBegan { .. } => "window",
            Event::Frozen { .. } => "frozen",
            Event::Forecast { .. } => "forecast",
            Event::Runaway { .. } => "runaway",
            Event::Asked { .. } => "asked",
            Event::Answered { .. } => "answered",
        }
    }
}

// === impl Sign ===

impl Sign {
    /// Every sign.
    pub const ALL: [Sign; 3] = [Sign::Repeats, Sign::Growth, Sign::Rate];

    /// Returns the sign's name in the ledger and in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Sign::Repeats => "repeats",
            Sign::Growth => "growth",
            Sign::Rate => "rate",
        }
    }
}

// === impl Answer ===

impl Answer {
    /// Returns the answer's name in the ledger and in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Answer::Approved => "approved",
            Answer::Room => "room",
            Answer::Denied => "denied",
            Answer::TimedOut => "timed_out",
        }
    }
}
