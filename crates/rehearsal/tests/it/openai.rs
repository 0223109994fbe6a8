//! Chat completions: shapes, usage, ends, tools, caches.

use fisc_rehearsal::{Settings, State, Wire};
use serde_json::{Value, json};

use crate::client::{Answer, Stage, chat};

fn weather() -> Value {
    json!([{ "type": "function", "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
            "required": ["city", "days"],
        },
    } }])
}

fn contents(answer: &Answer) -> String {
    let data = answer.data();
    let contents = data
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    contents.collect()
}

#[tokio::test]
async fn an_answer_has_the_real_shape_and_the_true_usage() {
    let stage = Stage::new();
    let more = json!({ "user": "alice", "tools": null });
    let answer = stage.chat("gpt-4o-mini", "What is a budget?", more).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    assert!(answer.header("x-request-id").starts_with("req_"));
    let body = answer.json();
    assert!(
        body["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("chatcmpl-"))
    );
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-4o-mini-2024-07-18");
    assert!(body["created"].as_u64() > Some(1_700_000_000));
    assert!(
        body["system_fingerprint"]
            .as_str()
            .is_some_and(|print| print.starts_with("fp_"))
    );
    assert_eq!(body["service_tier"], "default");
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["index"], &choice["finish_reason"]),
        (&json!(0), &json!("stop"))
    );
    assert_eq!(choice["message"]["role"], "assistant");
    assert!(
        choice["message"]["content"]
            .as_str()
            .is_some_and(|text| text.len() > 4)
    );

    let record = stage.last().await;
    assert_eq!(record.usage, body["usage"]);
    assert_eq!(
        (record.wire, record.state, record.status),
        (Wire::OpenAi, State::Ended, 200)
    );
    assert_eq!((record.seq, record.model.as_str()), (1, "gpt-4o-mini"));
    assert_eq!(record.label.as_deref(), Some("alice"));
    assert_eq!(record.key_end.as_deref(), Some("1234"));
    assert_eq!(record.request_id, answer.header("x-request-id"));
    assert!(record.complete && !record.stream);
    let usage = &body["usage"];
    assert_eq!(usage["prompt_tokens"], record.canonical.input_total());
    assert_eq!(usage["completion_tokens"], record.canonical.output_total());
    assert_eq!(record.written_output_tokens, record.canonical.output);
    let total = record.canonical.input_total() + record.canonical.output_total();
    assert_eq!(usage["total_tokens"], total);
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_whole_answer_however_it_is_framed() {
    let stage = Stage::new();
    for number in 0..30 {
        let prompt = format!("Tell me about budget number {number}.");
        let whole = stage.chat("gpt-4o", &prompt, json!({})).await.json();
        let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
        let stream = stage.chat("gpt-4o", &prompt, asked).await;
        assert_eq!(
            stream.header("content-type"),
            "text/event-stream; charset=utf-8"
        );
        assert_eq!(
            json!(contents(&stream)),
            whole["choices"][0]["message"]["content"]
        );
        let events = stream.events();
        assert_eq!(events.last().expect("an end").data, "[DONE]");
        let data = stream.data();
        assert_eq!(data[0]["choices"][0]["delta"]["role"], "assistant");
        let (last, others) = data.split_last().expect("chunks");
        assert_eq!(
            (&last["choices"], &last["usage"]),
            (&json!([]), &whole["usage"])
        );
        for chunk in others {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk["id"], last["id"]);
            assert_eq!(
                chunk.get("usage"),
                Some(&Value::Null),
                "null on every other chunk"
            );
        }
        let end = &others.last().expect("an end")["choices"][0];
        assert_eq!(
            (&end["delta"], &end["finish_reason"]),
            (&json!({}), &json!("stop"))
        );
        let record = stage.last().await;
        assert!(record.complete);
        assert_eq!((&record.usage, record.stream), (&last["usage"], true));
        assert_eq!(record.written_output_tokens, record.canonical.output);
    }
}

