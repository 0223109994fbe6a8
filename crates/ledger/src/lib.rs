//! The durable journal of a budget: what the engine did, kept so that no crash loses it.
//!
//! One SQLite file holds one tree of budgets. A single writer thread owns the only writing
//! connection and commits whatever is queued in one transaction ([group commit]), then answers
//! every caller at once. Entries are append-only and chained by hash; balances, open holds and
//! roll-ups follow from them and are written every so many entries, in one transaction with the
//! number of the last. So opening a journal reads budgets, open holds and the entries after that
//! one, never its history.
//!
//! This crate decides nothing about budgets: it books what the engine already applied, in the
//! engine's order, and refuses entries that cannot follow from those before. It reads no clock
//! and knows no prices.
//!
//! ```no_run
//! use fisc_core::{Amount, BudgetId, HoldId, Money, TimeUs, Timestamp, Tokens};
//! use fisc_ledger::{CallLabel, Durability, Entry, Journal, Options};
//!
//! # async fn example(now: Timestamp, call: CallLabel) -> Result<(), Box<dyn std::error::Error>> {
//! let (journal, recovered) = Journal::open(Options::new("ledger.db", Durability::Full, now))?;
//! for hold in recovered.open {
//!     // Its end is unknown: charged until somebody knows better.
//!     let _ = journal.append(now, Entry::Doubt { id: hold.id, charged: hold.amount });
//! }
//! let amount = Amount::new(Tokens(4_000), Money::from_nanos(12_000_000), TimeUs(0));
//! let hold = Entry::Hold { id: HoldId(1), budget: BudgetId(0), amount, call };
//! journal.append(now, hold).durable().await?;
//! // Only now may the request be sent.
//! # Ok(())
//! # }
//! ```
//!
//! [group commit]: Journal::append
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod books;
mod chain;
mod counters;
mod entry;
mod error;
mod journal;
mod lock;
mod reader;
mod recovery;
mod row;
mod schema;
mod verify;

pub use chain::Hash;
pub use counters::Totals;
pub use entry::{CallLabel, Entry, Facts, Kind, Outcome};
pub use error::{Error, Poisoned, VerifyError};
pub use journal::{Durability, Journal, Note, Options, Ticket};
pub use reader::{EntryRow, EventRow, Filter, GroupBy, Reader, RefusalRow, RollupRow, Snapshot};
pub use recovery::{BudgetRow, DoubtfulHold, OpenHold, Recovered};
pub use verify::{Verified, verify, verify_on};
