//! Windows, loans, releases and shares through the handle, and over a restart.

use std::sync::Arc;
use std::time::Duration;

use fisc::clock::{Clock, ManualClock};
use fisc::{
    Amount, CallLabel, Claim, Fisc, Headroom, Limits, Money, Options, Patience, Period, Permille,
    Plan, Resource, Sharing, State, Terms, TimeUs, Timestamp, Tokens, Window, Zone,
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

/// A call as the gateway makes it: it looks at the room first, and waits for its least.
async fn planned(fisc: &Fisc, path: &str, nanos: i64) -> Result<(), fisc::Error> {
    let call = CallLabel {
        operation: "call".into(),
        model: "".into(),
        provider: "".into(),
        price_version: "".into(),
        attempt: 1,
        bounded: true,
    };
    let plan = |room: &Headroom| {
        if cost(nanos).fits(&room.now) {
            Plan::Hold {
                amount: cost(nanos),
                bounded: true,
            }
        } else if cost(nanos).fits(&room.idle) {
            Plan::Wait {
                least: cost(nanos),
                wanted: cost(nanos),
            }
        } else {
            Plan::Never { least: cost(nanos) }
        }
    };
    let hold = fisc.budget(path)?.hold_planned(call, NOW, plan).await?;
    hold.settle_amount(cost(nanos))?.durable().await?;
    Ok(())
}

#[tokio::test]
async fn an_idle_agents_planned_call_gets_its_share_back() {
    let place = Place::new();
    let fisc = place.open();
    let terms = Terms {
        sharing: Sharing::Fair,
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
    place.pass(130_000_000);
    spend(&fisc, "org/b", 1).await.expect("there is room");
    place.pass(5_000_000);
    fisc.tick();
    assert_eq!(room(&fisc, "org/a"), 0, "it is idle");
    place.pass(1_000_000);
    planned(&fisc, "org/a", 20).await.expect("it calls again");
}

#[tokio::test]
async fn who_gives_up_is_idle_again() {
    let place = Place::new();
    let fisc = place.open();
    let terms = Terms {
        claim: Claim::Guarantee(cost(20)),
        ..Terms::default()
    };
    fisc.allocate("org", limited(100)).await.expect("a root");
    fisc.allocate("org/a", terms).await.expect("it fits");
    let b = fisc
        .allocate("org/b", Terms::default())
        .await
        .expect("it fits");
    let running = b.hold("call", cost(80), NOW).await.expect("it fits");
    assert!(planned(&fisc, "org/a", 30).await.is_err());
    place.pass(130_000_000);
    fisc.tick();
    assert_eq!(
        room(&fisc, "org/b"),
        20,
        "what was kept for it is reclaimed"
    );
    drop(running);
}

#[tokio::test]
async fn a_pool_has_no_shares_left() {
    let fisc = Fisc::in_memory();
    let terms = Terms {
        sharing: Sharing::Equal,
        ..limited(100)
    };
    let org = fisc.allocate("org", terms).await.expect("a root");
    fisc.allocate("org/a", Terms::default())
        .await
        .expect("it fits");
    fisc.allocate("org/b", Terms::default())
        .await
        .expect("it fits");
    assert_eq!(room(&fisc, "org/a"), 50);
    let pool = |terms: &mut Terms| terms.sharing = Sharing::Pool;
    fisc.change_terms(org.id(), pool).await.expect("it may");
    assert_eq!(room(&fisc, "org/a"), 100);
    let equal = |terms: &mut Terms| terms.sharing = Sharing::Equal;
    fisc.change_terms(org.id(), equal).await.expect("it may");
    assert_eq!(room(&fisc, "org/a"), 50);
}

#[tokio::test]
async fn what_was_corrected_in_the_past_stays_there_over_a_restart() {
    let place = Place::new();
    let fisc = place.open();
    fisc.allocate("org", daily(100)).await.expect("a root");
    let root = fisc.root().expect("a root");
    let mut hold = root.hold("call", cost(50), NOW).await.expect("it fits");
    hold.begin();
    // As a crash does: nobody ends it.
    std::mem::forget(hold);
    drop(fisc.close().await);
    let fisc = place.open();
    let doubt = fisc.in_doubt().remove(0);
    place.pass(DAY);
    spend(&fisc, "org", 60).await.expect("a new day");
    let resolved = fisc.resolve_doubt(doubt.id, cost(0), "it never came").await;
    resolved.expect("it is in doubt");
    assert_eq!(room(&fisc, "org"), 40);
    fisc.close().await.expect("it closes");
    assert_eq!(room(&place.open(), "org"), 40);
}

#[tokio::test]
async fn the_largest_amounts_below_another_window_are_refused_and_nothing_panics() {
    let fisc = Fisc::in_memory();
    fisc.allocate("org", Terms::default())
        .await
        .expect("a root");
    let largest = Terms {
        claim: Claim::Limit,
        ..daily(i64::MAX)
    };
    fisc.allocate(
        "org/w",
        Terms {
            limits: Limits::NONE,
            ..daily(0)
        },
    )
    .await
    .expect("it fits");
    fisc.allocate("org/w/a", largest).await.expect("it fits");
    assert!(fisc.allocate("org/w/b", largest).await.is_err());
    fisc.check().expect("nothing is broken");
}

#[tokio::test]
async fn what_was_paid_in_auctions_is_paid_after_a_restart() {
    let place = Place::new();
    let auction = Terms {
        sharing: Sharing::Auction,
        ..limited(1_000)
    };
    let bidder = |weight| Terms {
        need: Limits::NONE.with(Resource::Cost, Some(600)),
        weight: fisc::Weight(weight),
        ..Terms::default()
    };
    let credits = || {
        let file = place.folder.path().join("ledger.db");
        let rows = fisc::Reader::open(&file).and_then(|reader| reader.budgets());
        let rows = rows.expect("a ledger");
        let own = |text: &str| {
            let pair = text
                .split(' ')
                .find_map(|pair| pair.strip_prefix("now.credits="));
            pair.map_or(0, |credits| credits.parse::<i64>().expect("a number"))
        };
        rows.iter().map(|row| own(&row.terms)).collect::<Vec<_>>()
    };
    let fisc = place.open();
    fisc.allocate("root", auction).await.expect("allocate");
    for (name, weight) in [("root/a", 1), ("root/b", 4), ("root/c", 2)] {
        fisc.allocate(name, bidder(weight)).await.expect("allocate");
    }
    place.pass(11_000_000);
    fisc.tick();
    fisc.close().await.expect("close");
    let paid = credits();
    assert!(paid.iter().any(|credits| *credits < 0), "{paid:?}");

    let fisc = place.open();
    let b = fisc.budget("root/b").expect("it is there");
    fisc.set_terms(b.id(), bidder(4)).await.expect("no change");
    fisc.close().await.expect("close");
    assert_eq!(credits(), paid);
}

#[tokio::test]
async fn a_name_that_is_used_again_means_the_new_budget_after_a_restart_too() {
    let place = Place::new();
    let fisc = place.open();
    fisc.allocate("root", limited(1_000))
        .await
        .expect("allocate");
    let old = fisc
        .allocate("root/a", limited(50))
        .await
        .expect("allocate");
    let hold = old.hold("call", cost(30), NOW).await.expect("it fits");
    let _settled = hold.settle_amount(cost(30)).expect("settle");
    let taken = fisc.allocate("root/a", limited(50)).await.err();
    assert!(taken.is_some(), "it lives");
    fisc.release(old.id()).await.expect("nothing runs");
    let new = fisc
        .allocate("root/a", limited(40))
        .await
        .expect("it is free");
    let hold = new.hold("call", cost(5), NOW).await.expect("it fits");
    let _settled = hold.settle_amount(cost(5)).expect("settle");
    fisc.close().await.expect("close");

    let fisc = place.open();
    let found = fisc.budget("root/a").expect("it is there").status();
    assert_eq!((found.id, found.spent), (new.id(), cost(5)));
    let former = fisc.status(old.id()).expect("it is known by its id");
    assert_eq!(
        (former.spent, former.terms.state),
        (cost(30), State::Released)
    );
    let root = fisc.budget("root").expect("it is there").status();
    assert_eq!(root.spent, cost(35), "both were spent of it");
    fisc.check().expect("the tree is whole");
    fisc.close().await.expect("close");
    let ledger = place.folder.path().join("ledger.db");
    fisc_ledger::verify(&ledger).expect("the ledger verifies");
}
