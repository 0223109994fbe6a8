//! The writer thread: takes what is queued, writes it in one transaction, answers everyone.
//!
//! It stops for good at the first error of the database, at a commit that failed, and at an entry
//! that cannot follow from those before; then it touches the file no more.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use fisc_core::Timestamp;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::checkpointer::Checkpointer;
use super::queue::{Batch, Command, PANICKED, Shared};
use super::statements::Statements;
use crate::books::{BEGIN, Books};
use crate::chain::{Hash, Stored};
use crate::entry::{self, Entry};
use crate::error::{Error, Poisoned};
use crate::lock::Lock;
use crate::recovery::Recovered;

/// How many entries may pass between two checkpoints, however few the commits.
const CHECKPOINT_ENTRIES: usize = 16_384;

/// The thread's own state.
pub(super) struct Writer {
    connection: Connection,
    state: State,
    /// What is being written: all of it, until it is durable.
    batch: Batch,
    lock: Lock,
    shared: Arc<Shared>,
    rhythm: Rhythm,
    /// Makes the checkpoints, where a second connection can; else the writer does.
    checkpointer: Option<Checkpointer>,
}

/// How often what costs more than a commit is done.
pub(super) struct Rhythm {
    /// How many commits may pass between two checkpoints.
    pub(super) checkpoint_commits: u32,
    /// After how many entries the tables are written.
    pub(super) tail_entries: usize,
}

/// What a batch changes.
struct State {
    books: Books,
    tail_entries: usize,
    seq: u64,
    /// The number of the last entry that is durable.
    committed: u64,
    head: Hash,
    body: Vec<u8>,
    scratch: Vec<u8>,
}

/// Why a batch was not written to its end.
enum Stop {
    /// The database failed: nothing of the batch counts.
    Storage(rusqlite::Error),
    /// An entry cannot follow: what came before it in the batch is good.
    Impossible(String),
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        connection: Connection,
        (recovered, books): (&Recovered, Books),
        lock: Lock,
        shared: Arc<Shared>,
        rhythm: Rhythm,
        checkpointer: Option<Checkpointer>,
    ) -> Writer {
        let state = State {
            books,
            tail_entries: rhythm.tail_entries,
            seq: recovered.entries,
            committed: recovered.entries,
            head: recovered.head,
            body: Vec::new(),
            scratch: Vec::new(),
        };
        Writer {
            connection,
            state,
            batch: Batch::default(),
            lock,
            shared,
            rhythm,
            checkpointer,
        }
    }

    /// Runs until the journal is closed or fails.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let written = panic::catch_unwind(AssertUnwindSafe(|| self.write_all()));
        // Before the end is decided: after it nothing may touch the file but what comes below.
        self.checkpointer = None;
        let stopped = match written {
            Ok(Ok(())) => match self.end() {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Ok(Err(Stop::Storage(error))) => error.to_string(),
            Ok(Err(Stop::Impossible(problem))) => problem,
            Err(_) => PANICKED.to_owned(),
        };
        tracing::error!(reason = stopped, "the ledger stopped");
        // Beside a failing disk this is a best effort; without it the next opener sees an
        // unclean end, as after a crash.
        if let Err(error) = self.lock.write(Some(&stopped)) {
            tracing::warn!(%error, "the ledger's end was not noted");
        }
        let Writer {
            connection,
            state,
            batch,
            lock,
            shared,
            ..
        } = self;
        // Closing must not write through a connection that failed.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        drop((connection, lock));
        // Last: whoever is told may open the file at once.
        shared.poison(&stopped, state.committed, batch.commands);
        Err(Error::Poisoned(Poisoned {
            reason: stopped.into(),
        }))
    }

    fn write_all(&mut self) -> Result<(), Stop> {
        let mut statements = Statements::prepare(&self.connection)?;
        let (mut commits, mut entries) = (0, 0);
        while self.shared.take(&mut self.batch) {
            let count = self.batch.commands.len();
            let (written, stop) = self.state.write_batch(&mut statements, &mut self.batch)?;
            self.shared.publish(written);
            if let Some(problem) = stop {
                return Err(Stop::Impossible(problem));
            }
            (commits, entries) = (commits + 1, entries + count);
            let due = commits >= self.rhythm.checkpoint_commits || entries >= CHECKPOINT_ENTRIES;
            if due {
                (commits, entries) = (0, 0);
            }
            self.shorten_log(due)?;
        }
        Ok(())
    }

    /// Moves the log into the database, beside the commits where that can be.
    fn shorten_log(&self, due: bool) -> rusqlite::Result<()> {
        let now = match &self.checkpointer {
            None => due,
            Some(checkpointer) => {
                if due {
                    checkpointer.ask();
                }
                checkpointer.left_too_much()?
            }
        };
        if now {
            checkpoint(&self.connection, "PASSIVE")?;
        }
        Ok(())
    }

    /// Writes the tables, marks the journal as closed and leaves no log behind, unless a reader
    /// still needs it.
    fn end(&mut self) -> rusqlite::Result<()> {
        let mut statements = Statements::prepare(&self.connection)?;
        statements.begin()?;
        self.state.write_tables(&mut statements)?;
        self.connection
            .execute("UPDATE journal SET ended = 'closed'", [])?;
        statements.commit()?;
        drop(statements);
        checkpoint(&self.connection, "TRUNCATE").map(|_| ())
    }
}

