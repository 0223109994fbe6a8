//! An exact count, where the provider gives one, decides before a call is refused.

use fisc::Resource;
use fisc_rehearsal::Wire;
use serde_json::json;

use crate::harness::{House, Plan, limited};

const ANSWER: u64 = 40;

#[tokio::test]
async fn a_call_that_fits_by_its_exact_count_is_not_refused_for_its_bytes() {
    let text =
        "All happy families are alike; each unhappy family is so in its own way. ".repeat(60);
    let messages = json!([{"role": "user", "content": text}]);
    let tokens = count(&messages).await;
    assert!(
        tokens < text.len() as u64 * 7 / 10,
        "the bytes alone are a loose bound"
    );
    // Room for the exact count, the answer and the template's margin; not for one token a byte.
    let room = i64::try_from(tokens + ANSWER + 64).expect("few tokens");
    let plan = || Plan {
        root: limited(Resource::Tokens, room),
        ..Plan::default()
    };
    let body = |model: &str| {
        json!({"model": model, "max_tokens": ANSWER, "messages": messages}).to_string()
    };

    let house = House::start(plan()).await;
    let headers = [("anthropic-version", "2023-06-01")];
    let path = house.path(Wire::Anthropic, "");
    let answer = house
        .client
        .post_json(&path, &headers, body("claude-haiku-4-5"))
        .await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    house.check_books().await;
    let spent = house.root().status().spent.tokens().0;
    assert!(spent <= room, "{spent} of {room}");
    house.stop().await;

    // Nobody counts for this wire: its bytes decide.
    let house = House::start(plan()).await;
    let path = house.path(Wire::OpenAi, "");
    let answer = house
        .client
        .post_json(&path, &[], body("gpt-4o-mini"))
        .await;
    assert_eq!(answer.expect("an answer").status, 402);
    house.stop().await;
}

/// Asks the provider itself, through a gateway without limits.
async fn count(messages: &serde_json::Value) -> u64 {
    let house = House::start(Plan::default()).await;
    let path = format!("{}/count_tokens", house.path(Wire::Anthropic, ""));
    let body = json!({"model": "claude-haiku-4-5", "messages": messages}).to_string();
    let headers = [("anthropic-version", "2023-06-01")];
    let answer = house
        .client
        .post_json(&path, &headers, body)
        .await
        .expect("an answer");
    let tokens = answer.json()["input_tokens"].as_u64().expect("a count");
    house.stop().await;
    tokens
}
