//! Opening: what is recovered, who is refused, and how little is read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fisc_core::{Amount, BudgetId, Timestamp};
use fisc_ledger::{
    BudgetRow, DoubtfulHold, Durability, Entry, Error, Journal, OpenHold, Options, Reader, verify,
    verify_on,
};

use crate::power_loss::vfs::{Disk, VFS};
use crate::support::{NOON, Scratch, amount, facts, hold, id, label, root, settle};

#[test]
fn what_has_no_end_is_recovered() {
    let scratch = Scratch::new("recover");
    let (journal, first) = Journal::open(scratch.options(Durability::Process)).unwrap();
    assert_eq!((first.entries, first.budgets.len()), (0, 0));
    for entry in [
        root(),
        hold(1, amount(10, 10, 10)),
        hold(2, amount(20, 20, 20)),
        Entry::Extend {
            id: id(2),
            by: amount(1, 2, 3),
        },
        hold(3, amount(30, 30, 30)),
        settle(1, amount(7, 8, 9)),
        Entry::Doubt {
            id: id(3),
            charged: amount(33, 33, 33),
        },
    ] {
        let _ = journal.append(NOON, entry);
    }
    drop(journal);

    let (journal, recovered) = Journal::open(scratch.options(Durability::Full)).unwrap();
    let budget = BudgetId(0);
    let open = |number, amount| OpenHold {
        id: id(number),
        budget,
        amount,
        call: label("plan", 1),
        at: NOON,
    };
    assert_eq!(recovered.open, [open(2, amount(21, 22, 23))]);
    let doubtful = open(3, amount(30, 30, 30));
    let charged = amount(33, 33, 33);
    assert_eq!(
        recovered.in_doubt,
        [DoubtfulHold {
            hold: doubtful,
            charged,
            at: NOON
        }]
    );
    assert_eq!(
        recovered.budgets,
        [BudgetRow {
            id: budget,
            parent: None,
            name: "root".to_owned(),
            terms: "cost=5000000000".to_owned(),
            at: NOON,
            spent: amount(40, 41, 42),
            held: amount(21, 22, 23),
            overrun: Amount::ZERO,
        }]
    );
    assert_eq!((recovered.entries, recovered.clean), (7, true));

    // The new life goes on where the old one ended.
    journal
        .append(NOON, settle(2, amount(1, 1, 1)))
        .wait()
        .unwrap();
    let correct = Entry::Correct {
        id: id(3),
        by: amount(-3, -3, -3),
        usage: Some(facts(label("plan", 1), 20, 10).usage),
        reason: "found".to_owned(),
    };
    journal.append(NOON, correct).wait().unwrap();
    journal.close().unwrap();
    let verified = verify(&scratch.journal()).unwrap();
    assert_eq!(
        (verified.entries, verified.open_holds, verified.in_doubt),
        (9, 0, 0)
    );
    assert_ne!(verified.head, recovered.head);
}

#[test]
fn a_second_writer_is_refused_and_told_who_writes() {
    let scratch = Scratch::new("second");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let refused = Journal::open(scratch.options(Durability::Process))
        .err()
        .unwrap();
    assert!(matches!(refused, Error::Locked { .. }));
    let expected = format!(
        "{} is in use by process {} (since 1972-04-13T08:30:00Z); one process writes a ledger at a \
         time: end that one, or choose another file (reading needs no lock)",
        scratch.journal().display(),
        std::process::id(),
    );
    assert_eq!(refused.to_string(), expected);
    // It did not disturb the first one.
    journal.append(NOON, root()).wait().unwrap();
    journal.close().unwrap();
    drop(Journal::open(scratch.options(Durability::Process)).unwrap());
}

#[test]
fn who_asks_for_a_writer_keeps_none_out() {
    let scratch = Scratch::new("asking");
    let path = scratch.journal();
    let options = || scratch.options(Durability::Async);
    assert!(
        !Reader::has_writer(&path).unwrap(),
        "there is not even a file"
    );
    let (journal, _) = Journal::open(options()).unwrap();
    assert!(Reader::has_writer(&path).unwrap());
    journal.close().unwrap();
    assert!(!Reader::has_writer(&path).unwrap());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                Reader::has_writer(&path).unwrap();
            }
        });
        let opened: Result<(), Error> =
            (0..100).try_for_each(|_| Journal::open(options())?.0.close());
        ended.store(true, Ordering::Relaxed);
        opened.unwrap();
    });
}

#[test]
fn a_span_ends_with_the_last_call_and_not_with_what_was_booked_later() {
    let scratch = Scratch::new("span");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let later = |seconds: i64| Timestamp(NOON.0 + seconds * 1_000_000);
    journal.append(NOON, root()).wait().unwrap();
    let reader = Reader::open(&scratch.journal()).unwrap();
    assert_eq!(reader.span().unwrap(), Some((NOON, NOON)));
    let call = hold(1, amount(1, 1, 1));
    journal.append(later(5), call).wait().unwrap();
    let doubt = Entry::Doubt {
        id: id(1),
        charged: amount(1, 1, 1),
    };
    journal.append(later(60), doubt).wait().unwrap();
    assert_eq!(reader.span().unwrap(), Some((NOON, later(5))));
    journal.close().unwrap();
}

