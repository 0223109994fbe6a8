//! Every fault does what it says, and the truth knows of it.

use std::time::Duration;

use fisc_rehearsal::{Faults, Settings};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::client::{Stage, chat, drain, message};

fn streaming() -> Value {
    json!({ "stream": true, "stream_options": { "include_usage": true } })
}

#[tokio::test]
async fn a_cut_stream_breaks_after_so_many_deltas_on_both_wires() {
    let stage = Stage::new();
    for cut in [0, 1, 3, 10] {
        let prompt = format!("[[rehearsal cut={cut} tokens=200]]");
        for openai in [true, false] {
            let answer = if openai {
                stage.chat("gpt-4o", &prompt, streaming()).await
            } else {
                stage.message(&prompt, json!({ "stream": true })).await
            };
            assert!(!answer.whole, "the framing must say that it was cut");
            let data = answer.data();
            let deltas = data.iter().filter(|event| {
                let content = event["choices"][0]["delta"]["content"].as_str();
                content.is_some_and(|text| !text.is_empty()) || event["delta"]["text"].is_string()
            });
            assert_eq!(deltas.count(), cut);
            let record = stage.last().await;
            assert_eq!(
                (record.complete, record.fault.as_deref()),
                (false, Some("cut"))
            );
            assert_eq!(record.canonical.output, 200, "the whole generation");
            assert!(record.written_output_tokens >= cut as u64);
            assert!(record.written_output_tokens <= 7 * cut as u64);
        }
    }
}

#[tokio::test]
async fn a_cut_body_that_does_not_stream_is_shorter_than_declared() {
    let stage = Stage::new();
    let answer = stage.chat("gpt-4o", "[[rehearsal cut=0]]", json!({})).await;
    assert!(!answer.whole);
    let declared: usize = answer.header("content-length").parse().expect("a number");
    assert!(answer.body.len() < declared);
    assert!(!stage.last().await.complete);
}

#[tokio::test]
async fn a_client_that_leaves_finalises_its_record() {
    let stage = Stage::new();
    let body = chat("gpt-4o", "[[rehearsal tokens=900 gap_ms=5]]", streaming());
    let mut socket = stage.raw("/v1/chat/completions", &body).await;
    let mut read = vec![0; 3_000];
    socket.read_exact(&mut read).await.expect("it streams");
    let running = stage.rehearsal.truth().pop().expect("a record");
    assert_eq!((running.ended_ms, running.status), (None, 200));
    drop(socket);
    let record = stage.last().await;
    assert!(!record.complete);
    assert!((1..900).contains(&record.written_output_tokens));
    assert_eq!(
        (record.canonical.output, record.key_end.as_deref()),
        (900, Some("5678"))
    );
}

#[tokio::test]
async fn a_hanging_call_is_recorded_and_ends_with_its_client() {
    let stage = Stage::new();
    let body = message("[[rehearsal hang]]", json!({}));
    let mut socket = stage.raw("/v1/messages", &body).await;
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(150), socket.read(&mut byte)).await;
    assert!(read.is_err(), "nothing is answered");
    let running = stage.rehearsal.truth().pop().expect("a record");
    assert_eq!((running.status, running.ended_ms), (0, None));
    drop(socket);
    let record = stage.last().await;
    assert_eq!((record.complete, record.written_output_tokens), (false, 0));
    assert_eq!(record.fault.as_deref(), Some("hang"));
}

