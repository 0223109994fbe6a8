//! The demo's team: finishes against an open purse, and stops where it is refused.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fisc_rehearsal::team::team;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::client::Stage;

/// Relays to `upstream`, but lets the runaway have only `limit` calls. Returns its URL.
async fn gatekeeper(upstream: String, limit: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (upstream, count) = (upstream.clone(), Arc::clone(&count));
            let service = service_fn(move |request| {
                let (upstream, count) = (upstream.clone(), Arc::clone(&count));
                async move { Ok::<_, Infallible>(relay(upstream, &count, limit, request).await) }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

async fn relay(
    upstream: String,
    count: &AtomicU64,
    limit: u64,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    let runaway = head
        .headers
        .get("fisc-agent")
        .is_some_and(|agent| agent == "runaway");
    assert!(head.headers.contains_key("fisc-op"));
    if runaway && count.fetch_add(1, Ordering::Relaxed) >= limit {
        let body = r#"{"error":{"message":"budget runaway: its limit is spent"}}"#;
        let response = Response::builder()
            .status(402)
            .header("x-should-retry", "false");
        return response.body(Full::from(body)).expect("a response");
    }
    head.uri = format!("{upstream}{}", head.uri).parse().expect("a URI");
    let body = body.collect().await.expect("a body").to_bytes();
    let client = Builder::new(TokioExecutor::new()).build_http();
    let response = client
        .request(Request::from_parts(head, Full::new(body)))
        .await;
    let (head, body) = response.expect("an answer").into_parts();
    Response::from_parts(
        head,
        Full::new(body.collect().await.expect("a body").to_bytes()),
    )
}

#[tokio::test]
async fn the_runaway_is_stopped_and_the_others_finish() {
    let stage = Stage::new();
    let url = gatekeeper(stage.rehearsal.url(), 12).await;
    let mut out = Vec::new();
    let outcome = team(&format!("{url}/v1"), Some(&url), &mut out).await;
    let out = String::from_utf8(out).expect("text");
    assert_eq!(
        (outcome.runaway_calls, outcome.runaway_stopped),
        (12, true),
        "{out}"
    );
    assert_eq!(
        outcome.finished,
        ["researcher", "writer", "reviewer", "planner"],
        "{out}"
    );
    assert!(outcome.failed.is_empty());
    assert!(
        out.contains("runaway    refused with 402: budget runaway: its limit is spent"),
        "{out}"
    );
    assert!(out.contains("planner    plan "), "{out}");
    let truth = stage.rehearsal.truth();
    assert_eq!(truth.len() as u64, outcome.calls);
    let total = |record: &fisc_rehearsal::TruthRecord| {
        record.canonical.input_total() + record.canonical.output_total()
    };
    assert_eq!(truth.iter().map(total).sum::<u64>(), outcome.tokens);
    let written = truth
        .iter()
        .filter(|record| record.label.as_deref() == Some("writer"));
    assert!(
        written
            .clone()
            .all(|record| record.path == "/v1/messages" && record.stream)
    );
    assert_eq!(written.count(), 4);
}