#[tokio::test]
async fn a_stream_reports_no_usage_that_was_not_asked_for() {
    let stage = Stage::new();
    let stream = stage
        .chat("gpt-4o", "Hello", json!({ "stream": true }))
        .await;
    assert!(
        stream
            .data()
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    assert!(
        stream
            .data()
            .iter()
            .all(|chunk| chunk["choices"] != json!([]))
    );
    let wrong = json!({ "stream_options": { "include_usage": true } });
    let answer = stage.chat("gpt-4o", "Hello", wrong).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &json!("stream_options"))
    );
}

#[tokio::test]
async fn the_cap_cuts_to_the_token() {
    let stage = Stage::new();
    for (name, stream) in [("max_tokens", false), ("max_completion_tokens", true)] {
        let more = json!({ name: 11, "stream": stream });
        let answer = stage
            .chat("gpt-4o", "[[rehearsal tokens=500]] go", more)
            .await;
        let finish = if stream {
            answer.data().pop().expect("chunks")["choices"][0]["finish_reason"].clone()
        } else {
            answer.json()["choices"][0]["finish_reason"].clone()
        };
        let record = stage.last().await;
        assert_eq!(
            (finish, record.finish.as_deref()),
            (json!("length"), Some("length"))
        );
        assert_eq!((record.canonical.output, record.max_tokens), (11, Some(11)));
        assert_eq!(record.written_output_tokens, 11);
    }
    stage
        .chat("gpt-4o", "[[rehearsal tokens=500]] go", json!({}))
        .await;
    assert_eq!(stage.last().await.canonical.output, 500);
}

#[tokio::test]
async fn reasoning_is_hidden_counted_and_capped() {
    let stage = Stage::new();
    for model in ["o4-mini", "gpt-5-mini", "o1-preview"] {
        let body = stage.chat(model, "Think.", json!({})).await.json();
        let record = stage.last().await;
        assert!(record.canonical.reasoning > 0 && record.canonical.reasoning.is_multiple_of(64));
        let usage = &body["usage"];
        let details = &usage["completion_tokens_details"];
        assert_eq!(details["reasoning_tokens"], record.canonical.reasoning);
        assert_eq!(usage["completion_tokens"], record.canonical.output_total());
        assert_eq!(record.written_output_tokens, record.canonical.output);
    }
    let capped = json!({ "max_completion_tokens": 10 });
    let body = stage.chat("o4-mini", "Think.", capped).await.json();
    assert_eq!(body["usage"]["completion_tokens"], 10);
    assert_eq!(
        body["usage"]["completion_tokens_details"]["reasoning_tokens"],
        10
    );
    assert_eq!(body["choices"][0]["message"]["content"], "");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    let answer = stage
        .chat("o4-mini", "Think.", json!({ "max_tokens": 10 }))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (400, &json!("unsupported_parameter"))
    );
    let quiet = json!({ "reasoning_effort": "minimal" });
    stage.chat("gpt-5-mini", "Think.", quiet).await;
    assert_eq!(stage.last().await.canonical.reasoning, 0);
}

#[tokio::test]
async fn several_choices_are_several_answers_and_one_sum() {
    let stage = Stage::new();
    let body = stage
        .chat("gpt-4o", "Vary.", json!({ "n": 3 }))
        .await
        .json();
    let texts: Vec<_> = (0..3)
        .map(|n| body["choices"][n]["message"]["content"].clone())
        .collect();
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    let stream = stage
        .chat("gpt-4o", "Vary.", json!({ "n": 3, "stream": true }))
        .await;
    for (index, text) in texts.iter().enumerate() {
        let data = stream.data();
        let pieces = data
            .iter()
            .filter(|chunk| chunk["choices"][0]["index"] == index);
        let said: String = pieces
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(json!(said), *text);
    }
    assert_eq!(stage.last().await.usage, body["usage"]);
    let capped = json!({ "n": 3, "max_tokens": 2 });
    let usage = stage.chat("gpt-4o", "Vary.", capped).await.json()["usage"].clone();
    assert_eq!(usage["completion_tokens"], 6);
}

