//! What can go wrong with a journal, and whose turn it is then.

use std::path::PathBuf;
use std::sync::Arc;

use fisc_core::{BudgetId, HoldId};

/// Says why a journal cannot be opened, read or closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process writes this journal. Retry when it has ended.
    #[error(
        "{path} is in use by {holder}; one process writes a ledger at a time: end that one, \
         or choose another file (reading needs no lock)"
    )]
    Locked {
        /// The journal.
        path: PathBuf,
        /// Who has it, as that process wrote in the lock file.
        holder: String,
    },
    /// The journal lies on a file system that does not lock or sync as SQLite's WAL needs.
    #[error("{path} is on {kind}, which cannot keep a ledger safe; choose a local disk")]
    NetworkFilesystem {
        /// The journal.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// The linked SQLite is older than the fix of its WAL-reset bug.
    #[error("sqlite {found} is too old: it can corrupt a ledger; at least 3.51.3 is needed")]
    OldSqlite {
        /// `sqlite3_libversion_number()`.
        found: i32,
    },
    /// There is no such file.
    #[error("there is no ledger at {0}")]
    Missing(PathBuf),
    /// The file is some other SQLite database.
    #[error("{0} is a database of another program")]
    NotALedger(PathBuf),
    /// The journal was written by a newer release.
    #[error("the ledger has schema {found}, this release knows {known}; use a newer release")]
    Newer {
        /// The schema version found.
        found: i64,
        /// The newest schema version known here.
        known: i64,
    },
    /// A migration step differs from the one that made this file.
    #[error(
        "the ledger was made by another build, whose schema step {version} differs; use that \
         build, or a new ledger"
    )]
    ChangedStep {
        /// The step's number.
        version: i64,
    },
    /// SQLite did not switch to write-ahead logging.
    #[error("the ledger cannot use a write-ahead log (journal mode {mode})")]
    NoWal {
        /// The mode it stayed in.
        mode: String,
    },
    /// Balances and open holds contradict each other. Restore a backup, or run `verify`.
    #[error("the ledger contradicts itself: {0}; restore a backup or look with verify")]
    Inconsistent(String),
    /// The journal ended on a storage error last time and does not verify, or one of its last
    /// entries is not as it was written.
    #[error("the ledger was damaged: {0}; restore a backup")]
    Damaged(#[from] VerifyError),
    /// A file operation beside the database failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The database answered with an error.
    #[error("the ledger's database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer had stopped before.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Says that an entry is not known to be durable: the writer stopped at a storage error or at an
/// entry that cannot follow from those before. Nothing is retried on it: open the file again, and
/// let that journal take over ([`Journal::take_over`](crate::Journal::take_over)).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger stopped and must be reopened: {reason}")]
pub struct Poisoned {
    /// What happened, for people.
    pub reason: Arc<str>,
}

/// Says what is wrong with a journal. The first wrong entry is named.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The journal cannot be opened or read at all.
    #[error("cannot read the ledger: {0}")]
    Unreadable(Box<Error>),
    /// An entry cannot be read.
    #[error("entry {seq} is unreadable: {problem}")]
    Malformed {
        /// The entry's number.
        seq: u64,
        /// What was found.
        problem: String,
    },
    /// An entry is not the one that was written, or one before it is missing.
    #[error("entry {seq} was changed: its hash does not follow from the entry before")]
    Chain {
        /// The first entry whose hash is wrong.
        seq: u64,
    },
    /// An entry cannot follow from those before it.
    #[error("entry {seq} cannot follow from those before: {problem}")]
    Impossible {
        /// The entry's number.
        seq: u64,
        /// What is wrong.
        problem: String,
    },
    /// The database's own structure is damaged.
    #[error("the database is damaged: {0}")]
    Structure(String),
    /// A budget's row, balance or roll-up is not the fold of the entries.
    #[error("budget {}: {what} is {stored}, the entries say {folded}", budget.0)]
    Budget {
        /// The budget.
        budget: BudgetId,
        /// Which figure.
        what: &'static str,
        /// What the tables say.
        stored: String,
        /// What the entries add up to.
        folded: String,
    },
    /// An open or doubtful hold is not as the entries say.
    #[error("hold {id}: {problem}")]
    Hold {
        /// The hold.
        id: HoldId,
        /// What is wrong.
        problem: &'static str,
    },
}

// === impl VerifyError ===

impl From<Error> for VerifyError {
    fn from(error: Error) -> VerifyError {
        match error {
            Error::Damaged(found) => found,
            Error::Inconsistent(problem) => VerifyError::Structure(problem),
            other => VerifyError::Unreadable(Box::new(other)),
        }
    }
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> VerifyError {
        VerifyError::from(Error::from(error))
    }
}
