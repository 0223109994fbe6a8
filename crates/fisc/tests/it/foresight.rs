//! Where spending leads, through the handle, at a clock that stands still: who is warned, whose
//! level acts early, and what finished runs teach.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use fisc::clock::{Clock, ManualClock};
use fisc::core::Method;
use fisc::{
    Amount, BudgetId, Event, Fisc, Level, Options, Patience, Period, Permille, Resource, Sharing,
    Terms, TimeUs, Timestamp, Window, Zone,
};
use fisc_testkit::temp;

use crate::{limit, tokens};

const SECOND: i64 = 1_000_000;
const NOW: Patience = Patience(Duration::ZERO);

/// A tree over a ledger, at a clock that moves when told.
struct Play {
    folder: temp::Dir,
    clock: Arc<ManualClock>,
    fisc: Fisc,
    /// The last event that was looked at.
    seen: Cell<u64>,
}

impl Play {
    fn new() -> Play {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000 * SECOND)));
        let folder = temp::Dir::new();
        let fisc = open(&folder, &clock);
        Play {
            folder,
            clock,
            fisc,
            seen: Cell::new(0),
        }
    }

    async fn restart(self) -> Play {
        self.fisc.close().await.expect("it closes");
        let fisc = open(&self.folder, &self.clock);
        let seen = Cell::new(0);
        Play { fisc, seen, ..self }
    }

    async fn allocate(&self, path: &str, terms: Terms) -> BudgetId {
        let budget = self.fisc.allocate(path, terms).await;
        budget.expect("it fits").id()
    }

    /// One call a second, each of so many tokens; then the tick.
    async fn calls(&self, id: BudgetId, sizes: impl IntoIterator<Item = i64>) {
        let path = self.fisc.path(id);
        for size in sizes {
            self.clock.advance(TimeUs(SECOND));
            let budget = self.fisc.budget(&path).expect("it is there");
            let hold = budget.hold("call", tokens(size), NOW).await;
            let settled = hold.expect("room").settle_amount(tokens(size));
            settled
                .expect("it is open")
                .durable()
                .await
                .expect("a disk");
        }
        self.fisc.tick();
    }

    /// Runs of a class end: each of ten calls of its size, a second apart.
    async fn runs(&self, parent: &str, class: &str, sizes: impl IntoIterator<Item = i64>) {
        for (number, size) in sizes.into_iter().enumerate() {
            let path = format!("{parent}/{class}-{number}");
            let id = self.allocate(&path, Terms::default()).await;
            self.calls(id, [size; 10]).await;
            self.fisc.release(id).await.expect("nothing runs");
        }
        self.fisc.tick();
        self.news();
    }

    /// Warnings since the last look: of which budget, and whether its level acts early.
    fn warnings(&self) -> Vec<(BudgetId, bool)> {
        let warning = |event: Event| match event {
            Event::Forecast { budget, raised, .. } => Some((budget, raised)),
            _ => None,
        };
        let news = self.news();
        news.into_iter().filter_map(warning).collect()
    }

    fn news(&self) -> Vec<Event> {
        let (news, _) = self.fisc.events_since(self.seen.get());
        let last = news.last().map(|noted| noted.number);
        self.seen.set(last.unwrap_or(self.seen.get()));
        news.into_iter().map(|noted| noted.event).collect()
    }

    fn acting(&self, id: BudgetId) -> Level {
        let room = self.fisc.headroom(id).expect("it is there");
        let acting = self
            .fisc
            .budget(&self.fisc.path(id))
            .expect("the same")
            .acting();
        assert_eq!(room.acting, acting);
        acting.level
    }
}

fn open(folder: &temp::Dir, clock: &Arc<ManualClock>) -> Fisc {
    let clock: Arc<dyn Clock> = clock.clone();
    let options = Options {
        clock,
        ..Options::at(folder.path().join("ledger.db"))
    };
    Fisc::open(options).expect("a ledger")
}

/// Tokens within seconds.
fn within(count: i64, seconds: i64) -> Terms {
    Terms {
        elapsed: Some(TimeUs(seconds * SECOND)),
        ..limit(count)
    }
}

