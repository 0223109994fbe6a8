//! The entries since the tables were written: few, folded again by whoever opens or reads, and as
//! well guarded as the others.

use fisc_core::Amount;
use fisc_ledger::{Durability, Entry, Error, Journal, Options, Reader, verify};
use rusqlite::Connection;

use crate::support::{NOON, Scratch, amount, hold, id, root, settle};

fn options(scratch: &Scratch, tail_entries: usize) -> Options {
    Options {
        tail_entries,
        ..scratch.options(Durability::Process)
    }
}

/// How many entries the tables do not know yet.
fn tail(scratch: &Scratch) -> i64 {
    let connection = Connection::open(scratch.journal()).unwrap();
    let sql = "SELECT (SELECT count(*) FROM entries) - folded FROM journal";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn rows(scratch: &Scratch, table: &str) -> i64 {
    let connection = Connection::open(scratch.journal()).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn it_is_never_long_and_closing_leaves_none() {
    let scratch = Scratch::new("bounded");
    let default = scratch.options(Durability::Process);
    let most = i64::try_from(default.tail_entries).unwrap();
    assert!(most <= 1_024, "reports and openings read the tail again");
    let (journal, _) = Journal::open(default).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    let mut longest = 0;
    for number in 1..=3_000 {
        let _ = journal.append(NOON, hold(number, amount(1, 1, 1)));
        let settled = journal.append(NOON, settle(number, amount(1, 1, 1)));
        if number % 100 == 0 {
            settled.wait().unwrap();
            longest = longest.max(tail(&scratch));
        }
    }
    assert!((1..most).contains(&longest), "{longest}");
    assert!(rows(&scratch, "rollups") > 0, "the tables are written");
    // A call that begins and ends in between leaves nothing in the table of open holds.
    assert!(rows(&scratch, "holds") <= 1);
    journal.close().unwrap();
    assert_eq!((tail(&scratch), rows(&scratch, "holds")), (0, 0));
}

#[test]
fn readers_and_the_next_life_count_it() {
    let scratch = Scratch::new("tail");
    let (journal, _) = Journal::open(options(&scratch, usize::MAX)).unwrap();
    for entry in [root(), hold(1, amount(9, 9, 9)), hold(2, amount(5, 5, 5))] {
        let _ = journal.append(NOON, entry);
    }
    let settled = journal.append(NOON, settle(1, amount(7, 7, 7)));
    settled.wait().unwrap();
    assert_eq!(tail(&scratch), 4, "nothing is in the tables");
    let reader = Reader::open(&scratch.journal()).unwrap();
    let check = |reader: &Reader| {
        let budget = &reader.budgets().unwrap()[0];
        assert_eq!(
            (budget.spent, budget.held, budget.overrun),
            (amount(7, 7, 7), amount(5, 5, 5), Amount::ZERO)
        );
        let (open, in_doubt) = reader.holds().unwrap();
        assert_eq!((open.len(), open[0].id, in_doubt.len()), (1, id(2), 0));
        let by = fisc_ledger::GroupBy::default();
        let total = &reader.rollups(&fisc_ledger::Filter::default(), by).unwrap()[0];
        assert_eq!(
            (total.totals.attempts, total.totals.amount),
            (1, amount(7, 7, 7))
        );
        assert_eq!(reader.history(id(1)).unwrap().len(), 2);
    };
    check(&reader);
    assert_eq!(verify(&scratch.journal()).unwrap().open_holds, 1);
    let crashed = scratch.copy("tail-crashed");
    let (next, recovered) = Journal::open(options(&crashed, usize::MAX)).unwrap();
    assert_eq!((recovered.entries, recovered.clean), (4, false));
    assert_eq!(recovered.open[0].id, id(2));
    next.close().unwrap();
    assert_eq!(tail(&crashed), 0);
    check(&Reader::open(&crashed.journal()).unwrap());
}

#[test]
fn a_changed_entry_of_it_is_not_served() {
    for sql in [
        "UPDATE entries SET tokens = 1 WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE journal SET folded = 9",
    ] {
        let scratch = Scratch::new("tampered");
        let (journal, _) = Journal::open(options(&scratch, usize::MAX)).unwrap();
        let _ = journal.append(NOON, root());
        let _ = journal.append(NOON, hold(1, amount(9, 9, 9)));
        let settled = journal.append(NOON, settle(1, amount(7, 7, 7)));
        settled.wait().unwrap();
        let crashed = scratch.copy("tampered-copy");
        let triggers = "DROP TRIGGER entries_are_never_changed;
             DROP TRIGGER entries_are_never_deleted;";
        let connection = Connection::open(crashed.journal()).unwrap();
        connection
            .execute_batch(&format!("{triggers}{sql}"))
            .unwrap();
        drop(connection);
        let refused = Journal::open(options(&crashed, usize::MAX)).err();
        assert!(
            matches!(refused, Some(Error::Damaged(_) | Error::Inconsistent(_))),
            "{sql}: {refused:?}"
        );
        verify(&crashed.journal()).expect_err(sql);
    }
}

/// Whatever is forgotten when the tables are written is found in them.
#[test]
fn a_hold_that_ended_long_ago_cannot_begin_again() {
    for reopens in [false, true] {
        let scratch = Scratch::new("again");
        let (mut journal, _) = Journal::open(options(&scratch, 1)).unwrap();
        for entry in [
            root(),
            hold(5, amount(1, 1, 1)),
            settle(5, amount(1, 1, 1)),
            hold(9, amount(1, 1, 1)),
            hold(7, amount(1, 1, 1)),
        ] {
            journal.append(NOON, entry).wait().unwrap();
        }
        if reopens {
            journal.close().unwrap();
            (journal, _) = Journal::open(options(&scratch, 1)).unwrap();
        }
        let refused = journal.append(NOON, hold(5, amount(1, 1, 1))).wait();
        let reason = refused.expect_err("it was taken before").reason.to_string();
        assert_eq!(reason, format!("hold {} was taken before", id(5)));
    }
}

/// A correction finds its hold in the tables and in the tail, and each correction the one before.
#[test]
fn corrections_of_ended_holds_are_folded_again_as_they_were_booked() {
    for tail_entries in [1, 3, usize::MAX] {
        let scratch = Scratch::new("corrections");
        let (journal, _) = Journal::open(options(&scratch, tail_entries)).unwrap();
        let correct = |output: u64| Entry::Correct {
            id: id(1),
            by: amount(1, 1, 1),
            usage: Some(fisc_core::Usage::default().with(fisc_core::TokenClass::Output, output)),
            reason: "the invoice".to_owned(),
        };
        for entry in [
            root(),
            hold(1, amount(9, 9, 9)),
            settle(1, amount(7, 7, 7)),
            correct(100),
            correct(30),
        ] {
            journal.append(NOON, entry).wait().unwrap();
        }
        let reader = Reader::open(&scratch.journal()).unwrap();
        let by = fisc_ledger::GroupBy::default();
        let totals = reader.rollups(&fisc_ledger::Filter::default(), by).unwrap()[0].totals;
        assert_eq!(
            (totals.usage.output(), totals.amount),
            (30, amount(9, 9, 9))
        );
        verify(&scratch.journal()).unwrap();
    }
}
