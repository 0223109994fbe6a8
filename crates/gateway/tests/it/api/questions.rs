//! Calls for which nothing is left wait for the owner to decide: approved, denied, given more,
//! or not answered at all; streams are kept alive meanwhile.

use std::time::Duration;

use fisc::core::{Amount, Money, Resource, TimeUs, Tokens};
use fisc::{Answer as Decision, Event, Permille, Terms};
use fisc_gateway::{Measures, Policy};
use fisc_rehearsal::Wire;
use fisc_testkit::http::Answer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Someone;
use crate::agents::{check_final, simple};
use crate::harness::{House, Plan, limited};

/// What all may spend, in nano-dollars.
const LIMIT: i64 = 1_000_000_000;

/// A house whose owner is waited for, with nothing left.
async fn exhausted(ask: Duration, patience: Duration) -> House {
    let house = House::start(Plan {
        root: limited(Resource::Cost, LIMIT),
        policy: policy(ask, patience),
        ..Plan::default()
    })
    .await;
    let amount = Amount::new(Tokens(0), Money::from_nanos(LIMIT), TimeUs(0));
    house.spend(amount).await;
    house
}

fn policy(ask: Duration, patience: Duration) -> Policy {
    Policy {
        patience,
        usual: Measures {
            ask: Some(ask),
            ..Measures::default()
        },
        ..Policy::default()
    }
}

fn call(house: &House, wire: Wire, stream: bool) -> JoinHandle<Answer> {
    let (path, client) = (house.path(wire, "agent"), house.client.clone());
    let body = simple("[[rehearsal tokens=9]] Go on.", Some(9), stream);
    tokio::spawn(async move {
        let headers = [("anthropic-version", "2023-06-01")];
        let answer = client.post_json(&path, &headers, body).await;
        answer.expect("the gateway answers")
    })
}

