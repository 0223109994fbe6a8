//! Opening the file: version guard, pragmas, and the numbered migration steps.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// The first SQLite without the WAL-reset bug, which corrupts a file that several connections use.
pub(crate) const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// `FISC` in ASCII, in the file's header.
const APPLICATION_ID: i64 = 0x4649_5343;

/// How long a reader, or the writer beside a foreign one, waits for a lock of SQLite.
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// The steps, in order; step `n` is at index `n - 1`. Released steps never change.
const STEPS: [&str; 3] = [
    include_str!("schema/0001_journal.sql"),
    include_str!("schema/0002_notes.sql"),
    include_str!("schema/0003_events.sql"),
];

/// The step that made table `events`.
pub(crate) const EVENTS_STEP: i64 = 3;

/// How a connection is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The one writer; `fsync` says whether a commit waits for the disk.
    Write { fsync: bool },
    /// A reader beside it.
    Read,
}

/// Opens a connection, with its pragmas set and the file's schema checked (and, for the writer,
/// brought up to date).
pub(crate) fn connect(path: &Path, vfs: Option<&str>, access: Access) -> Result<Connection, Error> {
    check_version(rusqlite::version_number())?;
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    flags |= match access {
        Access::Write { .. } => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        // A database on a VFS without shared memory is locked as a whole, which needs writing.
        Access::Read if vfs.is_some() => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Access::Read if !path.exists() => return Err(Error::Missing(path.to_owned())),
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let mut connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
        None => Connection::open_with_flags(path, flags)?,
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    if vfs.is_some() {
        // Before anything is read: the first read decides whether there is shared memory.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    }
    connection.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
         PRAGMA trusted_schema = OFF;
         PRAGMA foreign_keys = ON;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;",
    ))?;
    match access {
        Access::Write { fsync } => {
            check_owner(&connection, path)?;
            log_ahead(&connection, fsync)?;
            migrate(&mut connection, &STEPS)?;
        }
        Access::Read => {
            connection.execute_batch("PRAGMA query_only = ON")?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            check_owner(&connection, path)?;
            if user_version(&connection)? == 0 {
                return Err(Error::NotALedger(path.to_owned()));
            }
            check_steps(&connection, user_version(&connection)?)?;
        }
    }
    Ok(connection)
}

/// Refuses a SQLite that can corrupt the file.
pub(crate) fn check_version(found: i32) -> Result<(), Error> {
    if found < SQLITE_VERSION_MIN {
        Err(Error::OldSqlite { found })
    } else {
        Ok(())
    }
}

/// Refuses a database that is neither empty nor ours, before anything is written to it.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), Error> {
    let application: i64 = pragma(connection, "application_id")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == APPLICATION_ID || tables == 0 {
        Ok(())
    } else {
        Err(Error::NotALedger(path.to_owned()))
    }
}

/// Checkpoints are made when the writer says so, never by a commit, so that their errors are seen.
fn log_ahead(connection: &Connection, fsync: bool) -> Result<(), Error> {
    // Reading to the end matters: the change is committed after the row.
    let modes: Vec<String> = connection
        .prepare("PRAGMA journal_mode = WAL")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mode = modes.concat();
    if mode != "wal" {
        return Err(Error::NoWal { mode });
    }
    let synchronous = if fsync { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 0;"
    ))?;
    Ok(())
}

/// Says what of the schema is not as the steps make it that were taken, if anything: a trigger
/// that somebody dropped, a constraint that a flipped bit changed.
pub(crate) fn deviation(connection: &Connection) -> Result<Option<String>, Error> {
    let mut pristine = Connection::open_in_memory()?;
    // A reader finds an older file as its own version made it.
    let version = usize::try_from(user_version(connection)?).unwrap_or(0);
    migrate(&mut pristine, &STEPS[..version.min(STEPS.len())])?;
    let (expected, found) = (definitions(&pristine)?, definitions(connection)?);
    let different = expected.symmetric_difference(&found).next();
    Ok(different.map(|(kind, name, _)| format!("{kind} {name} is not as it was made")))
}

fn definitions(connection: &Connection) -> Result<BTreeSet<(String, String, String)>, Error> {
    let mut statement =
        connection.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), Error> {
    let version = user_version(connection)?;
    check_steps(connection, version)?;
    let done = usize::try_from(version).unwrap_or(0);
    for (index, step) in steps.iter().enumerate().skip(done) {
        let version = index as i64 + 1;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if version == 1 {
            transaction.execute_batch(
                "CREATE TABLE migrations (version INTEGER PRIMARY KEY, sha256 BLOB NOT NULL)
                 STRICT",
            )?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.execute_batch(step)?;
        transaction.execute(
            "INSERT INTO migrations (version, sha256) VALUES (?1, ?2)",
            (version, checksum(step)),
        )?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

fn check_steps(connection: &Connection, version: i64) -> Result<(), Error> {
    let known = STEPS.len() as i64;
    if version > known {
        return Err(Error::Newer {
            found: version,
            known,
        });
    }
    for (index, step) in (0..version).zip(STEPS) {
        let stored: Vec<u8> = connection.query_row(
            "SELECT sha256 FROM migrations WHERE version = ?1",
            [index + 1],
            |row| row.get(0),
        )?;
        if stored != checksum(step) {
            return Err(Error::ChangedStep { version: index + 1 });
        }
    }
    Ok(())
}

pub(crate) fn user_version(connection: &Connection) -> Result<i64, Error> {
    pragma(connection, "user_version")
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, Error> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

fn checksum(step: &str) -> [u8; 32] {
    Sha256::digest(step).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_sqlite_has_no_wal_reset_bug() {
        check_version(rusqlite::version_number()).expect("a bundled version that is new enough");
    }

    #[test]
    fn an_older_sqlite_is_refused() {
        let refused = check_version(SQLITE_VERSION_MIN - 1);
        assert!(matches!(
            refused,
            Err(Error::OldSqlite { found: 3_051_002 })
        ));
    }

    /// A released step must never change: make a new one. The list grows by one with each.
    #[test]
    fn released_steps_are_unchanged() {
        let hex = |step: &&str| crate::chain::Hash(checksum(step)).to_string();
        let found: Vec<String> = STEPS.iter().map(hex).collect();
        assert_eq!(found, [STEP_1, STEP_2, STEP_3]);
    }

    const STEP_1: &str = "62b87ccffc4626c456286453747e631431ecc7a97fdac91f1816a93713a86f07";
    const STEP_2: &str = "17248ce49fcbf77df3fa3fcbbba42a5383bc7770205cb2f9e1217212dab74656";
    const STEP_3: &str = "07a28c14ab5be00e08db05fd96f854e849e768ec6e6358d0f8a194067cfa42e2";

    /// A file as the first version made it, with a connection that reads it.
    fn first_version() -> Connection {
        let mut old = Connection::open_in_memory().expect("there is memory");
        migrate(&mut old, &STEPS[..1]).expect("the step is valid");
        old
    }

    #[test]
    fn a_file_of_an_earlier_version_does_not_deviate_and_is_brought_up_to_date() {
        let mut old = first_version();
        assert_eq!(deviation(&old).expect("it is read"), None);
        migrate(&mut old, &STEPS).expect("it goes on from where it stands");
        assert_eq!(user_version(&old).expect("it is read"), EVENTS_STEP);
        assert_eq!(deviation(&old).expect("it is read"), None);
        old.execute_batch("DROP TABLE events").expect("it is there");
        assert!(deviation(&old).expect("it is read").is_some());
    }
}
