//! The journal as its callers see it: open, append, wait for durability, close.
//!
//! [`Journal`] is the handle; `queue` is what lies between it and the writer thread, `writer` is
//! that thread, `statements` its SQL; `checkpointer` moves what it wrote into the database.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fisc_core::{BudgetId, Timestamp};
use rusqlite::Connection;

use crate::books::{self, Books};
use crate::entry::Entry;
use crate::error::{Error, Poisoned};
use crate::lock::{self, Lock};
use crate::reader::EventRow;
use crate::recovery::{self, Recovered};
use crate::schema::{self, Access};
use crate::verify;

mod checkpointer;
mod queue;
mod statements;
mod writer;

pub use queue::{Note, Ticket};

use checkpointer::Checkpointer;
use queue::{Command, RefusalKey, Shared};
use writer::{Rhythm, Writer};

type Meta = HashMap<String, String>;

/// How many commits may pass between two checkpoints by default: some megabytes of log.
const CHECKPOINT_COMMITS: u32 = 1_024;

/// After how many entries balances and holds are written by default: opening and every report read
/// these entries again, a few milliseconds' work.
const TAIL_ENTRIES: usize = 512;

/// What an acknowledged entry survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Power loss: the disk has it before anybody is answered.
    #[default]
    Full,
    /// The end of the process, `kill -9` included: the kernel has it.
    Process,
    /// As [`Durability::Process`], and nobody waits: tickets are ready at once.
    Async,
}

/// How to open a journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file; made where it does not exist.
    pub path: PathBuf,
    /// What an acknowledged entry survives.
    pub durability: Durability,
    /// The time now, shown to whoever finds the journal locked.
    pub now: Timestamp,
    /// A VFS of SQLite other than the default; tests plant a faulty disk. The file is then
    /// locked as a whole, so no reader stands beside the writer.
    pub vfs: Option<String>,
    /// How many commits may pass between two checkpoints.
    pub checkpoint_commits: u32,
    /// After how many entries balances, open holds and roll-ups are written; until then they
    /// follow from the entries, which are read again by whoever opens the journal.
    pub tail_entries: usize,
}

/// The journal of one tree of budgets, and its writer thread.
///
/// Dropping it writes what is queued and closes the file, as [`Journal::close`] does, but for
/// telling whether that succeeded.
pub struct Journal {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<(), Error>>>,
    meta: Mutex<Meta>,
}

// === impl Durability ===

impl Durability {
    /// Returns the setting's name in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Full => "full",
            Durability::Process => "process",
            Durability::Async => "async",
        }
    }

    /// Reads what [`Durability::name`] writes.
    pub fn parse(name: &str) -> Option<Durability> {
        [Durability::Full, Durability::Process, Durability::Async]
            .into_iter()
            .find(|durability| durability.name() == name)
    }
}

// === impl Options ===