/// Moves the log into the database and returns how many frames the log has. A reader or another
/// checkpoint may hold that up, which is no error.
pub(super) fn checkpoint(connection: &Connection, mode: &'static str) -> rusqlite::Result<u64> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    // SQLite says -1 where it could not look.
    let frames: i64 = connection.query_row(&sql, [], |row| row.get(1))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

// === impl State ===

impl State {
    /// Writes a batch in one transaction and takes out of it what is durable then, and what can
    /// never be. Returns how many commands are durable, and why the rest is not.
    ///
    /// Never inlined: `benches/instructions.rs` counts by its name.
    #[inline(never)]
    fn write_batch(
        &mut self,
        statements: &mut Statements<'_>,
        batch: &mut Batch,
    ) -> rusqlite::Result<(usize, Option<String>)> {
        statements.begin()?;
        let (mut written, mut stop) = (0, None);
        for command in &batch.commands {
            let done = match command {
                Command::Entry { at, entry, notes } => {
                    let written = self.write_entry(statements, *at, entry);
                    written.and_then(|()| Ok(statements.put_notes(notes)?))
                }
                Command::Meta { key, value } => Ok(statements.put_meta(key, value)?),
                Command::Note(note) => Ok(statements.put_notes(std::slice::from_ref(note))?),
                Command::Event(event) => Ok(statements.put_event(event)?),
            };
            match done {
                Ok(()) => written += 1,
                Err(Stop::Storage(error)) => return Err(error),
                Err(Stop::Impossible(problem)) => {
                    stop = Some(problem);
                    break;
                }
            }
        }
        if self.books.dirty().entries >= self.tail_entries {
            self.write_tables(statements)?;
        }
        for (key, count) in batch.refusals.drain() {
            statements.add_refusal(&key, count)?;
        }
        statements.commit()?;
        self.committed = self.seq;
        batch
            .commands
            .drain(..written + usize::from(stop.is_some()));
        Ok((written, stop))
    }

    fn write_entry(
        &mut self,
        statements: &mut Statements<'_>,
        at: Timestamp,
        entry: &Entry,
    ) -> Result<(), Stop> {
        let seq = self.seq + 1;
        let ended = match entry {
            Entry::Correct { id, .. } if self.books.hold(*id).is_none() => {
                statements.past.ended(*id, seq)?
            }
            Entry::Hold { id, .. } if self.books.may_be_taken(*id) => {
                if statements.past.was_taken(*id)? {
                    return Err(Stop::Impossible(format!("hold {id} was taken before")));
                }
                None
            }
            _ => None,
        };
        let plan = self
            .books
            .plan(entry, ended.as_ref())
            .map_err(Stop::Impossible)?;
        let hold = entry.hold().map(|id| id.0.to_be_bytes());
        self.body.clear();
        entry::encode(entry, &mut self.body);
        let stored = Stored {
            seq,
            at_us: at.0,
            kind: entry.kind().name().as_bytes(),
            budget: i64::from(plan.budget.0),
            hold: hold.as_ref().map(<[u8; 16]>::as_slice),
            amounts: [entry.amount().raw(), entry.overrun().raw()],
            body: &self.body,
        };
        let hash = self.head.next(&stored, &mut self.scratch);
        // A second budget of a name is found by a unique index; the statement then changed nothing.
        statements
            .change_budget(at, entry)
            .map_err(|error| repeated(error, entry))?;
        statements.insert_entry(&stored, hash)?;
        (self.seq, self.head) = (seq, hash);
        self.books.book((seq, at), entry, &plan, ended);
        Ok(())
    }

    /// Writes what follows from the entries, and up to which entry it does.
    fn write_tables(&mut self, statements: &mut Statements<'_>) -> rusqlite::Result<()> {
        let dirty = self.books.take_dirty();
        for budget in &dirty.budgets {
            let balance = self.books.balance(*budget).expect("a dirty balance exists");
            statements.put_balance(*budget, balance)?;
        }
        for id in &dirty.holds {
            match self.books.hold(*id) {
                Some(held) => statements.put_hold(*id, held)?,
                // Most begin and end in between: they never were in the table.
                None if dirty.steps.contains_key(&(*id, BEGIN)) => {}
                None => statements.delete_hold(*id)?,
            }
        }
        for (key, counters) in &dirty.rollups {
            statements.add_rollup(key, counters)?;
        }
        for ((id, step), seq) in &dirty.steps {
            statements.put_step(*id, *step, *seq)?;
        }
        statements.put_folded(self.seq)
    }
}

fn repeated(error: rusqlite::Error, entry: &Entry) -> Stop {
    match (error.sqlite_error_code(), entry) {
        (Some(rusqlite::ErrorCode::ConstraintViolation), Entry::Allocate { name, .. }) => {
            Stop::Impossible(format!("a budget {name:?} was allocated there before"))
        }
        _ => Stop::Storage(error),
    }
}

// === impl Stop ===

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Storage(error)
    }
}
