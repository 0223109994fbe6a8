//! Checks a journal from first principles: the chain of hashes, the database's structure, and
//! that the fold of all entries equals what the journal is served from. Reads everything, changes
//! nothing.
//!
//! The fold here is written apart from the writer's on purpose: a mistake in one of them shows.

use std::path::Path;

use rusqlite::Connection;

use crate::chain::Hash;
use crate::error::VerifyError;
use crate::recovery;
use crate::row;
use crate::schema::{self, Access};

mod fold;

use fold::Fold;

/// What a journal that verifies holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// How many holds are open.
    pub open_holds: u64,
    /// How many holds are in doubt.
    pub in_doubt: u64,
    /// The hash of the last entry.
    pub head: Hash,
}

/// Verifies the journal at `path` as of now; a writer may stand beside it.
pub fn verify(path: &Path) -> Result<Verified, VerifyError> {
    verify_connection(&schema::connect(path, None, Access::Read)?)
}

/// Verifies a journal on a VFS of SQLite other than the default; see
/// [`Options::vfs`](crate::Options::vfs).
pub fn verify_on(path: &Path, vfs: &str) -> Result<Verified, VerifyError> {
    verify_connection(&schema::connect(path, Some(vfs), Access::Read)?)
}

/// Verifies through a connection that is in no transaction.
pub(crate) fn verify_connection(connection: &Connection) -> Result<Verified, VerifyError> {
    // One snapshot for entries and tables alike.
    let snapshot = connection.unchecked_transaction()?;
    let (fold, entries, head) = stream(&snapshot)?;
    check_structure(&snapshot)?;
    check_steps(&snapshot)?;
    let books = recovery::fold(&snapshot)?.books;
    fold.compare(&snapshot, &books)?;
    let (open, in_doubt) = books.holds();
    let (open_holds, in_doubt) = (open.len() as u64, in_doubt.len() as u64);
    Ok(Verified {
        entries,
        open_holds,
        in_doubt,
        head,
    })
}

/// Reads all entries in order, checks their chain and folds them.
fn stream(connection: &Connection) -> Result<(Fold, u64, Hash), VerifyError> {
    let journal_id: String =
        connection.query_row("SELECT id FROM journal", [], |row| row.get(0))?;
    let corrected = corrected_holds(connection)?;
    let (mut fold, mut head, mut last) = (Fold::new(corrected), Hash::genesis(&journal_id), 0);
    let mut scratch = Vec::new();
    let sql = format!("SELECT {} FROM entries ORDER BY seq", row::ENTRY_COLUMNS);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    loop {
        let seq = last + 1;
        let unreadable = |error: rusqlite::Error| {
            let problem = error.to_string();
            VerifyError::Malformed { seq, problem }
        };
        let Some(row) = rows.next().map_err(unreadable)? else {
            break;
        };
        let raw = row::read_raw(row).map_err(unreadable)?;
        let hash = head.next(&raw.stored, &mut scratch);
        if raw.stored.seq != seq || raw.hash != hash {
            return Err(VerifyError::Chain { seq });
        }
        let (budget, at, entry) = row::interpret(&raw.stored)
            .map_err(|problem| VerifyError::Malformed { seq, problem })?;
        fold.apply(budget, at, entry)
            .map_err(|problem| VerifyError::Impossible { seq, problem })?;
        (head, last) = (hash, seq);
    }
    Ok((fold, last, head))
}

/// The holds that corrections need to find again after they ended; few, so they fit memory.
fn corrected_holds(connection: &Connection) -> Result<Vec<fisc_core::HoldId>, VerifyError> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT hold FROM entries NOT INDEXED WHERE kind = 'correct'
         AND typeof(hold) = 'blob' AND length(hold) = 16",
    )?;
    let ids = statement.query_map([], |row| row::hold_id(row, 0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// Checks every page, every index against its table, and the schema itself.
fn check_structure(connection: &Connection) -> Result<(), VerifyError> {
    let problem: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    let problem = if problem == "ok" {
        schema::deviation(connection)?
    } else {
        Some(problem)
    };
    problem.map_or(Ok(()), |problem| Err(VerifyError::Structure(problem)))
}

/// Checks that table `steps` names every entry of a hold up to the last one that the tables know,
/// and nothing else; its key makes sure that none begins or ends twice. For the entries after
/// that, the fold finds a second end, and this a second begin.
fn check_steps(connection: &Connection) -> Result<(), VerifyError> {
    let first = |sql: &str| -> rusqlite::Result<Option<i64>> {
        connection.query_row(sql, [], |row| row.get(0))
    };
    let unnamed = first(
        "SELECT min(e.seq) FROM entries AS e, journal
         WHERE e.seq <= folded AND e.hold IS NOT NULL AND NOT EXISTS (
           SELECT 1 FROM steps AS s WHERE s.hold = e.hold AND s.seq = e.seq AND s.step =
             CASE WHEN kind = 'hold' THEN 0
                  WHEN kind = 'settle' OR kind = 'void' OR kind = 'doubt' THEN 1
                  ELSE e.seq END)",
    )?;
    if let Some(seq) = unnamed {
        let problem = format!("entry {seq} is not found by its hold");
        return Err(VerifyError::Structure(problem));
    }
    let stray = first(
        "SELECT (SELECT count(*) FROM steps)
              - (SELECT count(hold) FROM entries, journal WHERE seq <= folded)",
    )?;
    if stray != Some(0) {
        let problem = "a step of a hold is of no entry".to_owned();
        return Err(VerifyError::Structure(problem));
    }
    let again = first(
        "SELECT min(e.seq) FROM entries AS e, journal
         WHERE e.seq > folded AND e.kind = 'hold'
           AND EXISTS (SELECT 1 FROM steps AS s WHERE s.hold = e.hold)",
    )?;
    again.map_or(Ok(()), |seq| {
        Err(VerifyError::Impossible {
            seq: seq.unsigned_abs(),
            problem: "its hold began before".to_owned(),
        })
    })
}
