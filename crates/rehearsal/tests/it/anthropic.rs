//! Messages: shapes, usage, ends, tools, thinking, caches.

use fisc_rehearsal::Wire;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Stage, message};

/// Puts a stream together as an SDK does.
fn assembled(answer: &Answer) -> Value {
    let mut whole = Value::Null;
    for event in answer.data() {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().expect("a type") {
            "message_start" => whole = event["message"].clone(),
            "content_block_start" => {
                let content = whole["content"].as_array_mut().expect("an array");
                assert_eq!(content.len(), index);
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                let (field, piece) = match delta["type"].as_str().expect("a type") {
                    "text_delta" => ("text", &delta["text"]),
                    "thinking_delta" => ("thinking", &delta["thinking"]),
                    "signature_delta" => ("signature", &delta["signature"]),
                    "input_json_delta" => ("json", &delta["partial_json"]),
                    other => panic!("unknown delta {other}"),
                };
                let block = &mut whole["content"][index];
                let so_far = block[field].as_str().unwrap_or_default().to_owned();
                block[field] = json!(so_far + piece.as_str().expect("text"));
            }
            "content_block_stop" => {
                let block = &mut whole["content"][index];
                if let Some(json) = block.as_object_mut().expect("a block").remove("json") {
                    let input = serde_json::from_str(json.as_str().expect("text"));
                    block["input"] = input.expect("whole JSON");
                }
            }
            "message_delta" => {
                whole["stop_reason"] = event["delta"]["stop_reason"].clone();
                whole["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                for (name, value) in event["usage"].as_object().expect("usage") {
                    whole["usage"][name] = value.clone();
                }
            }
            "ping" | "message_stop" => {}
            other => panic!("unknown event {other}"),
        }
    }
    whole
}

fn without_ids(mut message: Value) -> Value {
    message["id"] = Value::Null;
    for block in message["content"].as_array_mut().expect("an array") {
        for name in ["id", "signature"] {
            if let Some(id) = block.get_mut(name) {
                *id = json!("");
            }
        }
    }
    message
}

fn search() -> Value {
    json!([{ "name": "search", "input_schema": {
        "type": "object", "properties": { "query": { "type": "string" } },
    } }])
}

#[tokio::test]
async fn an_answer_has_the_real_shape_and_the_true_usage() {
    let stage = Stage::new();
    let more = json!({ "metadata": { "user_id": "bob" } });
    let answer = stage.message("What is a budget?", more).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    assert!(answer.header("request-id").starts_with("req_01"));
    let body = answer.json();
    assert!(
        body["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("msg_01"))
    );
    assert_eq!(
        (&body["type"], &body["role"]),
        (&json!("message"), &json!("assistant"))
    );
    assert_eq!(body["model"], "claude-sonnet-4-5-20250929");
    assert_eq!(body["content"][0]["type"], "text");
    assert_eq!(
        (&body["stop_reason"], &body["stop_sequence"]),
        (&json!("end_turn"), &Value::Null)
    );
    let record = stage.last().await;
    assert_eq!(
        (record.wire, &record.usage),
        (Wire::Anthropic, &body["usage"])
    );
    assert_eq!(record.label.as_deref(), Some("bob"));
    assert_eq!(body["usage"]["input_tokens"], record.canonical.input);
    assert_eq!(
        body["usage"]["output_tokens"],
        record.canonical.output_total()
    );
    assert_eq!(
        record.written_output_tokens,
        record.canonical.output_total()
    );
    assert!(record.complete);
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let stage = Stage::new();
    for number in 0..30 {
        let prompt = format!("Question {number}");
        let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 1_024 } });
        let tools = json!({ "tools": search() });
        let more = [json!({}), thinking, tools][number % 3].clone();
        let whole = stage.message(&prompt, more.clone()).await.json();
        let mut more = more;
        more["stream"] = json!(true);
        let stream = stage.message(&prompt, more).await;
        assert_eq!(without_ids(assembled(&stream)), without_ids(whole.clone()));
        let events = stream.events();
        for (event, data) in events.iter().zip(stream.data()) {
            assert_eq!(
                event.name.as_deref(),
                data["type"].as_str(),
                "named as typed"
            );
        }
        let names: Vec<_> = events.iter().map(|event| event.name.clone()).collect();
        assert_eq!(names[0].as_deref(), Some("message_start"));
        assert_eq!(names.last(), Some(&Some("message_stop".to_owned())));
        assert!(names.contains(&Some("ping".to_owned())));
        let first = stream.data()[0]["message"]["usage"].clone();
        assert!((1..=4).contains(&first["output_tokens"].as_u64().expect("a number")));
        assert_eq!(first["input_tokens"], whole["usage"]["input_tokens"]);
        let record = stage.last().await;
        assert_eq!((&record.usage, record.complete), (&whole["usage"], true));
        assert_eq!(
            record.written_output_tokens,
            record.canonical.output_total()
        );
    }
}

