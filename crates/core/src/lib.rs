//! The budget as a deterministic state machine.
//!
//! A [`Tree`] holds budgets; every call of an agent takes a hold at its budget and at every
//! ancestor, and ends it exactly once: settled, voided, or charged in doubt. Nothing here does
//! I/O, reads a clock, draws randomness or is async: time and ids come in as arguments, so the
//! same code runs in production, in property tests, in the simulator and in `verify`.
//!
//! All amounts are integers and every sum is checked; nothing wraps.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod amount;
mod event;
mod forecast;
mod id;
pub mod invariants;
mod level;
mod money;
mod refusal;
pub mod sharing;
mod terms;
mod tree;
mod usage;
mod window;

pub use amount::{Amount, OutOfRange, Resource, TimeUs, Timestamp, Tokens};
pub use event::{Answer, Event, Sign};
pub use forecast::{Course, Estimate, Forecast, History, Method, Past, Profile, Shape};
pub use id::{BudgetId, HoldId, MAX_NAME_BYTES, NameError, check_name};
pub use level::{Level, Levels, Thresholds};
pub use money::{Money, ParseMoneyError};
pub use refusal::{Refusal, Shortfall, TreeError};
pub use terms::{Claim, Freezer, Lendable, Limits, Permille, State, Terms, Weight};
pub use tree::{
    Acting, BudgetView, Headroom, HoldView, IDLE, Kept, Loan, MAX_CHILDREN, MAX_DEPTH, Receipt,
    Restored, Tree,
};
pub use usage::{TokenClass, TokenCounting, Units, Usage};
pub use window::{Calendar, Period, Span, Window, Zone, ZoneError};
