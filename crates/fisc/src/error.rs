//! What can go wrong between a caller and the ledger: whose fault, and when to retry.

use fisc_core::{Refusal, TreeError};
use fisc_ledger::Poisoned;

/// Why an allocation, a hold or a settlement was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The budget refuses. The caller's fault; retry only when the refusal is temporary.
    #[error("budget '{path}': {refusal}")]
    Refused {
        /// The path of the budget that refuses.
        path: String,
        /// Why.
        refusal: Refusal,
    },
    /// The request makes no sense in the tree's state. The caller's fault; do not retry.
    #[error("{0}")]
    Tree(#[from] TreeError),
    /// No budget has this path. The caller's fault; do not retry.
    #[error("no budget has the path '{0}'")]
    UnknownPath(String),
    /// The ledger cannot write now. Our fault; retry in a few seconds.
    #[error("the ledger cannot write: {0}")]
    Ledger(String),
    /// So much is waiting to be written that nothing new is admitted. Our fault; retry in a
    /// second.
    #[error("the ledger is behind: {0} entries are not yet written")]
    Behind(usize),
    /// The ledger file could not be opened. The owner's fault; the message says how to mend it.
    #[error(transparent)]
    Open(#[from] fisc_ledger::Error),
    /// The ledger holds terms that this version cannot read. The owner's fault; use the version
    /// that wrote it, or a later one.
    #[error("the ledger holds terms that this version cannot read: '{0}'")]
    UnreadableTerms(String),
    /// The ledger counts other tokens than asked for. The owner's fault; use another ledger, or
    /// the counting it has.
    #[error("the ledger counts {kept} tokens, not {asked}; use its counting or another ledger")]
    OtherCounting {
        /// What it counts.
        kept: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// The operating system gave no randomness. Its fault; retry.
    #[error("no randomness for an id: {0}")]
    NoRandomness(getrandom::Error),
}

// === impl Error ===

impl Error {
    /// Returns the refusal, when the budget said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

impl From<Poisoned> for Error {
    fn from(poisoned: Poisoned) -> Self {
        Error::Ledger(poisoned.to_string())
    }
}
