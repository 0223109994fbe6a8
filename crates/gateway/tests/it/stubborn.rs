//! An agent that goes on after refusals is cut off by itself: its calls are refused without being
//! judged, those of others are served as before, and more room lets it in again.

use fisc::core::Resource;
use fisc::{Limits, Terms};
use fisc_gateway::{Limiting, Policy};
use fisc_rehearsal::Wire;

use crate::harness::{House, Plan, limited};
use crate::raw::{self, Ask, Seen};

/// After how many refusals in a row an agent is cut off.
const MAX: usize = 5;

/// A house in which the agent `tester` has spent most of 200 tokens.
async fn house() -> House {
    let plan = Plan {
        policy: Policy {
            max_refusals: Some(MAX as u64),
            ..Policy::default()
        },
        ..Plan::default()
    };
    let house = House::start(plan).await;
    let terms = limited(Resource::Tokens, 200);
    house
        .fisc
        .allocate("run/tester", terms)
        .await
        .expect("it fits");
    let first = Ask::new(Wire::Anthropic, false, "first", "tokens=100").capped(100);
    let seen = first.call(&house).await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    house
}

/// Calls with a prompt of its own, which nobody has counted yet.
async fn call(house: &House, number: usize) -> Seen {
    let ask = Ask::new(
        Wire::Anthropic,
        false,
        &format!("call-{number}"),
        "tokens=100",
    );
    ask.call(house).await
}

/// Returns how often the provider was asked to count tokens.
fn counted(house: &House) -> usize {
    let truth = house.rehearsal.truth();
    let counts = truth
        .iter()
        .filter(|record| record.path.ends_with("/count_tokens"));
    counts.count()
}

#[track_caller]
fn was_refused(seen: &Seen) {
    let code = seen.code();
    assert_eq!((seen.status, code.as_str()), (402, "budget_exhausted"));
    assert_eq!(seen.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_stubborn_agent_is_refused_cheaply() {
    let house = house().await;
    for number in 0..MAX {
        was_refused(&call(&house, number).await);
    }
    let before = counted(&house);
    assert!(
        before >= MAX,
        "each was judged by its exact count: {before}"
    );
    assert!(house.gateway.only_refuses(), "the one agent is stubborn");
    for number in MAX..3 * MAX {
        was_refused(&call(&house, number).await);
    }
    assert_eq!(counted(&house), before, "it was judged anew");
    assert_eq!(house.counts().refused, 3 * MAX as u64, "all are counted");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn others_go_on_beside_a_stubborn_agent() {
    let house = house().await;
    let worker = Ask::new(Wire::OpenAi, false, "work", "tokens=5");
    let path = house.path(Wire::OpenAi, "worker");
    let work = raw::post(&path, &[], worker.body().as_bytes());
    for number in 0..2 * MAX {
        was_refused(&call(&house, number).await);
        let seen = raw::exchange(house.gateway.addr(), &work).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
    }
    assert!(!house.gateway.only_refuses(), "the worker still calls");
    let limiting = Limiting {
        budget: "run/tester".to_owned(),
        resource: Some(Resource::Tokens),
    };
    assert_eq!(house.gateway.limiting(), Some(limiting));
    assert_eq!(house.gateway.root_ran_out(), None);
    house.stop().await;
}

#[tokio::test]
async fn a_raised_limit_lets_a_stubborn_agent_in_again() {
    let house = house().await;
    for number in 0..2 * MAX {
        was_refused(&call(&house, number).await);
    }
    let tester = house.fisc.budget("run/tester").expect("a budget");
    let terms = limited(Resource::Tokens, 10_000);
    let raised = house.fisc.set_terms(tester.id(), terms).await;
    raised.expect("a limit is raised");
    assert_eq!(call(&house, 2 * MAX).await.status, 200);
    assert!(!house.gateway.only_refuses());
    assert_eq!(house.gateway.limiting(), None, "nothing stops it");
    house.stop().await;
}

#[tokio::test]
async fn refusals_of_single_calls_stop_nobody() {
    let plan = Plan {
        root: Terms {
            per_call: Limits::NONE.with(Resource::Tokens, Some(500)),
            ..limited(Resource::Tokens, 5_000)
        },
        ..Plan::default()
    };
    let house = House::start(plan).await;
    let small = Ask::new(Wire::OpenAi, false, "s", "tokens=5").capped(10);
    assert_eq!(small.call(&house).await.status, 200);
    let body = Ask::new(Wire::OpenAi, false, &"word ".repeat(200), "tokens=5").body();
    let request = raw::post(&small.path(&house), &[], body.as_bytes());
    let seen = raw::exchange(house.gateway.addr(), &request).await;
    assert_eq!(seen.code(), "request_exceeds_call_limit", "{}", seen.text());
    assert_eq!(
        (house.gateway.limiting(), house.counts().refused),
        (None, 1)
    );
    house.stop().await;
}