fn total(fisc: &Fisc, id: BudgetId) -> Option<i64> {
    let views = fisc.forecast(id, Method::Fisc);
    views.first()?.at_horizon.map(|total| total.point)
}

#[tokio::test]
async fn a_total_beyond_the_limit_warns_once_and_again_after_it_fell() {
    let play = Play::new();
    let root = play.allocate("org", within(1_000, 100)).await;
    play.calls(root, [20; 6]).await;
    assert_eq!(play.warnings(), [(root, false)], "2000 in 100 seconds");
    play.calls(root, [20; 2]).await;
    assert_eq!(play.warnings(), [], "it is told already");
    assert_eq!(
        play.acting(root),
        Level::Green,
        "a point alone does not act"
    );
    // Nothing for half of the time, then little: it falls well below.
    play.clock.advance(TimeUs(60 * SECOND));
    play.calls(root, [1; 8]).await;
    assert!(total(&play.fisc, root).expect("a total") < 900);
    play.calls(root, [100; 7]).await;
    assert_eq!(play.warnings(), [(root, false)], "a second crossing");
}

#[tokio::test]
async fn what_ends_within_its_limit_warns_nobody() {
    let play = Play::new();
    let root = play.allocate("org", within(1_000, 100)).await;
    play.calls(root, [5; 20]).await;
    let found = total(&play.fisc, root).expect("a total");
    assert!((400..600).contains(&found), "{found}");
    assert_eq!(play.warnings(), []);
}

#[tokio::test]
async fn without_a_horizon_nothing_is_said_of_a_total() {
    let play = Play::new();
    let root = play.allocate("org", limit(1_000)).await;
    let rolling = Terms {
        window: Window::Rolling(TimeUs(100 * SECOND)),
        ..limit(1_000)
    };
    let inner = play.allocate("org/rolling", rolling).await;
    play.calls(inner, [50; 12]).await;
    assert_eq!(play.warnings(), []);
    assert_eq!(
        (total(&play.fisc, root), total(&play.fisc, inner)),
        (None, None)
    );
    let views = play.fisc.forecast(root, Method::Fisc);
    let soon = views[0].limit_in.expect("there is a limit").point;
    assert!((5..12).contains(&(soon.0 / SECOND)), "{soon:?}");
    assert_eq!(
        views[0].shape.map(|shape| shape.profile.name()),
        Some("linear")
    );
}

#[tokio::test]
async fn the_end_of_a_window_is_a_horizon_and_the_next_one_begins_anew() {
    let play = Play::new();
    let daily = Terms {
        window: Window::Calendar {
            period: Period::Daily,
            zone: Zone::UTC,
            roll_over: Permille(0),
        },
        ..limit(1_000)
    };
    let root = play.allocate("org", daily).await;
    play.calls(root, [20; 8]).await;
    assert_eq!(play.warnings(), [(root, false)]);
    play.clock.advance(TimeUs(86_400 * SECOND));
    play.fisc.tick();
    assert_eq!(play.fisc.forecast(root, Method::Fisc), []);
    play.calls(root, [20; 8]).await;
    assert_eq!(
        play.warnings(),
        [(root, false)],
        "another day, another crossing"
    );
}

#[tokio::test]
async fn a_likely_overrun_acts_one_level_early_and_never_at_black() {
    let play = Play::new();
    play.allocate("org", Terms::default()).await;
    play.runs("org", "coder", (0..25).map(|n| 95 + n % 10))
        .await;
    // Such agents spend 950 and more, and this one may spend 800.
    let coder = play.allocate("org/coder-99", limit(800)).await;
    play.calls(coder, [60; 4]).await;
    assert_eq!(play.warnings(), [(coder, true)]);
    assert_eq!(play.acting(coder), Level::Yellow, "240 of 800 are Green");
    assert!(play.fisc.forecast(coder, Method::Fisc)[0].raised);
    play.calls(coder, [70; 3]).await;
    assert_eq!(play.acting(coder), Level::Orange, "450 of 800 are Yellow");
    play.calls(coder, [100; 3]).await;
    assert_eq!(
        play.acting(coder),
        Level::Red,
        "750 of 800 are Red, and not Black"
    );
    // More than is needed: the level is its own again.
    let grown = limit(5_000);
    play.fisc.set_terms(coder, grown).await.expect("it grows");
    play.fisc.tick();
    assert_eq!(play.acting(coder), Level::Green);
    assert_eq!(play.warnings(), []);
}

