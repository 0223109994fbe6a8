//! Elapsed time, and the limits of a single call.

use std::time::Duration;

use fisc::core::{Resource, TimeUs};
use fisc::{Durability, Limits, Outcome, Terms};
use fisc_rehearsal::Wire;
use fisc_testkit::http::Answer;

use crate::agents::{check_ending, check_final, simple};
use crate::harness::{Books, House, Plan, limited};
use crate::over_max;
use crate::raw::{self, Ask};

/// How long the budgets of these tests live.
const LIFETIME: Duration = Duration::from_millis(1_200);
/// By how much a call may outlive its budget: the time it takes to end and to settle it.
const LATE_MAX: Duration = Duration::from_millis(600);
/// A stream that goes on for 20 s, 8 tokens or so at a time.
const LONG_STREAM: &str = "[[rehearsal tokens=1000 gap_ms=100]] Tell me everything.";
/// An answer that takes 20 s.
const LONG_ANSWER: &str = "[[rehearsal tokens=20 delay_ms=20000]] Think about it.";
/// An answer that takes no time.
const SHORT_ANSWER: &str = "[[rehearsal tokens=20]] Quick.";

fn living(lifetime: Duration) -> Terms {
    Terms {
        elapsed: Some(TimeUs(lifetime.as_micros() as i64)),
        ..Terms::default()
    }
}

fn per_call(resource: Resource, units: i64) -> Terms {
    Terms {
        per_call: Limits::NONE.with(resource, Some(units)),
        ..Terms::default()
    }
}

async fn house(root: Terms) -> House {
    House::start(Plan {
        root,
        ..Plan::default()
    })
    .await
}

/// Calls, and returns the answer and how long it took.
async fn call(house: &House, agent: &str, body: String) -> (Answer, Duration) {
    let path = house.path(Wire::OpenAi, agent);
    let begun = house.fisc.ticks();
    let answer = house.client.post_json(&path, &[], body).await;
    let answer = answer.expect("the gateway answers");
    let took = house.fisc.ticks().0 - begun.0;
    (answer, Duration::from_micros(took.unsigned_abs()))
}

