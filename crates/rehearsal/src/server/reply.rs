//! Responses as the real services head them.

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::body::Player;
use crate::request::Reject;
use crate::truth::{Call, Wire};
use crate::{anthropic, openai};

const HTML: &str = "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\
                    <body><h1>Checking your browser</h1></body></html>\n";

/// Answers a look at the root.
pub(super) fn root() -> Response<Player> {
    json(
        StatusCode::OK,
        b"{\"message\":\"This is a rehearsal.\"}\n".to_vec(),
    )
}

/// Answers a page of HTML with status 200, as a misplaced proxy does.
pub(super) fn html(call: Call) -> Response<Player> {
    let mut response = Response::new(Player::full(HTML, Some(call)));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Answers JSON.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Player> {
    content(status, Player::full(body, None), "application/json")
}

/// Answers lines of JSON.
pub(super) fn lines(body: Vec<u8>) -> Response<Player> {
    content(
        StatusCode::OK,
        Player::full(body, None),
        "application/x-ndjson",
    )
}

/// Heads a generated answer.
pub(super) fn generated(
    wire: Wire,
    request_id: &str,
    stream: bool,
    body: Player,
) -> Response<Player> {
    let kind = if stream {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    let mut response = content(StatusCode::OK, body, kind);
    if stream {
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    head(&mut response, wire, request_id);
    response
}

/// Answers an error in the wire's own form.
pub(super) fn error(
    wire: Wire,
    request_id: &str,
    reject: &Reject,
    call: Option<Call>,
) -> Response<Player> {
    let body: Value = match wire {
        Wire::OpenAi => openai::error(reject),
        Wire::Anthropic => anthropic::error(reject, request_id),
    };
    let status = StatusCode::from_u16(reject.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = Player::full(body.to_string(), call);
    let mut response = content(status, body, "application/json");
    if reject.status == 429 {
        let name = HeaderName::from_static("retry-after");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("1"));
    }
    head(&mut response, wire, request_id);
    response
}

fn content(status: StatusCode, body: Player, kind: &'static str) -> Response<Player> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn head(response: &mut Response<Player>, wire: Wire, request_id: &str) {
    let (name, others): (_, &[(&'static str, &'static str)]) = match wire {
        Wire::OpenAi => (
            "x-request-id",
            &[
                ("openai-organization", "rehearsal"),
                ("openai-processing-ms", "42"),
                ("openai-version", "2020-10-01"),
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-reset-requests", "6ms"),
            ],
        ),
        Wire::Anthropic => (
            "request-id",
            &[
                (
                    "anthropic-organization-id",
                    "00000000-0000-4000-8000-000000000000",
                ),
                ("anthropic-ratelimit-requests-limit", "4000"),
                ("anthropic-ratelimit-requests-remaining", "3999"),
            ],
        ),
    };
    let headers = response.headers_mut();
    for (name, value) in others {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(name), id);
    }
}
