//! Events: every consumer sees all of them in order, or is told how many it missed; and the ledger
//! keeps them.

use std::sync::Arc;
use std::time::Duration;

use fisc::clock::ManualClock;
use fisc::{
    BudgetId, Durability, Event, Fisc, Level, Noted, Options, Patience, Reader, Sign, Terms,
    TimeUs, Timestamp,
};
use fisc_testkit::temp;

use crate::{limit, tokens};

const SECOND: i64 = 1_000_000;
const AT_ONCE: Patience = Patience(Duration::ZERO);

async fn spend(fisc: &Fisc, path: &str, count: i64) {
    let budget = fisc.budget(path).expect("a budget");
    let hold = budget.hold("call", tokens(count), AT_ONCE).await;
    let hold = hold.expect("it fits");
    let settled = hold.settle_amount(tokens(count)).expect("settle");
    settled.durable().await.expect("written");
}

fn levels(news: &[Noted]) -> Vec<(u64, Level)> {
    let level = |noted: &Noted| match noted.event {
        Event::LevelChanged { to, .. } => Some((noted.number, to)),
        _ => None,
    };
    news.iter().filter_map(level).collect()
}

#[tokio::test]
async fn every_consumer_sees_every_event_once() {
    let fisc = Fisc::in_memory();
    fisc.allocate("root", limit(100)).await.expect("root");
    spend(&fisc, "root", 60).await;
    let (early, missed) = fisc.events_since(0);
    assert_eq!((levels(&early), missed), (vec![(1, Level::Yellow)], 0));
    spend(&fisc, "root", 32).await;
    let (rest, _) = fisc.events_since(1);
    assert_eq!(levels(&rest), [(2, Level::Orange), (3, Level::Red)]);
    // Another one, who comes later, sees all of it, and nobody sees anything twice.
    let all = [early, rest].concat();
    assert_eq!(fisc.events_since(0), (all, 0));
    assert_eq!(fisc.events_since(3), (vec![], 0));
    assert_eq!(fisc.events_since(99), (vec![], 0));
}

#[tokio::test]
async fn whoever_waits_is_told_once_something_happened() {
    let fisc = Fisc::in_memory();
    fisc.allocate("root", limit(100)).await.expect("root");
    spend(&fisc, "root", 10).await;
    let waits = async |seen| {
        let short = Duration::from_millis(20);
        tokio::time::timeout(short, fisc.changed(seen))
            .await
            .is_err()
    };
    assert!(waits(0).await, "no event happened");
    let waiting = tokio::spawn({
        let fisc = fisc.clone();
        async move { fisc.changed(0).await }
    });
    spend(&fisc, "root", 50).await;
    waiting.await.expect("it is told");
    assert!(!waits(0).await, "nor does it wait who comes later");
    assert!(waits(1).await, "all was seen");
}

#[tokio::test]
async fn who_comes_too_late_is_told_how_many_it_missed() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("root");
    for _ in 0..5_000 {
        let budget = root.id();
        let sign = Sign::Rate;
        fisc.tell(Event::Runaway { budget, sign });
    }
    let (kept, missed) = fisc.events_since(0);
    assert_eq!((kept.len() as u64 + missed, missed), (5_000, 5_000 - 4_096));
    assert_eq!(kept[0].number, missed + 1);
    assert_eq!(kept.last().expect("the last").number, 5_000);
    let (kept, missed) = fisc.events_since(800);
    assert_eq!((kept.len(), missed), (4_096, 104));
    assert_eq!(fisc.events_since(4_990).0.len(), 10);
}

#[tokio::test]
async fn the_ledger_keeps_what_happened_and_still_verifies() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let options = Options {
        durability: Durability::Process,
        ..Options::at(&path)
    };
    let fisc = Fisc::open(options).expect("open");
    let root = fisc.allocate("root", limit(100)).await.expect("root");
    spend(&fisc, "root", 60).await;
    spend(&fisc, "root", 1).await;
    fisc.set_frozen(root.id(), true).await.expect("freeze");
    fisc.set_frozen(root.id(), true).await.expect("no change");
    fisc.set_frozen(root.id(), false).await.expect("thaw");
    let noted = fisc.events_since(0).0;
    fisc.close().await.expect("close");

    let reader = Reader::open(&path).expect("open");
    let rows = reader.events(Timestamp(0), 100).expect("events");
    let told: Vec<_> = rows.iter().map(|row| (&*row.kind, &*row.detail)).collect();
    let expected = [
        ("level", "resource=tokens from=green to=yellow"),
        ("frozen", "frozen=yes"),
        ("frozen", "frozen=no"),
    ];
    assert_eq!(told, expected);
    let numbers = |row: (&fisc::EventRow, &Noted)| {
        assert_eq!((row.0.number, row.0.at), (row.1.number, row.1.at));
        assert_eq!(row.0.budget, BudgetId(0));
    };
    rows.iter().zip(&noted).for_each(numbers);
    fisc_ledger::verify(&path).expect("it verifies");
}

#[tokio::test]
async fn a_timer_that_looks_late_does_not_make_the_crossing_late() {
    let clock = Arc::new(ManualClock::at(Timestamp(SECOND)));
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let fisc = Fisc::open(options).expect("open");
    let terms = Terms {
        elapsed: Some(TimeUs(100 * SECOND)),
        ..Terms::default()
    };
    fisc.allocate("root", terms).await.expect("root");
    fisc.tick();
    clock.advance(TimeUs(49 * SECOND));
    fisc.tick();
    assert_eq!(fisc.events_since(0).0, []);
    // Half of the time is over; the timer finds that out three seconds later, and who acts, four.
    clock.advance(TimeUs(4 * SECOND));
    fisc.tick();
    clock.advance(TimeUs(SECOND));
    let (news, _) = fisc.events_since(0);
    assert_eq!(levels(&news), [(1, Level::Yellow)]);
    assert_eq!(news[0].ticks, TimeUs(51 * SECOND));
    fisc.acted(&news[0]);
    let took = fisc.responsiveness();
    assert_eq!((took.count(), took.sum()), (1, TimeUs(4 * SECOND)));
    assert_eq!(took.share_within(TimeUs(SECOND)), Some(0.0));
}

#[tokio::test]
async fn a_level_that_is_acted_upon_at_once_counts_as_such_and_other_events_do_not() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("root");
    spend(&fisc, "root", 60).await;
    fisc.set_frozen(root.id(), true).await.expect("freeze");
    let (news, _) = fisc.events_since(0);
    assert_eq!(news.len(), 2);
    for noted in &news {
        fisc.acted(noted);
    }
    assert_eq!(fisc.responsiveness().count(), 1);
    assert_eq!(
        fisc.responsiveness().share_within(TimeUs(SECOND)),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_raised_level_lasts_until_its_time_is_over() {
    let clock = Arc::new(ManualClock::at(Timestamp(SECOND)));
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let fisc = Fisc::open(options).expect("open");
    let root = fisc.allocate("root", limit(100)).await.expect("root");
    assert_eq!(fisc.raised(root.id()), None);
    let until = fisc.now().after(TimeUs(10 * SECOND));
    fisc.raise_level(root.id(), Sign::Repeats, until);
    fisc.raise_level(BudgetId(99), Sign::Repeats, until);
    let raised = fisc.raised(root.id()).expect("it was raised");
    assert_eq!((raised.why, raised.until), (Sign::Repeats, until));
    assert_eq!(raised.lift(root.level()), Level::Yellow);
    assert_eq!(fisc.raised(BudgetId(99)), None);
    clock.advance(TimeUs(10 * SECOND));
    assert_eq!(fisc.raised(root.id()), None);
}