#[tokio::test]
async fn an_ancestor_acts_early_on_the_calls_below_it() {
    let play = Play::new();
    play.allocate("org", Terms::default()).await;
    play.runs("org", "team", (0..25).map(|n| 95 + n % 10)).await;
    let team = play.allocate("org/team-99", limit(800)).await;
    let agent = play.allocate("org/team-99/a", Terms::default()).await;
    play.calls(agent, [60; 4]).await;
    assert_eq!(
        (play.acting(team), play.acting(agent)),
        (Level::Yellow, Level::Yellow)
    );
}

#[tokio::test]
async fn a_budget_that_only_watches_is_told_of_and_not_raised() {
    let play = Play::new();
    play.allocate("org", Terms::default()).await;
    play.runs("org", "coder", (0..25).map(|n| 95 + n % 10))
        .await;
    let terms = Terms {
        observed: true,
        ..limit(800)
    };
    let coder = play.allocate("org/coder-99", terms).await;
    play.calls(coder, [60; 4]).await;
    assert_eq!(play.warnings(), [(coder, false)]);
    assert_eq!(play.acting(coder), Level::Green);
    assert!(!play.fisc.forecast(coder, Method::Fisc)[0].raised);
}

#[tokio::test]
async fn what_runs_taught_is_known_after_a_restart() {
    let play = Play::new();
    play.allocate("org", Terms::default()).await;
    play.runs("org", "coder", [10, 11, 12, 13, 14, 15]).await;
    let expected = play.fisc.expected("coder", Resource::Tokens);
    assert_eq!(expected.map(|total| total.point), Some(125));
    let play = play.restart().await;
    assert_eq!(play.fisc.expected("coder", Resource::Tokens), expected);
    assert_eq!(play.fisc.expected("writer", Resource::Tokens), None);
    // Without a deadline it is what such agents still spend that is the horizon.
    let coder = play.allocate("org/coder-99", limit(1_000)).await;
    play.calls(coder, [12; 5]).await;
    let found = total(&play.fisc, coder).expect("it is known");
    assert!((110..140).contains(&found), "{found}");
}

#[tokio::test]
async fn who_was_stopped_at_its_limit_teaches_nothing() {
    let play = Play::new();
    play.allocate("org", Terms::default()).await;
    for number in 0..6 {
        let id = play
            .allocate(&format!("org/coder-{number}"), limit(100))
            .await;
        play.calls(id, [10; 10]).await;
        play.fisc.release(id).await.expect("nothing runs");
    }
    play.fisc.tick();
    assert_eq!(play.fisc.expected("coder", Resource::Tokens), None);
}

#[tokio::test]
async fn a_completed_program_teaches_what_another_process_recalls() {
    let play = Play::new();
    let mut past = Vec::new();
    for _ in 0..5 {
        let play = Play::new();
        let root = play.allocate("run", limit(1_000)).await;
        let agent = play.allocate("run/agent", Terms::default()).await;
        play.calls(agent, [20; 6]).await;
        assert!(play.fisc.recall(&past));
        past = play.fisc.completed();
        assert_eq!(play.fisc.forecast(root, Method::Fisc), []);
    }
    let classes: Vec<(&str, usize)> = (past.iter())
        .map(|past| (past.class.as_str(), past.runs.len()))
        .collect();
    assert_eq!(classes, [("", 5), ("agent", 5)]);
    assert!(play.fisc.recall(&past));
    let expected = play.fisc.expected("", Resource::Tokens);
    assert_eq!(
        expected.map(|total| (total.point, total.interval)),
        Some((120, None))
    );
    past[0].runs[0].pop();
    assert!(!play.fisc.recall(&past), "that is no run");
}