#[tokio::test]
async fn reported_usage_may_lie_and_the_record_never_does() {
    let stage = Stage::new();
    let honest = stage
        .message("[[rehearsal tokens=50]] x", json!({}))
        .await
        .json()["usage"]
        .clone();
    assert_eq!(honest["output_tokens"], 50);
    for (direction, expected) in [
        ("none", None),
        ("null", Some(Value::Null)),
        ("zero", Some(json!(0))),
        ("negative", Some(json!(-51))),
        ("huge", Some(json!(1_000_000_000_050_u64))),
        ("string", Some(json!("50"))),
        ("fraction", Some(json!(50.5))),
    ] {
        let prompt = format!("[[rehearsal tokens=50 usage={direction}]] x");
        let whole = stage.chat("gpt-4o", &prompt, json!({})).await.json();
        let stream = stage.chat("gpt-4o", &prompt, streaming()).await.data();
        let claude = stage
            .message(&prompt, json!({ "stream": true }))
            .await
            .data();
        let end = claude
            .iter()
            .rfind(|event| event["type"] == "message_delta")
            .expect("an end");
        let start = &claude[0]["message"];
        match &expected {
            None => {
                assert!(whole.get("usage").is_none() && end.get("usage").is_none());
                assert!(start.get("usage").is_none());
                assert!(stream.iter().all(|chunk| chunk.get("usage").is_none()));
            }
            Some(Value::Null) => {
                assert_eq!(
                    (whole.get("usage"), end.get("usage")),
                    (Some(&Value::Null), Some(&Value::Null))
                );
            }
            Some(number) => {
                assert_eq!(whole["usage"]["completion_tokens"], *number);
                let last = stream.last().expect("a usage");
                assert_eq!(last["usage"]["completion_tokens"], *number);
                assert_eq!(end["usage"]["output_tokens"], *number);
            }
        }
        for record in stage.rehearsal.truth().iter().rev().take(3) {
            assert_eq!(record.canonical.output, 50);
            let fault = if direction == "none" {
                "no_usage".to_owned()
            } else {
                format!("usage_{direction}")
            };
            assert_eq!(record.fault, Some(fault));
        }
    }
}

#[tokio::test]
async fn a_cap_may_be_exceeded() {
    let stage = Stage::new();
    let prompt = "[[rehearsal over_max]]";
    let body = stage
        .chat("gpt-4o", prompt, json!({ "max_tokens": 100 }))
        .await
        .json();
    assert_eq!(body["usage"]["completion_tokens"], 141);
    assert_eq!(stage.last().await.fault.as_deref(), Some("over_max"));
    stage.chat("gpt-4o", prompt, json!({})).await;
    assert_eq!(
        stage.last().await.fault,
        None,
        "without a cap there is nothing to exceed"
    );
    stage
        .message(prompt, json!({ "max_tokens": 100, "stream": true }))
        .await;
    assert_eq!(stage.last().await.written_output_tokens, 141);
    let far = "[[rehearsal over_max tokens=900]]";
    let body = stage.chat("gpt-4o", far, json!({ "max_tokens": 100 }));
    let body = body.await.json();
    assert_eq!(body["usage"]["completion_tokens"], 900);
}

#[tokio::test]
async fn errors_have_the_providers_form() {
    let stage = Stage::new();
    for (status, kind, claude) in [
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ] {
        let prompt = format!("[[rehearsal status={status}]]");
        let answer = stage.chat("gpt-4o", &prompt, streaming()).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["type"]),
            (status, &json!(kind))
        );
        let answer = stage.message(&prompt, json!({})).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["type"]),
            (status, &json!(claude))
        );
        assert_eq!(
            answer.header("retry-after"),
            if status == 429 { "1" } else { "" }
        );
        let record = stage.last().await;
        assert_eq!((record.status, &record.usage), (status, &Value::Null));
        assert_eq!(record.canonical, fisc_rehearsal::Canonical::default());
    }
}

