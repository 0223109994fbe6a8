//! The request and the answers of the benchmark: what an OpenAI SDK sends, what OpenAI answers.
//!
//! Each is made once and sent as it is. The request names no cap on its output, as most programs
//! do not, and a stream does not ask for its usage: both are then the gateway's to add.

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

/// Events of text in a stream.
pub(super) const EVENTS: usize = 50;

/// How long the JSON of a request and of a whole answer is, about.
const BODY_BYTES: usize = 1024;

const MODEL: &str = "gpt-4o-mini-2024-07-18";

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In one piece.
    Whole,
    /// As a stream of events.
    Stream,
}

/// The answer of the upstream to every stream, in the pieces in which it is sent.
pub(super) struct StreamAnswer {
    /// The head and the first event.
    pub(super) first: Vec<u8>,
    /// The events in the middle.
    pub(super) event: Vec<u8>,
    /// The finish reason, the usage and the end.
    pub(super) last: Vec<u8>,
    /// The same for callers that did not ask for usage.
    pub(super) last_without_usage: Vec<u8>,
}

// === impl Mode ===

impl Mode {
    pub(super) const ALL: [Mode; 2] = [Mode::Whole, Mode::Stream];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Mode::Whole => "whole answers",
            Mode::Stream => "streams",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Mode::Whole => "Whole answers",
            Mode::Stream => "Streams",
        }
    }

    /// Returns over how many connections calls come; a stream keeps its one busy for longer.
    pub(super) const fn connections(self) -> usize {
        match self {
            Mode::Whole => 64,
            Mode::Stream => 256,
        }
    }
}

/// Returns a request to `host`. `key` is the caller's key.
pub(super) fn request(mode: Mode, host: SocketAddr, key: &str) -> Vec<u8> {
    let body = padded(|text| {
        let mut body = json!({
            "model": "gpt-4o-mini",
            "temperature": 0.2,
            "messages": [
                { "role": "system", "content": "You are a careful assistant." },
                { "role": "user", "content": text },
            ],
        });
        if mode == Mode::Stream {
            body["stream"] = true.into();
        }
        body
    });
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\n\
         host: {host}\r\n\
         accept-encoding: gzip, deflate\r\n\
         connection: keep-alive\r\n\
         accept: application/json\r\n\
         content-type: application/json\r\n\
         user-agent: OpenAI/Python 1.99.0\r\n\
         x-stainless-lang: python\r\n\
         x-stainless-package-version: 1.99.0\r\n\
         x-stainless-os: Linux\r\n\
         x-stainless-arch: x64\r\n\
         x-stainless-runtime: CPython\r\n\
         x-stainless-runtime-version: 3.11.7\r\n\
         x-stainless-async: async:asyncio\r\n\
         x-stainless-retry-count: 0\r\n\
         x-stainless-read-timeout: 600\r\n\
         authorization: Bearer {key}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Returns the upstream's answer in one piece, with its usage.
pub(super) fn whole_answer() -> Vec<u8> {
    let body = padded(|text| {
        json!({
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text, "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": usage(),
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
        })
    });
    let length = body.len();
    let head = head("application/json", &format!("content-length: {length}"));
    format!("{head}{body}").into_bytes()
}

/// Returns the upstream's answer as a stream.
pub(super) fn stream_answer() -> StreamAnswer {
    let choice = |delta: Value, finish: Option<&str>| {
        let choice = json!({
            "index": 0,
            "delta": delta,
            "logprobs": null,
            "finish_reason": finish,
        });
        event(&json!([choice]), &Value::Null)
    };
    let role = choice(json!({ "role": "assistant", "content": "" }), None);
    let text = choice(json!({ "content": " token" }), None);
    let finish = choice(json!({}), Some("stop"));
    let usage = event(&json!([]), &usage());
    let head = head("text/event-stream", "transfer-encoding: chunked");
    let last = |events: &str| format!("{}0\r\n\r\n", chunk(&format!("{events}data: [DONE]\n\n")));
    StreamAnswer {
        first: format!("{head}{}", chunk(&role)).into_bytes(),
        event: chunk(&text).into_bytes(),
        last: last(&format!("{finish}{usage}")).into_bytes(),
        last_without_usage: last(&finish).into_bytes(),
    }
}

fn event(choices: &Value, usage: &Value) -> String {
    let mut event = json!({
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
        "choices": choices,
    });
    if !usage.is_null() {
        event["usage"] = usage.clone();
    }
    format!("data: {event}\n\n")
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 210,
        "completion_tokens": EVENTS,
        "total_tokens": 210 + EVENTS,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

/// Makes a body of [`BODY_BYTES`] by giving it a text of the right length.
fn padded(body: impl Fn(&str) -> Value) -> String {
    let least = body("").to_string().len();
    body(&words(BODY_BYTES - least)).to_string()
}

fn head(content_type: &str, framing: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n\
         content-type: {content_type}\r\n\
         {framing}\r\n\
         x-request-id: req_bench\r\n\
         openai-organization: bench\r\n\
         openai-processing-ms: 1\r\n\
         openai-version: 2020-10-01\r\n\
         x-ratelimit-limit-requests: 30000\r\n\
         x-ratelimit-remaining-requests: 29999\r\n\
         x-ratelimit-limit-tokens: 150000000\r\n\
         x-ratelimit-remaining-tokens: 149999999\r\n\r\n"
    )
}

/// Frames a piece of a body for chunked transfer.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Returns text of words of about natural length.
fn words(length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    let mut number = 1_u32;
    while text.len() < length {
        // Texts that differ from word to word, always the same.
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = write!(text, "w{:x} ", number >> 16);
    }
    text.truncate(length);
    text
}
