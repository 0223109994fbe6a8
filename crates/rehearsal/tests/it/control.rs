//! Keys, models, unknown paths, and the control plane.

use fisc_rehearsal::{Settings, TruthRecord};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Stage, chat, message};

#[tokio::test]
async fn a_key_must_be_sent_and_may_be_any() {
    let stage = Stage::new();
    let body = chat("gpt-4o", "x", json!({})).to_string();
    let answer = stage
        .send(Method::POST, "/v1/chat/completions", &[], body.clone())
        .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    assert_eq!(stage.last().await.key_end, None);
    let claude = message("x", json!({})).to_string();
    let version = ("anthropic-version", "2023-06-01");
    let answer = stage
        .send(Method::POST, "/v1/messages", &[version], claude.clone())
        .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    for key in [
        ("authorization", "Bearer abcdef"),
        ("x-api-key", "abcdef"),
        ("api-key", "abcdef"),
    ] {
        let answer = stage
            .send(Method::POST, "/messages", &[key, version], claude.clone())
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(stage.last().await.key_end.as_deref(), Some("cdef"));
    }
}

#[tokio::test]
async fn a_required_key_is_required() {
    let settings = Settings {
        require_key: Some("sk-right".into()),
        ..Settings::instant()
    };
    let stage = Stage::with(settings);
    let body = chat("gpt-4o", "x", json!({})).to_string();
    for (key, status) in [("Bearer sk-right", 200), ("Bearer sk-wrong", 401)] {
        let headers = [("authorization", key)];
        let answer = stage
            .send(Method::POST, "/chat/completions", &headers, body.clone())
            .await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn models_are_listed_in_the_form_of_the_wire() {
    let stage = Stage::new();
    let list = stage.get("/v1/models").await.json();
    assert_eq!(
        (&list["object"], &list["data"][0]["object"]),
        (&json!("list"), &json!("model"))
    );
    assert_eq!(stage.get("/models/gpt-4o").await.json()["id"], "gpt-4o");
    assert_eq!(stage.get("/v1/models/none").await.status, 404);
    let headers = [("anthropic-version", "2023-06-01")];
    let list = stage
        .send(Method::GET, "/v1/models", &headers, String::new())
        .await
        .json();
    assert_eq!(
        (&list["data"][0]["type"], &list["has_more"]),
        (&json!("model"), &json!(false))
    );
}

#[tokio::test]
async fn the_root_answers_and_other_paths_do_not() {
    let stage = Stage::new();
    assert_eq!(stage.get("/").await.status, 200);
    let head = stage.send(Method::HEAD, "/", &[], String::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(stage.rehearsal.truth().is_empty());
    let answer = stage.post("/v1/embeddings", &json!({})).await;
    assert_eq!(answer.status, 404);
    assert_eq!(stage.last().await.path, "/v1/embeddings");
}

#[tokio::test]
async fn the_truth_is_served_line_by_line_and_forgotten_on_demand() {
    let stage = Stage::new();
    for prompt in ["one", "two", "three"] {
        stage
            .chat("gpt-4o", prompt, json!({ "metadata": { "label": prompt } }))
            .await;
        stage.last().await;
    }
    let answer = stage.get("/rehearsal/truth").await;
    let records: Vec<TruthRecord> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect();
    assert_eq!(records, stage.rehearsal.truth());
    assert_eq!(records[1].label.as_deref(), Some("two"));
    let later = stage.get("/rehearsal/truth?since=2").await;
    assert_eq!(later.text().lines().count(), 1);
    assert_eq!(stage.get("/rehearsal/truth?since=9").await.text(), "");
    assert_eq!(stage.get("/rehearsal/truth?since=x").await.status, 400);
    let reset = stage
        .send(Method::POST, "/rehearsal/reset", &[], String::new())
        .await;
    assert_eq!((reset.status, stage.rehearsal.truth().len()), (200, 0));
    stage.chat("gpt-4o", "four", json!({})).await;
    let seqs: Vec<Value> = stage
        .rehearsal
        .truth()
        .iter()
        .map(|record| json!(record.seq))
        .collect();
    assert_eq!(seqs, [4], "numbers go on");
}