#[tokio::test]
async fn needs_are_predicted_where_siblings_share_by_need() {
    let play = Play::new();
    let shared = Terms {
        sharing: Sharing::Dynamic,
        ..limit(10_000)
    };
    play.allocate("org", shared).await;
    play.runs("org", "coder", [10, 11, 12, 13, 14, 15]).await;
    let need = |id| {
        let status = play.fisc.status(id).expect("it is there");
        status.need.get(Resource::Tokens)
    };
    let coder = play.allocate("org/coder-99", Terms::default()).await;
    assert_eq!(need(coder), Some(125), "as its kind did");
    play.calls(coder, [12; 5]).await;
    // 60 are spent and 65 missing, which is more than half of the estimate.
    let found = need(coder).expect("a need");
    assert!((115..135).contains(&found), "{found}");
    play.calls(coder, [12; 5]).await;
    let found = need(coder).expect("a need");
    assert!(
        (170..200).contains(&found),
        "nobody is nearly done: {found}"
    );
    let other = play.allocate("org/writer", Terms::default()).await;
    play.calls(other, [12; 5]).await;
    assert_eq!(need(other), None, "nothing is known of its kind");
}

#[tokio::test]
async fn a_ledger_that_is_read_says_what_its_writer_says() {
    let play = Play::new();
    let root = play.allocate("org", within(1_000, 100)).await;
    let agent = play.allocate("org/agent", Terms::default()).await;
    play.calls(agent, (0..30).map(|n| 10 + n)).await;
    let reader = fisc::Reader::open(play.fisc.ledger().expect("a file")).expect("a ledger");
    let budgets = reader.budgets().expect("rows");
    let now = play.fisc.now();
    let tree = fisc::read_tree(&budgets, &[], now).expect("a tree");
    let read = fisc::Foresight::read(&reader, &tree).expect("entries");
    for id in [root, agent] {
        for method in Method::ALL {
            let said = play.fisc.forecast(id, method);
            assert_eq!(read.forecast(&tree, now, id, method), said);
            assert_eq!(said[0].spent, (0..30).map(|n| 10 + n).sum::<i64>());
        }
    }
    let cost = Amount::ZERO.cost();
    assert_eq!(play.fisc.status(root).expect("there").spent.cost(), cost);
}

#[tokio::test]
async fn what_rests_on_a_deadline_out_of_sight_is_told_to_nobody_below() {
    let play = Play::new();
    let root = play.allocate("org", within(1_000, 100)).await;
    let limited = Terms {
        limits: fisc::Limits::NONE.with(Resource::Cost, Some(3_000)),
        ..Terms::default()
    };
    let team = play.allocate("org/team", limited).await;
    for _ in 0..6 {
        play.clock.advance(TimeUs(SECOND));
        let amount = Amount::from_raw([20, 20, 0]);
        let budget = play.fisc.budget("org/team").expect("it is there");
        let hold = budget.hold("call", amount, NOW).await.expect("room");
        let settled = hold.settle_amount(amount).expect("it is open");
        settled.durable().await.expect("a disk");
    }
    play.fisc.tick();
    let owners = play.fisc.foreseen(team, "org");
    assert!(
        owners.cost > Some(fisc::Money::from_nanos(1_000)),
        "{owners:?}"
    );
    let teams = play.fisc.foreseen(team, "org/team");
    assert_eq!(teams.cost, None);
    assert!(
        teams.limit_in > owners.limit_in,
        "the tokens are the owner's"
    );
    let total = |seen_from: &str| {
        let views = play.fisc.forecast_within(team, seen_from, Method::Fisc);
        views[0].at_horizon.map(|total| total.point)
    };
    assert!(total("org") > Some(1_000));
    assert_eq!(total("org/team"), None);
    assert_eq!(
        play.fisc.foreseen(root, "org/team"),
        fisc::Foreseen::default()
    );
    // What was said a while ago is told no more.
    play.clock.advance(TimeUs(11 * SECOND));
    assert_eq!(play.fisc.foreseen(team, "org"), fisc::Foreseen::default());
}
