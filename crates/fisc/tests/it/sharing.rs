//! Windows, loans, releases and shares through the handle, and over a restart.

use std::sync::Arc;
use std::time::Duration;

use fisc::clock::{Clock, ManualClock};
use fisc::{
    Amount, Fisc, Limits, Money, Options, Patience, Period, Permille, Resource, Sharing, State,
    Terms, TimeUs, Timestamp, Tokens, Window, Zone,
};
use fisc_testkit::temp;

const DAY: i64 = 86_400_000_000;
const NOW: Patience = Patience(Duration::ZERO);

fn cost(nanos: i64) -> Amount {
    Amount::new(Tokens(0), Money::from_nanos(nanos), TimeUs(0))
}

fn limited(nanos: i64) -> Terms {
    Terms {
        limits: Limits::NONE.with(Resource::Cost, Some(nanos)),
        ..Terms::default()
    }
}

fn daily(nanos: i64) -> Terms {
    Terms {
        window: Window::Calendar {
            period: Period::Daily,
            zone: Zone::UTC,
            roll_over: Permille(0),
        },
        ..limited(nanos)
    }
}

struct Place {
    folder: temp::Dir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Place {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000 * DAY)));
        let folder = temp::Dir::new();
        Place { folder, clock }
    }

    fn open(&self) -> Fisc {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let options = Options {
            clock,
            ..Options::at(self.folder.path().join("ledger.db"))
        };
        Fisc::open(options).expect("a ledger")
    }

    fn pass(&self, micros: i64) {
        self.clock.advance(TimeUs(micros));
    }
}

async fn spend(fisc: &Fisc, path: &str, nanos: i64) -> Result<(), fisc::Error> {
    let hold = fisc.budget(path)?.hold("call", cost(nanos), NOW).await?;
    hold.settle_amount(cost(nanos))?.durable().await?;
    Ok(())
}

fn room(fisc: &Fisc, path: &str) -> i64 {
    let budget = fisc.budget(path).expect("it is there");
    budget.headroom().now.get(Resource::Cost)
}

#[tokio::test]
async fn a_day_is_remembered_over_a_restart() {
    let place = Place::new();
    let fisc = place.open();
    fisc.allocate("org", daily(10)).await.expect("a root");
    fisc.allocate("org/a", Terms::default())
        .await
        .expect("it fits");
    spend(&fisc, "org/a", 7).await.expect("there is room");
    place.pass(DAY);
    spend(&fisc, "org/a", 4).await.expect("a new day");
    assert_eq!(room(&fisc, "org"), 6);
    fisc.close().await.expect("it closes");

    let fisc = place.open();
    assert_eq!(room(&fisc, "org"), 6);
    assert!(spend(&fisc, "org/a", 7).await.is_err());
    let status = fisc.statuses().remove(0);
    assert_eq!(status.spent.get(Resource::Cost), 11);
    assert_eq!(status.window_spent.get(Resource::Cost), 4);
    place.pass(DAY);
    assert_eq!(room(&fisc, "org"), 10);
}

#[tokio::test]
async fn a_rolling_window_is_remembered_over_a_restart() {
    let place = Place::new();
    let fisc = place.open();
    let terms = Terms {
        window: Window::Rolling(TimeUs(DAY)),
        ..limited(10)
    };
    fisc.allocate("org", terms).await.expect("a root");
    fisc.allocate("org/a", Terms::default())
        .await
        .expect("it fits");
    place.pass(5 * DAY);
    spend(&fisc, "org/a", 3).await.expect("there is room");
    place.pass(DAY / 2);
    spend(&fisc, "org/a", 4).await.expect("there is room");
    assert_eq!(room(&fisc, "org"), 3);
    fisc.close().await.expect("it closes");

    let fisc = place.open();
    assert_eq!(room(&fisc, "org"), 3);
    place.pass(DAY * 6 / 10);
    assert_eq!(room(&fisc, "org"), 6);
    place.pass(DAY);
    assert_eq!(room(&fisc, "org"), 10);
}

#[tokio::test]
async fn loans_and_releases_are_remembered_over_a_restart() {
    let place = Place::new();
    let fisc = place.open();
    fisc.allocate("org", limited(100)).await.expect("a root");
    let a = fisc.allocate("org/a", limited(40)).await.expect("it fits");
    let b = fisc.allocate("org/b", limited(20)).await.expect("it fits");
    let c = fisc.allocate("org/c", limited(9)).await.expect("it fits");
    let lent = fisc.lend(a.id(), b.id(), cost(100)).await.expect("half");
    assert_eq!(lent, cost(20));
    spend(&fisc, "org/b", 30).await.expect("borrowed room");
    fisc.release(c.id()).await.expect("nothing runs");
    fisc.close().await.expect("it closes");

    let fisc = place.open();
    assert_eq!((room(&fisc, "org/a"), room(&fisc, "org/b")), (20, 10));
    assert_eq!(fisc.loans().len(), 1);
    assert!(spend(&fisc, "org/c", 1).await.is_err());
    // The raise repays before it helps.
    fisc.top_up(b.id(), cost(5)).await.expect("a raise");
    assert_eq!((room(&fisc, "org/a"), room(&fisc, "org/b")), (25, 10));
    fisc.close().await.expect("it closes");
    let fisc = place.open();
    assert_eq!((room(&fisc, "org/a"), room(&fisc, "org/b")), (25, 10));
    fisc.release(b.id()).await.expect("nothing runs");
    assert_eq!(
        room(&fisc, "org/a"),
        35,
        "the leftover repays, 5 are a transfer"
    );
    assert_eq!(fisc.loans(), []);
}

#[tokio::test]
async fn frozen_is_for_now() {
    let fisc = Fisc::in_memory();
    let org = fisc.allocate("org", limited(10)).await.expect("a root");
    fisc.set_frozen(org.id(), true).await.expect("it freezes");
    assert!(spend(&fisc, "org", 1).await.is_err());
    assert_eq!(org.status().terms.state, State::Frozen);
    fisc.set_frozen(org.id(), false).await.expect("it thaws");
    spend(&fisc, "org", 1).await.expect("there is room");
}

#[tokio::test]
async fn the_round_divides_what_an_idle_sibling_leaves() {
    let place = Place::new();
    let fisc = place.open();
    let terms = Terms {
        sharing: Sharing::Equal,
        ..limited(100)
    };
    fisc.allocate("org", terms).await.expect("a root");
    fisc.allocate("org/a", Terms::default())
        .await
        .expect("it fits");
    fisc.allocate("org/b", Terms::default())
        .await
        .expect("it fits");
    spend(&fisc, "org/a", 10).await.expect("there is room");
    spend(&fisc, "org/b", 10).await.expect("there is room");
    assert_eq!(room(&fisc, "org/a"), 40);
    place.pass(130_000_000);
    spend(&fisc, "org/a", 10).await.expect("there is room");
    place.pass(5_000_000);
    fisc.tick();
    assert_eq!(room(&fisc, "org/a"), 70);
}