/// Waits until one question is open for which so many calls wait.
async fn asked(owner: &Someone, waiting: u64) -> Value {
    let look = async {
        loop {
            let questions = owner.get("/v1/questions").await.ok().json();
            let all = questions["questions"].as_array().expect("a list").clone();
            assert!(all.len() <= 1, "one question a budget: {all:?}");
            if let [one] = all.as_slice()
                && one["waiting"] == waiting
            {
                return one.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(10), look).await;
    asked.expect("it is asked")
}

async fn decide(owner: &Someone, question: &Value, how: &str, body: Value) -> Answer {
    let id = question["id"].as_str().expect("an id");
    owner.post(&format!("/v1/questions/{id}/{how}"), body).await
}

fn answers(house: &House) -> Vec<Decision> {
    let (events, _) = house.fisc.events_since(0);
    let answer = |event: Event| match event {
        Event::Answered { answer, .. } => Some(answer),
        _ => None,
    };
    let answers = events.iter().filter_map(|noted| answer(noted.event));
    answers.collect()
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn calls_wait_for_their_owner_and_go_on_when_it_approves() {
    let house = exhausted(LONG, LONG).await;
    let owner = Someone::owner(&house);
    let calls = [
        call(&house, Wire::OpenAi, false),
        call(&house, Wire::Anthropic, true),
    ];
    let question = asked(&owner, 2).await;
    assert_eq!(
        (&question["budget"], &question["resource"]),
        (&json!("run"), &json!("cost"))
    );
    assert_eq!(question["offer"]["cost_usd"], "0.10", "a tenth: {question}");
    assert!(question["lacks"]["cost_nanousd"].as_i64() > Some(0));
    assert_eq!(house.truth().await.len(), 0, "nothing was sent yet");
    // A program sees that it is asked for, and cannot say yes to itself.
    let program = Someone::program(&house);
    assert_eq!(asked(&program, 2).await["id"], question["id"]);
    let own = decide(&program, &question, "approve", json!({})).await;
    assert_eq!(
        (own.status, &own.json()["type"]),
        (403, &json!("urn:fisc:problem:own_root"))
    );
    let unlimited = decide(&owner, &question, "approve", json!({"tokens": 5})).await;
    assert_eq!(unlimited.status, 422, "{}", unlimited.text());
    let nothing = decide(&owner, &question, "approve", json!({"cost": "0"})).await;
    assert_eq!(
        nothing.status, 400,
        "an amount of nothing is no offer taken"
    );
    let approved = decide(&owner, &question, "approve", json!({"cost": "0.25"}))
        .await
        .ok();
    assert_eq!(approved.json()["added"]["cost_usd"], "0.25");
    for call in calls {
        call.await.expect("no panic").ok();
    }
    let limit = house.root().status().terms.limits.get(Resource::Cost);
    assert_eq!(limit, Some(LIMIT + 250_000_000));
    assert_eq!(answers(&house), [Decision::Approved]);
    // It was decided: nothing is added twice.
    let again = decide(&owner, &question, "approve", json!({})).await;
    assert_eq!(again.json()["type"], "urn:fisc:problem:unknown_question");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn what_an_owner_denies_is_refused_for_good_until_there_is_more() {
    let house = exhausted(LONG, LONG).await;
    let owner = Someone::owner(&house);
    let calls = [
        call(&house, Wire::OpenAi, false),
        call(&house, Wire::OpenAi, true),
    ];
    let question = asked(&owner, 2).await;
    decide(&owner, &question, "deny", json!({})).await.ok();
    for call in calls {
        let answer = call.await.expect("no panic");
        check_final(&answer, "budget_exhausted");
        assert!(
            answer.text().contains("its owner was asked"),
            "{}",
            answer.text()
        );
    }
    // Nobody is asked again.
    check_final(
        &call(&house, Wire::OpenAi, false).await.expect("no panic"),
        "budget_exhausted",
    );
    assert_eq!(
        owner.get("/v1/questions").await.json()["questions"],
        json!([])
    );
    owner.post("/run/topup", json!({"cost": "0.1"})).await.ok();
    call(&house, Wire::OpenAi, false)
        .await
        .expect("no panic")
        .ok();
    assert_eq!(answers(&house), [Decision::Denied]);
    house.stop().await;
}

#[tokio::test]
async fn a_grant_answers_too_and_so_does_the_clock() {
    let house = exhausted(LONG, LONG).await;
    let owner = Someone::owner(&house);
    let granted = call(&house, Wire::OpenAi, false);
    asked(&owner, 1).await;
    owner.post("/run/topup", json!({"cost": "0.1"})).await.ok();
    granted.await.expect("no panic").ok();
    assert_eq!(answers(&house), [Decision::Room]);
    house.stop().await;

    let house = exhausted(Duration::from_millis(300), LONG).await;
    let answer = call(&house, Wire::OpenAi, false).await.expect("no panic");
    check_final(&answer, "budget_exhausted");
    assert_eq!(answers(&house), [Decision::TimedOut]);
    house.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_more() {
    let house = exhausted(LONG, Duration::from_millis(50)).await;
    let owner = Someone::owner(&house);
    let calls = [
        call(&house, Wire::OpenAi, false),
        call(&house, Wire::OpenAi, true),
        call(&house, Wire::OpenAi, true),
    ];
    asked(&owner, 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let [whole, begun, last] = calls;
    whole.abort();
    begun.abort();
    let question = asked(&owner, 1).await;
    decide(&owner, &question, "approve", json!({})).await.ok();
    last.await.expect("no panic").ok();
    assert_eq!(house.truth().await.len(), 1, "who left makes no call");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn a_stream_is_kept_alive_while_its_owner_is_asked() {
    for (wire, last) in [(Wire::OpenAi, "[DONE]"), (Wire::Anthropic, "message_stop")] {
        let house = exhausted(LONG, Duration::from_millis(30)).await;
        let owner = Someone::owner(&house);
        let call = call(&house, wire, true);
        let question = asked(&owner, 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        decide(&owner, &question, "approve", json!({})).await.ok();
        let answer = call.await.expect("no panic").ok();
        let text = answer.text();
        let beats = text.matches(": waiting for the owner").count();
        assert_eq!(beats, 1, "the next is due in 15 s: {text}");
        let end = text.trim_end().rsplit("\n\n").next().expect("an event");
        assert!(end.contains(last), "{text}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        house.check_books().await;
        house.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_was_begun_is_told_inside_of_it_that_it_was_denied() {
    for wire in [Wire::OpenAi, Wire::Anthropic] {
        let house = exhausted(LONG, Duration::from_millis(30)).await;
        let owner = Someone::owner(&house);
        let call = call(&house, wire, true);
        let question = asked(&owner, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        decide(&owner, &question, "deny", json!({})).await.ok();
        let answer = call.await.expect("no panic").ok();
        let text = answer.text();
        let last = text.rsplit("\n\n").nth(1).expect("an event");
        let data = match wire {
            Wire::OpenAi => last,
            Wire::Anthropic => last.strip_prefix("event: error\n").expect("an error"),
        };
        let data = data.strip_prefix("data: ").expect("data");
        let error: Value = serde_json::from_str(data).expect("JSON");
        let code = match wire {
            Wire::OpenAi => &error["error"]["code"],
            Wire::Anthropic => &error["error"]["details"]["error_code"],
        };
        assert_eq!(code, "budget_exhausted", "{error}");
        assert_eq!(house.truth().await.len(), 0);
        house.check_books().await;
        house.stop().await;
    }
}

#[tokio::test]
async fn what_two_owners_approve_at_once_is_added_once() {
    for _ in 0..20 {
        let house = exhausted(LONG, LONG).await;
        let owner = Someone::owner(&house);
        let call = call(&house, Wire::OpenAi, false);
        let question = asked(&owner, 1).await;
        let approve = || decide(&owner, &question, "approve", json!({"cost": "0.5"}));
        let (one, other) = tokio::join!(approve(), approve());
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
        call.await.expect("no panic").ok();
        let limit = house.root().status().terms.limits.get(Resource::Cost);
        assert_eq!(limit, Some(LIMIT + 500_000_000));
        house.stop().await;
    }
}

#[tokio::test]
async fn what_is_offered_is_enough_for_all_who_wait() {
    let house = House::start(Plan {
        root: Terms {
            reserve: Permille(200),
            ..limited(Resource::Tokens, 400)
        },
        policy: policy(LONG, LONG),
        ..Plan::default()
    })
    .await;
    let owner = Someone::owner(&house);
    let spent = Amount::new(Tokens(300), Money::ZERO, TimeUs(0));
    house.spend(spent).await;
    let calls: Vec<_> = (0..8).map(|_| call(&house, Wire::OpenAi, false)).collect();
    let question = asked(&owner, 8).await;
    decide(&owner, &question, "approve", json!({})).await.ok();
    for call in calls {
        call.await.expect("no panic").ok();
    }
    assert_eq!(answers(&house), [Decision::Approved], "once was enough");
    house.stop().await;
}

#[tokio::test]
async fn a_gateway_that_ends_waits_for_no_answer() {
    let house = exhausted(LONG, Duration::from_millis(30)).await;
    let owner = Someone::owner(&house);
    let calls = [
        call(&house, Wire::OpenAi, false),
        call(&house, Wire::OpenAi, true),
    ];
    asked(&owner, 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let fisc = house.fisc.clone();
    let began = fisc.ticks();
    house.stop().await;
    assert!(fisc.ticks().0 - began.0 < 3_000_000, "nobody could answer");
    let [whole, begun] = calls.map(|call| call);
    let whole = whole.await.expect("no panic");
    assert_eq!(whole.status, 503, "{}", whole.text());
    assert_eq!(whole.header("fisc-reason"), Some("shutting_down"));
    let begun = begun.await.expect("no panic").ok().text();
    assert!(begun.contains("shutting_down"), "{begun}");
}

#[tokio::test]
async fn a_stubborn_agent_ends_no_run_whose_owner_is_asked() {
    let house = House::start(Plan {
        root: limited(Resource::Cost, LIMIT),
        policy: Policy {
            max_refusals: Some(3),
            unknown_price: fisc_gateway::UnknownPrice::Deny,
            ..policy(LONG, LONG)
        },
        ..Plan::default()
    })
    .await;
    let owner = Someone::owner(&house);
    let spent = Amount::new(Tokens(0), Money::from_nanos(LIMIT), TimeUs(0));
    house.spend(spent).await;
    let path = house.path(Wire::OpenAi, "stubborn");
    let unpriced = r#"{"model": "nobody-knows", "messages": []}"#;
    let refused = async || {
        let answer = house
            .client
            .post_json(&path, &[], unpriced.to_owned())
            .await;
        assert_eq!(answer.expect("the gateway answers").status, 402);
    };
    for _ in 0..4 {
        refused().await;
    }
    assert!(house.gateway.only_refuses(), "nobody else calls");
    let waits = call(&house, Wire::OpenAi, false);
    let question = asked(&owner, 1).await;
    assert!(!house.gateway.only_refuses(), "somebody is asked");
    decide(&owner, &question, "deny", json!({})).await.ok();
    check_final(&waits.await.expect("no panic"), "budget_exhausted");
    house.stop().await;
}