#[tokio::test]
async fn a_stop_sequence_ends_the_answer_before_it() {
    let stage = Stage::new();
    let full = stage
        .chat("gpt-4o", "Go on [[rehearsal tokens=300]]", json!({}))
        .await
        .json();
    let full = full["choices"][0]["message"]["content"]
        .as_str()
        .expect("text")
        .to_owned();
    let stop: String = full.chars().skip(60).take(4).collect();
    // The stop sequence is part of the request and so changes what is said; a common letter
    // is found in any answer.
    let body = stage
        .chat(
            "gpt-4o",
            "Go on [[rehearsal tokens=300]]",
            json!({ "stop": "e" }),
        )
        .await;
    let text = body.json()["choices"][0]["message"]["content"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(!stop.is_empty() && !text.contains('e') && text.len() < full.len());
    let record = stage.last().await;
    assert_eq!(record.finish.as_deref(), Some("stop"));
    assert!((1..300).contains(&record.canonical.output));
}

#[tokio::test]
async fn tools_are_called_with_arguments_that_fit() {
    let stage = Stage::new();
    let must = json!({ "tools": weather(), "tool_choice": "required" });
    for number in 0..20 {
        let prompt = format!("Weather {number}?");
        let body = stage.chat("gpt-4o", &prompt, must.clone()).await.json();
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(
            (&call["type"], &call["function"]["name"]),
            (&json!("function"), &json!("weather"))
        );
        let arguments = call["function"]["arguments"].as_str().expect("text");
        let parsed: Value = serde_json::from_str(arguments).expect("JSON");
        assert!(parsed["city"].is_string() && parsed["days"].is_i64());

        let mut streaming = must.clone();
        streaming["stream"] = json!(true);
        let stream = stage.chat("gpt-4o", &prompt, streaming).await;
        let data = stream.data();
        assert!(data[0]["choices"][0]["delta"]["tool_calls"][0]["id"].is_string());
        let pieces = data.iter().filter_map(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()
        });
        assert_eq!(pieces.collect::<String>(), arguments);
        let record = stage.last().await;
        assert_eq!(record.written_output_tokens, record.canonical.output);
        assert_eq!(record.usage, body["usage"]);
    }
}

#[tokio::test]
async fn about_half_of_the_calls_use_a_tool_and_none_right_after_one() {
    let stage = Stage::new();
    let mut calls = 0;
    for number in 0..60 {
        let more = json!({ "tools": weather() });
        let body = stage
            .chat("gpt-4o", &format!("Try {number}"), more)
            .await
            .json();
        calls += u32::from(body["choices"][0]["finish_reason"] == "tool_calls");
        let after = json!({ "model": "gpt-4o", "tools": weather(), "messages": [
            { "role": "user", "content": format!("Try {number}") },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "call_1",
                "type": "function", "function": { "name": "weather", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "sunny" },
        ] });
        let body = stage.post("/v1/chat/completions", &after).await.json();
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
    }
    assert!((18..=42).contains(&calls), "{calls} of 60");
}

#[tokio::test]
async fn a_seen_prefix_is_read_from_the_cache_in_steps_of_128() {
    let stage = Stage::new();
    let long = "A rather long system prompt. ".repeat(400);
    let body = |question: &str| {
        json!({ "model": "gpt-4o", "messages": [
            { "role": "system", "content": long }, { "role": "user", "content": question },
        ] })
    };
    let cached = |answer: &Answer| {
        answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .expect("number")
    };
    assert_eq!(
        cached(&stage.post("/v1/chat/completions", &body("One?")).await),
        0
    );
    let second = stage.post("/v1/chat/completions", &body("Two?")).await;
    assert!(cached(&second) >= 1_024 && cached(&second).is_multiple_of(128));
    let record = stage.last().await;
    assert_eq!(record.canonical.cache_read, cached(&second));
    assert_eq!(
        record.canonical.input_total(),
        second.json()["usage"]["prompt_tokens"]
    );
    let mut other = body("Two?");
    other["model"] = json!("gpt-4o-mini");
    assert_eq!(cached(&stage.post("/v1/chat/completions", &other).await), 0);
}

