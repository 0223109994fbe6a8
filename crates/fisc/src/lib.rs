#![doc = include_str!("docs/guide.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod clock;
mod engine;
mod error;
mod handle;
mod hold;
mod id;
mod open;
mod reopen;
mod terms_text;
mod wait;

pub use engine::InDoubt;
pub use error::Error;
pub use fisc_core as core;
pub use fisc_core::{
    Amount, BudgetId, Claim, Event, Headroom, HoldId, Level, Limits, Money, Permille, Refusal,
    Resource, Shortfall, Terms, TimeUs, Timestamp, TokenCounting, Tokens, Usage,
};
pub use fisc_ledger::{CallLabel, Durability, Facts, Outcome};
pub use handle::{Budget, BudgetStatus, Fisc, Standing};
pub use hold::{Charge, Hold, Settled};
pub use open::{COUNTING_KEY, Options};
pub use terms_text::read as read_terms;
pub use wait::{Patience, Plan};