fn finish_reason(answer: &Answer) -> Option<&'static str> {
    ["length", "stop"].into_iter().find(|reason| {
        answer
            .text()
            .contains(&format!(r#""finish_reason":"{reason}""#))
    })
}

// === elapsed time ===

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_in_order_and_admits_nothing_after_it() {
    let house = house(living(LIFETIME)).await;
    let (answer, took) = call(&house, "a", simple(LONG_STREAM, None, true)).await;
    let answer = answer.ok();
    assert!(took <= LIFETIME + LATE_MAX, "{took:?}");
    check_ending(Wire::OpenAi, &answer);
    assert_eq!(finish_reason(&answer), Some("length"));
    for agent in ["a", "born-too-late", ""] {
        let (answer, _) = call(&house, agent, simple(SHORT_ANSWER, None, false)).await;
        check_final(&answer, "budget_time_over");
    }
    let truth = house.truth().await;
    assert_eq!(truth.len(), 1, "nothing was sent after the deadline");
    house.check_books().await;
    // The cut stream is charged an estimate that is not below what was relayed.
    let charged = house.root().status().spent.tokens().0;
    assert!(
        charged > 0 && charged as u64 >= truth[0].written_output_tokens,
        "{charged}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_streams_of_both_wires_as_their_caps_would() {
    let house = House::start(Plan {
        root: living(LIFETIME),
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    let ask = |wire, name| Ask::new(wire, true, name, "tokens=1000 gap_ms=40").capped(2_000);
    let asks = [ask(Wire::OpenAi, "late-o"), ask(Wire::Anthropic, "late-a")];
    let begun = house.fisc.ticks();
    let (openai, anthropic) = tokio::join!(asks[0].call(&house), asks[1].call(&house));
    let took = house.fisc.ticks().0 - begun.0;
    let most = (LIFETIME + LATE_MAX).as_micros() as i64;
    assert!(took <= most, "{took}");
    let ended = raw::ended(&house).await;
    let truth = house.truth().await;
    for (ask, seen) in asks.iter().zip([openai, anthropic]) {
        over_max::check_ending(ask.wire, &seen);
        let text = ask.text(&seen.body);
        let [end] = &ended[&ask.name][..] else {
            panic!("one hold was taken");
        };
        let facts = end.facts.as_ref().expect("it was charged");
        assert!(facts.estimated && facts.outcome == Outcome::TimedOut);
        let written = truth.iter().find(|record| record.wire == ask.wire);
        let written = written.expect("it was made").written_output_tokens;
        assert!(!text.is_empty() && written < 1_000, "{written} {text}");
        // All but what was on its way when the time was up was seen.
        assert!(facts.usage.output() + 14 >= written, "{facts:?} {written}");
        assert!(end.charged.fits(&end.held), "{end:?}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_that_does_not_stream_with_a_final_refusal() {
    let house = house(living(LIFETIME)).await;
    let (answer, took) = call(&house, "a", simple(LONG_ANSWER, None, false)).await;
    check_final(&answer, "budget_time_over");
    assert!(
        (LIFETIME / 2..LIFETIME + LATE_MAX).contains(&took),
        "{took:?}"
    );
    house.check_books().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_room_learns_of_the_deadline_when_it_comes() {
    let root = Terms {
        elapsed: living(LIFETIME).elapsed,
        ..limited(Resource::Tokens, 1_200)
    };
    let house = house(root).await;
    let hog = call(&house, "hog", simple(LONG_ANSWER, Some(1_000), false));
    let waiter = async {
        while house.fisc.open_holds() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        call(&house, "waiter", simple(SHORT_ANSWER, Some(1_000), false)).await
    };
    let ((hog, _), (waiter, waited)) = tokio::join!(hog, waiter);
    check_final(&hog, "budget_time_over");
    check_final(&waiter, "budget_time_over");
    assert!(waited <= LIFETIME + LATE_MAX, "{waited:?}");
    assert_eq!(house.truth().await.len(), 1);
    house.check_books().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_childs_deadline_is_its_own_and_never_later_than_its_parents() {
    let house = house(living(LIFETIME)).await;
    let shorter = living(LIFETIME / 4);
    let longer = living(LIFETIME * 10);
    house
        .fisc
        .allocate("run/short", shorter)
        .await
        .expect("a child");
    house
        .fisc
        .allocate("run/long", longer)
        .await
        .expect("a child");
    let stream = || simple(LONG_STREAM, None, true);
    let short = call(&house, "short", stream());
    let long = call(&house, "long", stream());
    let ((short, took_short), (long, took_long)) = tokio::join!(short, long);
    check_ending(Wire::OpenAi, &short.ok());
    check_ending(Wire::OpenAi, &long.ok());
    assert!(took_short <= LIFETIME / 4 + LATE_MAX, "{took_short:?}");
    assert!(took_long <= LIFETIME + LATE_MAX, "{took_long:?}");
    assert!(took_short < took_long, "{took_short:?} {took_long:?}");
    house.check_books().await;
    house.stop().await;
}

// === limits of a single call ===

#[tokio::test(flavor = "multi_thread")]
async fn no_call_uses_more_tokens_or_money_than_a_single_one_may() {
    for (resource, units) in [(Resource::Tokens, 400), (Resource::Cost, 150_000)] {
        let house = house(per_call(resource, units)).await;
        for number in 0..20 {
            let message = format!("[[rehearsal tokens=1000]] Item {number}: all of it, please.");
            for max_tokens in [None, Some(5_000), Some(10)] {
                let body = simple(&message, max_tokens, number % 2 == 0);
                let (answer, _) = call(&house, "a", body).await;
                assert_eq!(finish_reason(&answer.ok()), Some("length"));
            }
        }
        let truth = house.truth().await;
        let used = truth
            .iter()
            .map(|record| house.cost_of(record).get(resource));
        let (most, calls) = (used.clone().max(), used.count());
        assert_eq!(calls, 60);
        let most = most.expect("there are calls");
        assert!(most <= units, "{resource}: {most} of {units}");
        assert!(most >= units / 2, "{resource}: only {most} of {units}");
        let huge = simple(&"word ".repeat(2_000), None, false);
        let (answer, _) = call(&house, "a", huge).await;
        check_final(&answer, "request_exceeds_call_limit");
        assert_eq!(house.truth().await.len(), 60, "it was not sent");
        house.check_books().await;
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_runs_longer_than_a_single_one_may() {
    const MOST: Duration = Duration::from_millis(500);
    let house = house(per_call(Resource::Time, MOST.as_micros() as i64)).await;
    let (answer, took) = call(&house, "a", simple(LONG_STREAM, None, true)).await;
    check_ending(Wire::OpenAi, &answer.ok());
    assert!(took <= MOST + LATE_MAX, "{took:?}");
    let (answer, took) = call(&house, "a", simple(LONG_ANSWER, None, false)).await;
    check_final(&answer, "request_exceeds_call_limit");
    assert!(took <= MOST + LATE_MAX, "{took:?}");
    let (answer, _) = call(&house, "a", simple(SHORT_ANSWER, None, false)).await;
    answer.ok();
    house.check_books().await;
    house.stop().await;
}

// === active time ===

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_longer_than_such_calls_do_is_granted_more_time() {
    const LIMIT: Duration = Duration::from_mins(1);
    let house = house(limited(Resource::Time, LIMIT.as_micros() as i64)).await;
    for _ in 0..fisc_llm::SAMPLES_MIN {
        let (answer, _) = call(&house, "a", simple(SHORT_ANSWER, None, false)).await;
        answer.ok();
    }
    let spent = || house.root().status().spent.time();
    let before = spent();
    let slow = "[[rehearsal tokens=20 delay_ms=1500]] Take your time.";
    let (answer, took) = call(&house, "a", simple(slow, None, false)).await;
    answer.ok();
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
    let slow = "[[rehearsal tokens=60 gap_ms=100]] Take your time.";
    let (answer, _) = call(&house, "a", simple(slow, None, true)).await;
    let answer = answer.ok();
    check_ending(Wire::OpenAi, &answer);
    assert_eq!(finish_reason(&answer), Some("stop"));
    assert!(spent().0 - before.0 >= 2_000_000, "both are counted");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlasts_the_active_time_that_is_left_is_cut_for_good() {
    let house = house(limited(Resource::Time, 700_000)).await;
    let (answer, took) = call(&house, "a", simple(LONG_ANSWER, None, false)).await;
    check_final(&answer, "request_exceeds_budget");
    assert!(
        answer.text().contains("the call was cut"),
        "{}",
        answer.text()
    );
    assert!(took <= Duration::from_millis(700) + LATE_MAX, "{took:?}");
    let status = house.root().status();
    assert!(status.spent.time().0 <= 700_000, "{:?}", status.spent);
    let (answer, _) = call(&house, "a", simple(SHORT_ANSWER, None, false)).await;
    check_final(&answer, "budget_exhausted");
    assert_eq!(house.truth().await.len(), 1);
    house.check_books().await;
    house.stop().await;
}