#[tokio::test]
async fn the_tier_is_what_the_model_has() {
    let stage = Stage::new();
    for (model, asked, served) in [
        ("gpt-5-mini", "flex", "flex"),
        ("gpt-4o", "flex", "default"),
        ("gpt-4o", "fast", "priority"),
        ("gpt-4o", "auto", "default"),
    ] {
        let body = stage
            .chat(model, "Hi", json!({ "service_tier": asked }))
            .await
            .json();
        assert_eq!(body["service_tier"], served);
        assert_eq!(stage.last().await.service_tier.as_deref(), Some(served));
    }
}

#[tokio::test]
async fn the_seed_and_the_request_decide_everything_that_is_said() {
    let say = async |seed, more: Value| {
        let stage = Stage::with(Settings {
            seed,
            ..Settings::instant()
        });
        let body = stage.chat("gpt-4o", "Say something.", more).await.json();
        (
            body["choices"][0]["message"]["content"].clone(),
            body["usage"].clone(),
        )
    };
    assert_eq!(say(1, json!({})).await, say(1, json!({})).await);
    assert_ne!(say(1, json!({})).await, say(2, json!({})).await);
    assert_ne!(
        say(1, json!({})).await,
        say(1, json!({ "temperature": 1 })).await
    );
    let lengths = Stage::new();
    for number in 0..40 {
        lengths
            .chat("gpt-4o", &format!("Number {number}"), json!({}))
            .await;
    }
    let truth = lengths.rehearsal.truth();
    let outputs: Vec<u64> = truth.iter().map(|record| record.canonical.output).collect();
    assert!(
        outputs.iter().any(|n| *n < 100) && outputs.iter().any(|n| *n > 250),
        "{outputs:?}"
    );
}

#[tokio::test]
async fn what_a_proxy_may_edit_does_not_change_what_is_said() {
    let stage = Stage::new();
    let plain = stage.chat("gpt-4o", "Same?", json!({})).await.json();
    let edited = json!({
        "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 2_000,
    });
    let stream = stage.chat("gpt-4o", "Same?", edited).await;
    assert_eq!(
        json!(contents(&stream)),
        plain["choices"][0]["message"]["content"]
    );
}

#[tokio::test]
async fn wrong_requests_get_the_providers_own_errors() {
    let stage = Stage::new();
    let bad = [
        (
            json!({ "messages": [] }),
            "you must provide a model parameter",
            Value::Null,
        ),
        (
            json!({ "model": "m" }),
            "Missing required parameter",
            json!("messages"),
        ),
        (
            json!({ "model": "m", "messages": [] }),
            "empty array",
            json!("messages"),
        ),
        (
            json!({ "model": "m", "messages": [{ "role": "boss", "content": "" }] }),
            "Invalid value: 'boss'",
            json!("messages[0].role"),
        ),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": null }] }),
            "expected a string",
            json!("messages[0].content"),
        ),
        (
            chat("m", "x", json!({ "max_tokens": 0 })),
            "below minimum",
            json!("max_tokens"),
        ),
        (
            chat("m", "x", json!({ "max_tokens": 1.5 })),
            "integer",
            json!("max_tokens"),
        ),
        (
            chat("m", "x", json!({ "n": 1_000 })),
            "Invalid 'n'",
            json!("n"),
        ),
        (
            chat("m", "[[rehearsal dance]]", json!({})),
            "unknown",
            json!("messages"),
        ),
    ];
    for (body, message, param) in bad {
        let answer = stage.post("/v1/chat/completions", &body).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, &error["type"]),
            (400, &json!("invalid_request_error"))
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(message)),
            "{error}"
        );
        assert_eq!(error["param"], param);
        let record = stage.last().await;
        assert_eq!((record.status, &record.usage), (400, &Value::Null));
        assert_eq!(record.canonical, fisc_rehearsal::Canonical::default());
    }
    let answer = stage.send(
        hyper::Method::POST,
        "/v1/chat/completions",
        &[("authorization", "Bearer k")],
        "{".into(),
    );
    assert_eq!(answer.await.status, 400);
}
