//! Service tiers: who names none may be served at any, as the provider's account has it, and is
//! held at the dearest unless the owner says which it is.

use std::time::Duration;

use fisc::Durability;
use fisc::core::Money;
use fisc_gateway::{Credential, Provider, Upstream};
use fisc_llm::PriceBook;
use fisc_rehearsal::Wire;
use serde_json::json;

use crate::harness::{Books, House, Plan};
use crate::raw::{self, Ask, Beside, Ended, Fake};

/// The cap of every call, all of which is used.
const CAP: u64 = 200;
/// Nano-dollars for a token of input and of output of `gpt-4o-mini`.
const STANDARD: (u64, u64) = (150, 600);
const PRIORITY: (u64, u64) = (250, 1_000);

#[tokio::test]
async fn a_call_that_names_no_tier_is_held_at_the_dearest() {
    for tier in [None, Some("auto")] {
        let end = call(tier, None, Some("priority")).await;
        assert_eq!(end.charged.cost(), cost(PRIORITY, &end));
        assert!(end.charged.fits(&end.held), "{end:?}");
        let served = call(tier, None, Some("default")).await;
        assert_eq!(served.held, end.held, "nobody knows before");
        assert_eq!(served.charged.cost(), cost(STANDARD, &served));
    }
}

#[tokio::test]
async fn the_owner_may_say_which_tier_calls_are_served_at() {
    let dearest = call(None, None, Some("default")).await;
    let named = call(Some("default"), None, Some("default")).await;
    assert!(named.held.cost() < dearest.held.cost());
    for tier in [None, Some("auto")] {
        let standard = call(tier, Some("default"), Some("default")).await;
        assert_eq!(standard.held.tokens(), dearest.held.tokens());
        let (held, all) = (standard.held.cost().nanos(), dearest.held.cost().nanos());
        assert!(
            (1.6..1.7).contains(&(all as f64 / held as f64)),
            "{held} {all}"
        );
        let priority = call(tier, Some("priority"), Some("priority")).await;
        assert_eq!(priority.held.cost(), dearest.held.cost());
    }
    // What a request names itself goes before that.
    let asked = call(Some("priority"), Some("default"), Some("priority")).await;
    assert!(asked.charged.fits(&asked.held), "{asked:?}");
}

#[tokio::test]
async fn what_is_estimated_of_an_unknown_tier_is_charged_at_the_dearest() {
    let unseen = call(None, None, None).await;
    let facts = unseen.facts.as_ref().expect("it was sent");
    assert!(facts.estimated, "{facts:?}");
    assert_eq!(unseen.charged.cost(), cost(PRIORITY, &unseen));
    let known = call(None, Some("default"), None).await;
    assert_eq!(known.charged.cost(), cost(STANDARD, &known));
}

#[tokio::test]
async fn more_output_is_held_at_the_dearest_tier_too() {
    let house = House::start(Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    // Of the same length, and so held alike but for what the second one puts out beyond its cap.
    for (name, directions) in [("within", "tokens=1"), ("beyond", "over_max")] {
        let ask = Ask::new(Wire::OpenAi, true, name, directions).capped(1);
        let seen = ask.call(&house).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
    }
    let mut ended = raw::ended(&house).await;
    let mut held = |name| ended.remove(name).expect("it was made")[0].held;
    let (within, beyond) = (held("within"), held("beyond"));
    let tokens = beyond.tokens().0 - within.tokens().0;
    assert!(tokens >= 256, "it was extended: {tokens}");
    let cost = beyond.cost().nanos() - within.cost().nanos();
    assert_eq!(cost, tokens * PRIORITY.1 as i64);
    house.stop().await;
}

/// Makes a call that names a tier, or none, of an upstream whose owner says which it has, or
/// not, and that says at which it served it, or answers what nobody can read.
async fn call(tier: Option<&str>, stated: Option<&str>, served: Option<&str>) -> Ended {
    let house = House::start(Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    let answer = json!({
        "id": "x", "object": "chat.completion", "model": "gpt-4o-mini", "service_tier": served,
        "choices": [{
            "index": 0, "finish_reason": "length",
            "message": { "role": "assistant", "content": "Hi" },
        }],
        "usage": { "prompt_tokens": 90, "completion_tokens": CAP, "total_tokens": 90 + CAP },
    });
    let mut headers = vec![("content-type", "application/json")];
    if served.is_none() {
        headers.push(("content-encoding", "gzip"));
    }
    let fake = Fake::start(raw::reply(
        "200 OK",
        &headers,
        answer.to_string().as_bytes(),
    ))
    .await;
    let upstream = Upstream::new(Provider::OpenAi, &fake.url(), &Credential::Nothing);
    let upstream = upstream.expect("a plain URL");
    let mut beside = Beside::new(&house, &fake.url(), &Credential::Nothing);
    beside.prices = PriceBook::builtin();
    beside.upstreams = vec![match stated {
        Some(tier) => upstream.with_default_tier(tier),
        None => upstream,
    }];
    let gateway = beside.start(&house).await;
    let ask = Ask::new(Wire::OpenAi, false, "tiered", "").capped(CAP);
    let mut body: serde_json::Value = serde_json::from_str(&ask.body()).expect("JSON");
    // A member of the same length whatever is asked: the hold goes by bytes.
    let (name, value) = tier.map_or(("user", "somebody"), |tier| ("service_tier", tier));
    body[name] = json!(value);
    let text = body.to_string();
    let text = format!("{text}{}", " ".repeat(400 - text.len()));
    let request = raw::post(&ask.path(&house), &[], text.as_bytes());
    let seen = raw::exchange(gateway.addr(), &request).await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    let ended = raw::ended(&house).await.remove("tiered");
    let [end] = <[Ended; 1]>::try_from(ended.unwrap_or_default()).expect("one hold");
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
    end
}

/// Returns what the usage of a call costs at these rates.
fn cost((input, output): (u64, u64), end: &Ended) -> Money {
    let usage = &end.facts.as_ref().expect("it was sent").usage;
    Money::from_nanos((input * usage.input() + output * usage.output()) as i64)
}
