#![doc = include_str!("docs/guide.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod calendar;
pub mod clock;
mod engine;
mod error;
mod events;
mod foresight;
mod handle;
mod histogram;
mod hold;
mod id;
mod open;
mod past;
mod queue;
mod reopen;
mod runaway;
mod share;
mod terms_text;
mod throttle;
mod wait;

pub use calendar::zone_exists;
pub use engine::{InDoubt, read_tree};
pub use error::Error;
pub use events::Noted;
pub use fisc_core as core;
pub use fisc_core::{
    Acting, Amount, Answer, BudgetId, Claim, Event, Freezer, Headroom, HoldId, Lendable, Level,
    Levels, Limits, Loan, Money, Period, Permille, Refusal, Resource, Shortfall, Sign, Span, State,
    Terms, Thresholds, TimeUs, Timestamp, TokenCounting, Tokens, Usage, Weight, Window, Zone,
    sharing::Sharing,
};
pub use fisc_ledger::{
    CallLabel, Durability, EventRow, Facts, Filter, GroupBy, Note, Outcome, Reader, RollupRow,
    Totals,
};
pub use foresight::{ForecastView, Foreseen, Foresight, PastRuns};
pub use handle::{Budget, BudgetStatus, Fisc, Standing};
pub use histogram::Histogram;
pub use hold::{Charge, Hold, Settled};
pub use open::{COUNTING_KEY, Options};
pub use past::{PastCall, past_calls};
pub use runaway::{Asked, Raised, Runaways};
pub use terms_text::{read as read_terms, write as write_terms};
pub use throttle::Restraint;
pub use wait::{Asking, Patience, Plan};