#[tokio::test]
async fn an_error_event_ends_a_stream_without_its_end() {
    let stage = Stage::new();
    let prompt = "[[rehearsal error_event tokens=100]]";
    let answer = stage.chat("gpt-4o", prompt, streaming()).await;
    assert!(answer.whole, "the transfer itself ends well");
    let events = answer.events();
    assert!(
        events
            .last()
            .expect("events")
            .data
            .starts_with(r#"{"error":"#)
    );
    assert!(events.iter().all(|event| event.data != "[DONE]"));
    let record = stage.last().await;
    assert!(!record.complete && (1..100).contains(&record.written_output_tokens));
    let answer = stage.message(prompt, json!({ "stream": true })).await;
    let last = answer.events().pop().expect("events");
    assert_eq!(last.name.as_deref(), Some("error"));
    assert_eq!(
        answer.data().pop().expect("data")["error"]["type"],
        "overloaded_error"
    );
    assert_eq!(stage.chat("gpt-4o", prompt, json!({})).await.status, 500);
}

#[tokio::test]
async fn html_and_crlf() {
    let stage = Stage::new();
    let answer = stage.chat("gpt-4o", "[[rehearsal html]]", json!({})).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(answer.text().starts_with("<!DOCTYPE html>"));
    let answer = stage
        .chat("gpt-4o", "[[rehearsal crlf tokens=90]]", streaming())
        .await;
    assert!(answer.text().ends_with("data: [DONE]\r\n\r\n"));
    assert!(!answer.text().replace("\r\n", "").contains('\n'));
    assert!(answer.data().len() > 10);
}

#[tokio::test]
async fn rates_befall_as_many_calls_as_they_say_and_a_retry_may_fare_better() {
    let faults: Faults = "429=0.3,no_usage=0.2".parse().expect("well formed");
    let stage = Stage::with(Settings {
        faults,
        ..Settings::instant()
    });
    for number in 0..400 {
        stage
            .chat("gpt-4o", &format!("Call {}", number % 40), json!({}))
            .await;
    }
    let truth = stage.rehearsal.truth();
    let count = |name| {
        truth
            .iter()
            .filter(|record| record.fault.as_deref() == Some(name))
            .count()
    };
    assert!((90..150).contains(&count("429")), "{}", count("429"));
    assert!(
        (55..105).contains(&count("no_usage")),
        "{}",
        count("no_usage")
    );
    let first = |status| truth.iter().filter(move |record| record.status == status);
    assert!(first(429).count() > 0 && first(200).count() > 0);
    let again = truth
        .iter()
        .skip(40)
        .zip(&truth)
        .filter(|(a, b)| a.status != b.status);
    assert!(again.count() > 50, "the same body fares differently");
}

#[tokio::test]
async fn a_delay_and_a_gap_take_their_time() {
    let stage = Stage::new();
    let start = tokio::time::Instant::now();
    stage
        .chat("gpt-4o", "[[rehearsal delay_ms=120]]", json!({}))
        .await;
    assert!(start.elapsed() >= Duration::from_millis(120));
    let start = tokio::time::Instant::now();
    stage
        .chat("gpt-4o", "[[rehearsal gap_ms=15 tokens=140]]", streaming())
        .await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn one_event_may_come_in_two_reads_and_several_in_one() {
    let stage = Stage::new();
    let (mut split, mut shared) = (0, 0);
    for number in 0..6 {
        let prompt = format!("[[rehearsal tokens=300 gap_ms=6]] {number}");
        let mut socket = stage
            .raw(
                "/v1/chat/completions",
                &chat("gpt-4o", &prompt, streaming()),
            )
            .await;
        let (mut buffer, mut all) = (vec![0; 65_536], String::new());
        // The last chunk of the transfer; an event may be split by the head of a chunk.
        while !all.ends_with("\r\n0\r\n\r\n") {
            let read = socket.read(&mut buffer).await.expect("it streams");
            assert!(read > 0, "the stream has an end");
            let text = String::from_utf8_lossy(&buffer[..read]);
            match text.matches("\n\n").count() {
                0 => split += 1,
                1 => {}
                _ => shared += 1,
            }
            all.push_str(&text);
        }
    }
    assert!(split > 5 && shared > 5, "{split} split, {shared} shared");
}

#[tokio::test]
async fn a_shutdown_breaks_connections_and_finalises_records() {
    let folder = std::env::temp_dir().join(format!("fisc-rehearsal-{}", std::process::id()));
    let settings = Settings {
        truth_file: Some(folder.clone()),
        ..Settings::instant()
    };
    let stage = Stage::with(settings);
    let body = chat("gpt-4o", "[[rehearsal tokens=900 gap_ms=50]]", streaming());
    let mut socket = stage.raw("/v1/chat/completions", &body).await;
    socket.read_exact(&mut [0; 100]).await.expect("it streams");
    stage.rehearsal.shutdown().await;
    drain(&mut socket).await;
    let text = std::fs::read_to_string(&folder).expect("a file");
    std::fs::remove_file(&folder).expect("it was there");
    let states: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["state"].to_string())
        .collect();
    assert_eq!(states, [r#""started""#, r#""ended""#]);
}
