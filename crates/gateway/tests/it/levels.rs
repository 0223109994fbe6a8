//! What is done about calls as their budget is used up, where no SDK is needed to see it: a change
//! that the provider refuses, calls that can be done without, budgets that only watch, and rates.

use std::time::Duration;

use fisc::core::{Amount, Money, Resource, TimeUs, Tokens};
use fisc::{Durability, Level, Limits, Permille, Terms};
use fisc_gateway::{Fallbacks, Measures, Policy};
use fisc_rehearsal::Wire;
use fisc_testkit::http::Answer;
use serde_json::json;

use crate::agents::{check_final, simple};
use crate::harness::{Books, House, Plan, limited};

/// What all may spend, in nano-dollars: a call is little beside it.
const LIMIT: i64 = 1_000_000_000;

fn cost(nanos: i64) -> Amount {
    Amount::new(Tokens(0), Money::from_nanos(nanos), TimeUs(0))
}

/// Lets others spend so many thousandths of the limit.
async fn spend(house: &House, permille: i64) {
    house.spend(cost(LIMIT / 1_000 * permille)).await;
}

async fn call(house: &House, headers: &[(&str, &str)], body: String) -> Answer {
    let path = house.path(Wire::OpenAi, "agent");
    let answer = house.client.post_json(&path, headers, body).await;
    answer.expect("the gateway answers")
}

#[tokio::test]
async fn what_a_provider_refuses_for_a_change_is_sent_again_as_it_came() {
    let pair = ("gpt-4o".to_owned(), "o4-mini".to_owned());
    let house = House::start(Plan {
        root: limited(Resource::Cost, LIMIT),
        policy: Policy {
            usual: Measures {
                fallbacks: Fallbacks(vec![pair]),
                ..Measures::default()
            },
            ..Policy::default()
        },
        ..Plan::default()
    })
    .await;
    spend(&house, 920).await;
    assert_eq!(house.root().level(), Level::Red);
    // The cheaper model refuses `max_tokens`, and would not without the change.
    let body = json!({ "model": "gpt-4o", "max_tokens": 20,
        "messages": [{ "role": "user", "content": "[[rehearsal tokens=9]] Go on." }] });
    let answer = call(&house, &[], body.to_string()).await.ok();
    assert_eq!(answer.header("fisc-changed"), None, "nothing, in the end");
    let truth = house.truth().await;
    let models: Vec<(&str, u16)> = truth
        .iter()
        .map(|record| (record.model.as_str(), record.status))
        .collect();
    // The provider notes no model of what it refuses.
    assert_eq!(models, [("", 400), ("gpt-4o", 200)]);
    // The first attempt had a hold of its own, and cost nothing.
    let spent = house.root().status().spent.cost().nanos();
    let made = house.sum(&truth[1..]).cost().nanos();
    assert_eq!(spent, LIMIT / 1_000 * 920 + made);
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn what_can_be_done_without_is_declined_from_orange_on() {
    let house = House::start(Plan {
        root: limited(Resource::Cost, LIMIT),
        ..Plan::default()
    })
    .await;
    let optional = [("fisc-optional", "true")];
    let body = simple("[[rehearsal tokens=9]] Is it?", Some(9), false);
    call(&house, &optional, body.clone()).await.ok();
    spend(&house, 800).await;
    assert_eq!(house.root().level(), Level::Orange);
    let declined = call(&house, &optional, body.clone()).await;
    check_final(&declined, "optional_declined");
    call(&house, &[], body.clone()).await.ok();
    call(&house, &[("fisc-optional", "0")], body.clone())
        .await
        .ok();
    let unclear = call(&house, &[("fisc-optional", "maybe")], body).await;
    assert_eq!(unclear.status, 400, "{}", unclear.text());
    house.stop().await;
}

#[tokio::test]
async fn a_budget_that_only_watches_refuses_nothing_and_tells_all() {
    let house = House::start(Plan {
        root: Terms {
            observed: true,
            elapsed: Some(TimeUs(1)),
            reserve: Permille(50),
            per_call: Limits::NONE.with(Resource::Tokens, Some(1)),
            ..limited(Resource::Tokens, 30)
        },
        ..Plan::default()
    })
    .await;
    let body = simple("[[rehearsal tokens=9]] Is it?", Some(9), false);
    for _ in 0..5 {
        let answer = call(&house, &[], body.clone()).await.ok();
        assert_eq!(answer.header("fisc-changed"), None);
    }
    let status = house.root().status();
    assert!(status.spent.tokens().0 > 60, "twice over: {status:?}");
    assert_eq!(status.levels[Resource::Tokens.index()], Level::Black);
    let last = call(&house, &[], body).await.ok();
    assert_eq!(last.header("fisc-level"), Some("black"));
    house.fisc.check().expect("the tree is sound");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn a_rate_slows_calls_whatever_is_left() {
    let house = House::start(Plan {
        root: Terms {
            rate: Limits::NONE.with(Resource::Tokens, Some(60)),
            ..Terms::default()
        },
        policy: Policy {
            patience: Duration::from_millis(50),
            ..Policy::default()
        },
        ..Plan::default()
    })
    .await;
    let body = simple("[[rehearsal tokens=40]] Is it?", Some(40), false);
    call(&house, &[], body.clone()).await.ok();
    let slowed = call(&house, &[], body.clone()).await;
    assert_eq!(slowed.status, 429, "{}", slowed.text());
    assert_eq!(slowed.header("fisc-reason"), Some("budget_throttled"));
    let wait: u64 = slowed
        .header("retry-after")
        .and_then(|seconds| seconds.parse().ok())
        .expect("a time to wait");
    assert_eq!(
        wait, 30,
        "it is due in about a minute, and no more is named"
    );
    // Who wraps up is not slowed.
    call(&house, &[("fisc-finalize", "true")], body).await.ok();
    house.stop().await;
}

#[tokio::test]
async fn what_calls_need_is_known_over_a_restart() {
    let house = House::start(Plan {
        root: limited(Resource::Cost, LIMIT),
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    let body = simple("[[rehearsal tokens=120]] Is it?", None, false);
    for _ in 0..60 {
        call(&house, &[], body.clone()).await.ok();
    }
    spend(&house, 800).await;
    assert_eq!(house.root().level(), Level::Orange);
    let before = call(&house, &[], body.clone()).await.ok();
    assert_eq!(before.header("fisc-changed"), Some("cap=120"));
    let house = house.restart().await;
    let after = call(&house, &[], body).await.ok();
    assert_eq!(after.header("fisc-changed"), Some("cap=120"));
    house.check_books().await;
    house.stop().await;
}
