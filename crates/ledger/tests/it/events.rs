//! Events beside the entries: kept in order, told once, and nothing to the fold.

use std::sync::Arc;

use fisc_core::{BudgetId, Timestamp};
use fisc_ledger::{Durability, EventRow, Journal, Reader, verify};

use crate::support::{NOON, Scratch, amount, hold, root, settle};

fn event(number: u64, kind: &str) -> EventRow {
    EventRow {
        at: Timestamp(NOON.0 + number as i64),
        number,
        budget: BudgetId(0),
        kind: kind.into(),
        detail: Arc::from("resource=cost from=green to=yellow"),
    }
}

#[test]
fn events_are_read_back_in_order_and_move_nothing() {
    let scratch = Scratch::new("events");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    let _ = journal.append(NOON, root());
    let _ = journal.tell(event(1, "level"));
    let _ = journal.append(NOON, hold(1, amount(1, 1, 1)));
    let _ = journal.tell(event(2, "overrun"));
    let last = journal.append(NOON, settle(1, amount(1, 1, 1)));
    last.wait().unwrap();
    let reader = Reader::open(&scratch.journal()).unwrap();
    let all = [event(1, "level"), event(2, "overrun")];
    assert_eq!(reader.events(Timestamp(0), 10).unwrap(), all);
    assert_eq!(reader.events(all[1].at, 10).unwrap(), all[1..]);
    assert_eq!(reader.events(Timestamp(0), 1).unwrap(), all[..1]);
    assert_eq!(verify(&scratch.journal()).unwrap().entries, 3);
    journal.close().unwrap();
    // After a restart, too.
    let (journal, recovered) = Journal::open(scratch.options(Durability::Full)).unwrap();
    assert_eq!(recovered.entries, 3);
    assert_eq!(reader.events(Timestamp(0), 10).unwrap(), all);
    journal.close().unwrap();
    verify(&scratch.journal()).unwrap();
}

#[test]
fn an_event_that_is_written_again_is_the_same_one() {
    let scratch = Scratch::new("again");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    let _ = journal.tell(event(7, "level"));
    let _ = journal.tell(event(7, "level"));
    journal.close().unwrap();
    let reader = Reader::open(&scratch.journal()).unwrap();
    assert_eq!(
        reader.events(Timestamp(0), 10).unwrap(),
        [event(7, "level")]
    );
}

#[test]
fn a_ledger_without_the_table_has_no_events_and_gets_it_from_its_next_writer() {
    let scratch = Scratch::new("older");
    drop(Journal::open(scratch.options(Durability::Full)).unwrap());
    let alter = rusqlite::Connection::open(scratch.journal()).unwrap();
    alter
        .execute_batch(
            "DROP TABLE events; DELETE FROM migrations WHERE version = 3;
             PRAGMA user_version = 2",
        )
        .unwrap();
    drop(alter);
    let reader = Reader::open(&scratch.journal()).unwrap();
    assert_eq!(reader.events(Timestamp(0), 10).unwrap(), []);
    verify(&scratch.journal()).unwrap();
    drop(reader);
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    journal.tell(event(1, "level")).wait().unwrap();
    let reader = Reader::open(&scratch.journal()).unwrap();
    assert_eq!(
        reader.events(Timestamp(0), 10).unwrap(),
        [event(1, "level")]
    );
}