#[test]
fn readers_stand_beside_the_writer() {
    let scratch = Scratch::new("beside");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    let reader = Reader::open(&scratch.journal()).unwrap();
    let snapshot = reader.snapshot().unwrap();
    journal
        .append(NOON, hold(1, amount(1, 1, 1)))
        .wait()
        .unwrap();
    assert_eq!(
        reader.holds().unwrap().0.len(),
        0,
        "a snapshot is of one moment"
    );
    drop(snapshot);
    assert_eq!(reader.holds().unwrap().0.len(), 1);
    assert_eq!(verify(&scratch.journal()).unwrap().entries, 2);
    journal
        .append(NOON, settle(1, amount(1, 1, 1)))
        .wait()
        .unwrap();
    journal.close().unwrap();
    assert_eq!(reader.holds().unwrap().0.len(), 0);
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let scratch = Scratch::new("other");
    let path = scratch.journal();
    assert!(matches!(Reader::open(&path), Err(Error::Missing(_))));
    assert!(!path.exists(), "reading makes no file");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    let refused = Journal::open(scratch.options(Durability::Full)).err();
    assert!(matches!(refused, Some(Error::NotALedger(_))), "{refused:?}");
    assert!(matches!(Reader::open(&path), Err(Error::NotALedger(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn foreign_schemas_are_refused() {
    let scratch = Scratch::new("schema");
    drop(Journal::open(scratch.options(Durability::Full)).unwrap());
    let alter = |sql: &str| {
        rusqlite::Connection::open(scratch.journal())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    alter("UPDATE migrations SET sha256 = zeroblob(32)");
    let refused = Journal::open(scratch.options(Durability::Full)).err();
    assert!(
        matches!(refused, Some(Error::ChangedStep { version: 1 })),
        "{refused:?}"
    );
    alter("PRAGMA user_version = 99");
    let refused = Journal::open(scratch.options(Durability::Full)).err();
    assert!(
        matches!(
            refused,
            Some(Error::Newer {
                found: 99,
                known: 3
            })
        ),
        "{refused:?}"
    );
    assert!(matches!(
        Reader::open(&scratch.journal()),
        Err(Error::Newer { .. })
    ));
}

#[test]
fn balances_that_contradict_the_open_holds_are_not_served() {
    let scratch = Scratch::new("contradict");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    let _ = journal.append(NOON, root());
    let _ = journal.append(NOON, hold(1, amount(1, 1, 1)));
    journal.close().unwrap();
    let connection = rusqlite::Connection::open(scratch.journal()).unwrap();
    connection
        .execute_batch("UPDATE balances SET held_tokens = 0")
        .unwrap();
    drop(connection);
    let refused = Journal::open(scratch.options(Durability::Full)).err();
    assert!(
        matches!(refused, Some(Error::Inconsistent(_))),
        "{refused:?}"
    );
}

/// Opening reads budgets and open holds, not the history: a hundred times the entries must not
/// mean more bytes read than a deeper index or two.
#[test]
fn opening_reads_nothing_of_the_history() {
    let scratch = Scratch::new("scale");
    let disk = Disk::at(scratch.path());
    let options = || Options {
        vfs: Some(VFS.to_owned()),
        ..Options::new(scratch.journal(), Durability::Async, NOON)
    };
    let mut read = Vec::new();
    let mut number = 0;
    let (journal, _) = Journal::open(options()).unwrap();
    let _ = journal.append(NOON, root());
    for number in 1_000_000..1_000_050 {
        let _ = journal.append(NOON, hold(number, amount(1, 1, 1)));
    }
    journal.close().unwrap();
    for pairs in [500, 50_000] {
        let (journal, _) = Journal::open(options()).unwrap();
        while number < pairs {
            number += 1;
            let _ = journal.append(NOON, hold(number, amount(1, 1, 1)));
            let _ = journal.append(NOON, settle(number, amount(1, 1, 1)));
        }
        journal.close().unwrap();
        let before = disk.bytes_read();
        let (journal, recovered) = Journal::open(options()).unwrap();
        read.push(disk.bytes_read() - before);
        assert_eq!(recovered.open.len(), 50);
        assert_eq!(recovered.entries, 51 + 2 * number as u64);
        drop(journal);
    }
    println!("bytes read to open: {read:?}");
    assert!(read[1] <= read[0] + 16 * 4096, "{read:?}");
    assert_eq!(
        verify_on(&scratch.journal(), VFS).unwrap().entries,
        51 + 100_000
    );
}
