//! The promises about tokens that holds are computed from.

use serde_json::{Value, json};

use crate::client::Stage;

async fn input(stage: &Stage, messages: &[Value]) -> u64 {
    let body = json!({ "model": "gpt-4o", "messages": messages, "max_tokens": 1 });
    stage.post("/v1/chat/completions", &body).await;
    stage.last().await.canonical.input_total()
}

#[tokio::test]
async fn a_prefix_adds_up_and_a_message_adds_at_most_its_bytes_and_eight() {
    let stage = Stage::new();
    let texts = [
        "",
        "x",
        "é\n\"🙂\"",
        "a budget",
        &"long ".repeat(700),
        &"Größe ".repeat(90),
    ];
    let mut messages: Vec<Value> = Vec::new();
    let mut before = 3;
    for (index, text) in texts.iter().cycle().take(18).enumerate() {
        let role = if index % 2 == 0 { "user" } else { "assistant" };
        let added = json!({ "role": role, "content": text });
        let alone = input(&stage, std::slice::from_ref(&added)).await - 3;
        messages.push(added);
        let now = input(&stage, &messages).await;
        assert_eq!(now - before, alone, "the same wherever it stands");
        assert!(now - before <= text.len() as u64 + 8);
        assert!(now - before >= 4 + u64::from(!text.is_empty()));
        before = now;
    }
}

#[tokio::test]
async fn ratios_of_tokens_to_bytes_are_no_constant() {
    let stage = Stage::new();
    let mut ratios = Vec::new();
    for number in 0..40 {
        let text = format!("{number} ").repeat(200);
        let message = json!({ "role": "user", "content": text });
        let tokens = input(&stage, &[message]).await - 7;
        ratios.push(tokens as f64 / text.len() as f64);
    }
    assert!(
        ratios.iter().all(|ratio| (0.149..=0.601).contains(ratio)),
        "{ratios:?}"
    );
    let (min, max) = ratios
        .iter()
        .fold((1.0_f64, 0.0_f64), |(a, b), r| (a.min(*r), b.max(*r)));
    assert!(min < 0.22 && max > 0.53, "{min} {max}");
}