impl Options {
    /// Makes the options for a file on the local disk.
    pub fn new(path: impl Into<PathBuf>, durability: Durability, now: Timestamp) -> Options {
        Options {
            path: path.into(),
            durability,
            now,
            vfs: None,
            checkpoint_commits: CHECKPOINT_COMMITS,
            tail_entries: TAIL_ENTRIES,
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Opens the journal for writing, making it where there is none, and returns what it knows.
    ///
    /// Takes time in proportion to budgets, holds without an end, and the entries since these were
    /// last written, fewer than [`Options::tail_entries`]. Only when the last writer stopped at a
    /// storage error is everything verified first.
    pub fn open(options: Options) -> Result<(Journal, Recovered), Error> {
        lock::check_filesystem(&options.path)?;
        let lock = Lock::acquire(&options.path, options.now)?;
        let (connection, (recovered, books), meta) =
            prepare(&options, &lock).inspect_err(|error| {
                // A write that failed here is no better than one that failed later.
                if matches!(error, Error::Sqlite(_)) {
                    let _ = lock.write(Some(&error.to_string()));
                }
            })?;
        let shared = Arc::new(Shared::new(options.durability == Durability::Async));
        let checkpointer = checkpointer(&options)?;
        let writer = Writer::new(
            connection,
            (&recovered, books),
            lock,
            shared.clone(),
            Rhythm {
                checkpoint_commits: options.checkpoint_commits,
                tail_entries: options.tail_entries,
            },
            checkpointer,
        );
        let thread = thread::Builder::new()
            .name("fisc-journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io {
                action: "start the writer of",
                path: options.path,
                source,
            })?;
        let journal = Journal {
            shared,
            writer: Some(thread),
            meta: Mutex::new(meta),
        };
        Ok((journal, recovered))
    }

    /// Queues an entry and returns at once. Entries are journalled in the order of the calls, so
    /// callers append while they hold the lock under which the engine changed.
    ///
    /// Everything queued is committed together. Nothing is dropped: callers look at
    /// [`Journal::backlog`] before they admit more.
    pub fn append(&self, at: Timestamp, entry: Entry) -> Ticket {
        self.append_noted(at, entry, Vec::new())
    }

    /// As [`Journal::append`], with notes that are durable if and only if the entry is.
    pub fn append_noted(&self, at: Timestamp, entry: Entry, notes: Vec<Note>) -> Ticket {
        Shared::push(&self.shared, Command::Entry { at, entry, notes })
    }

    /// Queues a note that stands for no entry.
    pub fn note(&self, note: Note) -> Ticket {
        Shared::push(&self.shared, Command::Note(note))
    }

    /// Queues, in their order, the entries that a journal which stopped was given and that this
    /// one, opened anew over the same file, did not recover. So nothing is lost but what a
    /// process loses that ends. An entry that could not follow, if that stopped it, is left out.
    ///
    /// An error says that entries are gone which the other one knew to be durable.
    pub fn take_over(&self, recovered: &Recovered, stopped: &Journal) -> Result<(), Error> {
        let (committed, commands) = stopped.shared.take_unwritten();
        let Some(mut known) = recovered.entries.checked_sub(committed) else {
            return Err(Error::Inconsistent(format!(
                "it had {committed} entries and has {}",
                recovered.entries
            )));
        };
        for command in commands {
            match command {
                Command::Entry { .. } if known > 0 => known -= 1,
                Command::Entry { at, entry, notes } => drop(self.append_noted(at, entry, notes)),
                Command::Meta { key, value } => drop(self.set_meta(&key, &value)),
                Command::Note(note) => drop(self.note(note)),
                Command::Event(event) => drop(self.tell(event)),
            }
        }
        Ok(())
    }

    /// Counts a refusal for reports. It moves nothing, so it is no entry, and is written with the
    /// next commit or within half a second.
    pub fn refuse(
        &self,
        at: Timestamp,
        budget: BudgetId,
        operation: &str,
        model: &str,
        reason: &'static str,
    ) {
        self.shared.refuse(RefusalKey {
            budget,
            operation: operation.into(),
            model: model.into(),
            reason,
            hour: books::hour(at),
        });
    }

    /// Keeps what a change caused, in order with the entries. It moves nothing and is no entry;
    /// the same time and number again is the same event.
    pub fn tell(&self, event: EventRow) -> Ticket {
        Shared::push(&self.shared, Command::Event(event))
    }

    /// Returns how many entries are not committed yet.
    pub fn backlog(&self) -> usize {
        self.shared.backlog()
    }

    /// Returns why the writer stopped, if it did.
    pub fn poisoned(&self) -> Option<String> {
        self.shared
            .poisoned()
            .map(|poisoned| poisoned.reason.to_string())
    }

    /// Keeps a value for the program above, in order with the entries.
    pub fn set_meta(&self, key: &str, value: &str) -> Ticket {
        // The lock spans both, so that the last value here is the last one there.
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        meta.insert(key.to_owned(), value.to_owned());
        let (key, value) = (key.to_owned(), value.to_owned());
        Shared::push(&self.shared, Command::Meta { key, value })
    }

    /// Returns a value that was kept, committed or not yet.
    pub fn meta(&self, key: &str) -> Option<String> {
        self.meta
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    /// Writes what is queued, marks the journal as closed, and empties the log into the database.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        self.shared.close();
        match writer.join() {
            Ok(result) => result,
            Err(_) => Err(Error::Poisoned(Poisoned {
                reason: queue::PANICKED.into(),
            })),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "the ledger was not closed");
        }
    }
}

/// Connects, mends what the last writer left, and recovers.
fn prepare(
    options: &Options,
    lock: &Lock,
) -> Result<(Connection, (Recovered, Books), Meta), Error> {
    let fsync = options.durability == Durability::Full;
    let vfs = options.vfs.as_deref();
    let connection = schema::connect(&options.path, vfs, Access::Write { fsync })?;
    let stopped = lock.stopped()?;
    if stopped.is_some() {
        verify::verify_connection(&connection)?;
        // What a failed sync left in the log may never have reached the disk: write it anew,
        // so that no later commit rests on it.
        writer::checkpoint(&connection, "TRUNCATE")?;
        lock.write(None)?;
    }
    let (mut recovered, books) = recovery::recover(&connection)?;
    recovered.stopped = stopped;
    if !recovered.clean && recovered.entries > 0 {
        // A process that is killed leaves its log behind. Without this, one that is killed again
        // and again before its first checkpoint leaves a log that each start takes longer to read.
        writer::checkpoint(&connection, "PASSIVE")?;
    }
    let meta = read_meta(&connection)?;
    // A commit of its own in any case: after a checkpoint it makes the old log invalid for good.
    connection.execute(
        "UPDATE journal SET ended = 'open', epoch = ?1",
        [recovered.epoch],
    )?;
    Ok((connection, (recovered, books), meta))
}

/// Starts a second connection for checkpoints; a file that is locked as a whole allows none.
fn checkpointer(options: &Options) -> Result<Option<Checkpointer>, Error> {
    if options.vfs.is_some() {
        return Ok(None);
    }
    let fsync = options.durability == Durability::Full;
    let connection = schema::connect(&options.path, None, Access::Write { fsync })?;
    let started = Checkpointer::start(connection).map_err(|source| Error::Io {
        action: "start the checkpoints of",
        path: options.path.clone(),
        source,
    })?;
    Ok(Some(started))
}

fn read_meta(connection: &Connection) -> Result<Meta, Error> {
    let mut statement = connection.prepare("SELECT key, value FROM meta")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