#[tokio::test]
async fn the_cap_and_stop_sequences_end_an_answer() {
    let stage = Stage::new();
    let prompt = "[[rehearsal tokens=300]]";
    let body = stage
        .message(prompt, json!({ "max_tokens": 9 }))
        .await
        .json();
    assert_eq!(
        (&body["stop_reason"], &body["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(9))
    );
    let body = stage
        .message(prompt, json!({ "stop_sequences": ["qqq", "e"] }))
        .await
        .json();
    assert_eq!(
        (&body["stop_reason"], &body["stop_sequence"]),
        (&json!("stop_sequence"), &json!("e"))
    );
    assert!(
        !body["content"][0]["text"]
            .as_str()
            .expect("text")
            .contains('e')
    );
}

#[tokio::test]
async fn thinking_is_shown_counted_and_within_its_budget() {
    let stage = Stage::new();
    let more = json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 } });
    let body = stage.message("Think.", more).await.json();
    let block = &body["content"][0];
    assert_eq!(block["type"], "thinking");
    assert!(!block["thinking"].as_str().expect("text").is_empty());
    assert!(!block["signature"].as_str().expect("text").is_empty());
    let record = stage.last().await;
    assert!((1..=2_000).contains(&record.canonical.reasoning));
    assert_eq!(
        body["usage"]["output_tokens"],
        record.canonical.output_total()
    );
    for (budget, max) in [(10, 4_000), (4_000, 4_000)] {
        let more = json!({
            "thinking": { "type": "enabled", "budget_tokens": budget }, "max_tokens": max,
        });
        assert_eq!(stage.message("Think.", more).await.status, 400);
    }
}

#[tokio::test]
async fn a_tool_is_used_when_it_must_be() {
    let stage = Stage::new();
    for choice in [
        json!({ "type": "any" }),
        json!({ "type": "tool", "name": "search" }),
    ] {
        let more = json!({ "tools": search(), "tool_choice": choice });
        let body = stage.message("Search.", more).await.json();
        assert_eq!(body["stop_reason"], "tool_use");
        let block = body["content"]
            .as_array()
            .and_then(|blocks| blocks.last())
            .expect("a block");
        assert_eq!(
            (&block["type"], &block["name"]),
            (&json!("tool_use"), &json!("search"))
        );
        assert!(block["input"]["query"].is_string());
    }
    let never = json!({ "tools": search(), "tool_choice": { "type": "none" } });
    let body = stage.message("Search.", never).await.json();
    assert_eq!(body["stop_reason"], "end_turn");
}

