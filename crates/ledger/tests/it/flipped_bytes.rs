//! Damage is found: any changed value of any entry, any flipped byte of the file that changes what
//! an entry says, and any table that is not the fold of the entries.

use std::fs;
use std::path::Path;

use fisc_ledger::{Durability, Journal, VerifyError, verify};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::program::Program;
use crate::support::{NOON, Random, Scratch, setting};

/// A closed journal with some of everything.
fn journal(scratch: &Scratch, steps: usize) {
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let (mut program, mut random) = (Program::default(), Random::new(7));
    for _ in 0..steps {
        let (at, entry) = program.step(random.next());
        let _ = journal.append(at, entry);
    }
    journal.refuse(NOON, fisc_core::BudgetId(0), "plan", "m", "over_limit");
    journal.close().unwrap();
}

fn alter(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn entries(path: &Path) -> Option<Vec<Vec<Value>>> {
    let connection = Connection::open(path).ok()?;
    let mut statement = connection
        .prepare("SELECT * FROM entries ORDER BY seq")
        .ok()?;
    let width = statement.column_count();
    let rows = statement
        .query_map([], |row| (0..width).map(|at| row.get(at)).collect())
        .ok()?;
    rows.collect::<rusqlite::Result<_>>().ok()
}

#[test]
fn a_changed_value_is_found_and_its_entry_named() {
    let scratch = Scratch::new("changed");
    journal(&scratch, 60);
    let path = scratch.journal();
    let pristine = fs::read(&path).unwrap();
    verify(&path).unwrap();
    let mut random = Random::new(1);
    let changes = [
        ("at_us", "at_us + 1"),
        (
            "kind",
            "CASE kind WHEN 'extend' THEN 'correct' ELSE 'extend' END",
        ),
        ("budget", "budget + 1"),
        ("hold", "CASE WHEN hold IS NULL THEN zeroblob(16) END"),
        ("tokens", "tokens + 1"),
        ("cost_nanousd", "cost_nanousd ^ 1"),
        ("time_us", "-time_us - 1"),
        ("overrun_tokens", "overrun_tokens + 1"),
        ("overrun_cost_nanousd", "1 + overrun_cost_nanousd"),
        ("overrun_time_us", "overrun_time_us - 1"),
        ("body", "body || ' '"),
        ("body", "replace(body, substr(body, 2, 1), '~')"),
        ("hash", "randomblob(32)"),
    ];
    for (column, change) in changes {
        let seq = 1 + random.below(60);
        let change = change.replace("cost_nanousd ^ 1", "cost_nanousd | (1 << 40)");
        alter(
            &path,
            &format!(
                "DROP TRIGGER entries_are_never_changed;
             UPDATE entries SET {column} = {change} WHERE seq = {seq};"
            ),
        );
        match verify(&path) {
            Err(VerifyError::Chain { seq: found }) => assert_eq!(found, seq, "{column}"),
            // The last hash has no successor but is checked against its own entry.
            other => panic!("{column} of entry {seq}: {other:?}"),
        }
        fs::write(&path, &pristine).unwrap();
    }
}

#[test]
fn a_missing_or_exchanged_entry_is_found() {
    let scratch = Scratch::new("missing");
    journal(&scratch, 60);
    let path = scratch.journal();
    let pristine = fs::read(&path).unwrap();
    let triggers =
        "DROP TRIGGER entries_are_never_changed; DROP TRIGGER entries_are_never_deleted;";
    for (sql, seq) in [
        ("DELETE FROM entries WHERE seq = 30", 30),
        ("DELETE FROM entries WHERE seq <= 2", 1),
        ("UPDATE entries SET seq = 99 WHERE seq = 20; UPDATE entries SET seq = 20 WHERE seq = 21;
          UPDATE entries SET seq = 21 WHERE seq = 99;", 20),
    ] {
        alter(&path, &format!("{triggers}{sql}"));
        let error = verify(&path).unwrap_err();
        assert!(matches!(error, VerifyError::Chain { seq: found } if found == seq), "{error:?}");
        fs::write(&path, &pristine).unwrap();
    }
    // The last one leaves the chain whole; the fold tells.
    alter(
        &path,
        &format!("{triggers} DELETE FROM entries WHERE seq = 60"),
    );
    assert!(verify(&path).is_err());
}

#[test]
fn entries_cannot_be_changed_or_deleted_by_mistake() {
    let scratch = Scratch::new("append-only");
    journal(&scratch, 10);
    let connection = Connection::open(scratch.journal()).unwrap();
    for sql in ["UPDATE entries SET tokens = 0", "DELETE FROM entries"] {
        let error = connection.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[test]
fn tables_that_are_not_the_fold_are_found() {
    let scratch = Scratch::new("fold");
    journal(&scratch, 120);
    let path = scratch.journal();
    let pristine = fs::read(&path).unwrap();
    for sql in [
        "UPDATE balances SET spent_tokens = spent_tokens + 1 WHERE budget = 0",
        "UPDATE balances SET held_cost_nanousd = held_cost_nanousd + 1 WHERE budget = 0",
        "UPDATE balances SET overrun_time_us = overrun_time_us + 1 WHERE budget = 0",
        "UPDATE budgets SET terms = 'cost=unlimited' WHERE id = 0",
        "UPDATE budgets SET name = 'x' WHERE id = 1",
        "UPDATE budgets SET parent = NULL WHERE id = 1",
        "DELETE FROM holds WHERE id = (SELECT min(id) FROM holds)",
        "UPDATE holds SET tokens = tokens + 1",
        "UPDATE holds SET call = replace(call, 'gpt', 'o')",
        "UPDATE holds SET doubted_at_us = NULL WHERE doubted_at_us IS NOT NULL",
        "UPDATE rollups SET attempts = attempts + 1",
        "UPDATE rollups SET cost_nanousd = cost_nanousd + 1",
        "UPDATE rollups SET used_output = used_output + 1",
        "DELETE FROM rollups WHERE budget = 0",
        "DROP TRIGGER entries_are_never_deleted",
        "DROP INDEX budgets_name",
        "UPDATE journal SET folded = folded - 1",
        "UPDATE journal SET folded = folded + 1",
        "UPDATE journal SET folded = 0",
        "DELETE FROM steps WHERE step = 1 AND seq = (SELECT max(seq) FROM steps WHERE step = 1)",
        "INSERT INTO steps VALUES (zeroblob(16), 0, 2)",
        "UPDATE steps SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM steps)",
    ] {
        alter(&path, sql);
        verify(&path).expect_err(sql);
        fs::write(&path, &pristine).unwrap();
    }
    verify(&path).unwrap();
}

/// Flips single bits over the whole file. Either `verify` objects, or every entry still reads as it
/// was written (the bit was in free space, or in a table that is no part of the fold).
/// `FISC_FLIPS` sets how many bits; 0 for one in every byte.
#[test]
fn a_flipped_bit_never_changes_an_entry_unnoticed() {
    let scratch = Scratch::new("bits");
    journal(&scratch, 300);
    let path = scratch.journal();
    let pristine = fs::read(&path).unwrap();
    let before = entries(&path).unwrap();
    let flips = setting("FISC_FLIPS", 1_500);
    let mut random = Random::new(3);
    let (mut found, mut harmless) = (0, 0);
    let all = if flips == 0 {
        pristine.len() as u64
    } else {
        flips
    };
    for flip in 0..all {
        let at = if flips == 0 {
            flip
        } else {
            random.below(pristine.len() as u64)
        } as usize;
        let mut bytes = pristine.clone();
        bytes[at] ^= 1 << random.below(8);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", path.display()));
        }
        fs::write(&path, &bytes).unwrap();
        if verify(&path).is_err() {
            found += 1;
            continue;
        }
        let same = entries(&path).as_ref() == Some(&before);
        assert!(same, "byte {at} changed an entry unnoticed");
        harmless += 1;
    }
    println!("{found} flips found, {harmless} harmless");
    assert!(found * 3 > all, "{found} of {all} found");
}