#[tokio::test]
async fn marked_prefixes_are_written_then_read() {
    let stage = Stage::new();
    let long = "A rather long system prompt. ".repeat(500);
    let mark =
        |text: &str, control| json!({ "type": "text", "text": text, "cache_control": control });
    let call = |question: &str| {
        let hour = mark(&long, json!({ "type": "ephemeral", "ttl": "1h" }));
        let five_minutes = mark(&format!("{long}!"), json!({ "type": "ephemeral" }));
        message(question, json!({ "system": [hour, five_minutes] }))
    };
    let first = stage.post("/v1/messages", &call("One?")).await.json()["usage"].clone();
    let split = first["cache_creation"].clone();
    let (short, long) = (
        &split["ephemeral_5m_input_tokens"],
        &split["ephemeral_1h_input_tokens"],
    );
    assert!(short.as_u64() > Some(1_000) && long.as_u64() > Some(1_000));
    let written = short.as_u64().expect("number") + long.as_u64().expect("number");
    assert_eq!(first["cache_creation_input_tokens"], written);
    assert_eq!(first["cache_read_input_tokens"], 0);
    let second = stage.post("/v1/messages", &call("Two?")).await.json()["usage"].clone();
    assert_eq!(second["cache_read_input_tokens"], written);
    assert_eq!(second["cache_creation_input_tokens"], 0);
    let record = stage.last().await;
    assert_eq!(
        (record.canonical.cache_read, record.canonical.cache_write_1h),
        (written, 0)
    );
    let plain = stage
        .message("Three?", json!({ "system": "x ".repeat(9_000) }))
        .await
        .json();
    assert_eq!(
        plain["usage"]["cache_creation_input_tokens"], 0,
        "never without being asked"
    );
    let streamed = {
        let mut call = call("Two?");
        call["stream"] = json!(true);
        call
    };
    let stream = stage.post("/v1/messages?beta=true", &streamed).await;
    let end = stream
        .data()
        .into_iter()
        .rfind(|event| event["type"] == "message_delta");
    let usage = &end.expect("an end")["usage"];
    assert_eq!(usage["cache_read_input_tokens"], written);
    assert_eq!(
        usage.get("cache_creation"),
        None,
        "no split at the end, as in the real stream"
    );
}

#[tokio::test]
async fn counting_is_free_and_agrees_with_what_is_billed() {
    let stage = Stage::new();
    let mut call = message(
        "How many are these?",
        json!({ "system": "Be brief.", "tools": search() }),
    );
    let billed = stage.post("/v1/messages", &call).await.json()["usage"]["input_tokens"].clone();
    call.as_object_mut()
        .expect("an object")
        .remove("max_tokens");
    let counted = stage
        .post("/v1/messages/count_tokens?beta=true", &call)
        .await;
    assert_eq!(counted.json(), json!({ "input_tokens": billed }));
    let record = stage.last().await;
    assert_eq!(record.path, "/v1/messages/count_tokens");
    assert_eq!(record.canonical, fisc_rehearsal::Canonical::default());
}

#[tokio::test]
async fn wrong_requests_get_the_providers_own_errors() {
    let stage = Stage::new();
    let mut no_max = message("x", json!({}));
    no_max
        .as_object_mut()
        .expect("an object")
        .remove("max_tokens");
    let bad = [
        (no_max, "max_tokens: Field required"),
        (
            message("x", json!({ "model": null })),
            "model: Field required",
        ),
        (
            message("x", json!({ "messages": [] })),
            "at least one message",
        ),
        (message("", json!({})), "non-empty content"),
        (
            message(
                "x",
                json!({ "messages": [{ "role": "system", "content": "x" }] }),
            ),
            "top-level",
        ),
    ];
    for (body, message) in bad {
        let answer = stage.post("/v1/messages", &body).await;
        let error = answer.json();
        assert_eq!((answer.status, &error["type"]), (400, &json!("error")));
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert!(
            error["error"]["message"]
                .as_str()
                .expect("text")
                .contains(message),
            "{error}"
        );
        assert_eq!(error["request_id"], answer.header("request-id"));
    }
    let headers = [("x-api-key", "k")];
    let body = message("x", json!({})).to_string();
    let answer = stage
        .send(Method::POST, "/v1/messages", &headers, body)
        .await;
    let error = answer.json();
    assert_eq!(
        (answer.status, &error["error"]["message"]),
        (400, &json!("anthropic-version: header is required"))
    );
}
