//! The request and the answers of the benchmark: what an OpenAI SDK sends, what OpenAI answers.
//!
//! Each is made once and sent as it is. The request names no cap on its output, as most programs
//! do not, and a stream does not ask for its usage: both are then the gateway's to add.

use std::fmt::Write;
use std::net::SocketAddr;

/// Events of text in a stream.
pub(super) const EVENTS: usize = 50;

/// How long the JSON of a request and of a whole answer is, about.
const BODY_BYTES: usize = 1024;

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
    let stream = if mode == Mode::Stream {
        r#""stream":true,"#
    } else {
        ""
    };
    let start = format!(
        r#"{{"model":"gpt-4o-mini",{stream}"temperature":0.2,"messages":[{{"role":"system","content":"You are a careful assistant."}},{{"role":"user","content":""#
    );
    let end = r#""}]}"#;
    let text = words(BODY_BYTES - start.len() - end.len());
    let body = format!("{start}{text}{end}");
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
    let start = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":""#;
    let end = format!(
        r#"","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],{},"service_tier":"default","system_fingerprint":"fp_bench"}}"#,
        usage()
    );
    let text = words(BODY_BYTES - start.len() - end.len());
    let body = format!("{start}{text}{end}");
    let length = body.len();
    let head = head("application/json", &format!("content-length: {length}"));
    format!("{head}{body}").into_bytes()
}

/// Returns the upstream's answer as a stream.
pub(super) fn stream_answer() -> StreamAnswer {
    let event = chunk(&event(r#"{"content":" token"}"#, "null"));
    let finish = self::event("{}", r#""stop""#);
    let usage = format!("data: {{{START},\"choices\":[],{}}}\n\n", usage());
    let done = "data: [DONE]\n\n";
    let first = head("text/event-stream", "transfer-encoding: chunked");
    let first = format!(
        "{first}{}",
        chunk(&self::event(r#"{"role":"assistant","content":""}"#, "null"))
    );
    StreamAnswer {
        first: first.into_bytes(),
        event: event.into_bytes(),
        last: format!("{}0\r\n\r\n", chunk(&format!("{finish}{usage}{done}"))).into_bytes(),
        last_without_usage: format!("{}0\r\n\r\n", chunk(&format!("{finish}{done}"))).into_bytes(),
    }
}

const START: &str = r#""id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_bench""#;

fn event(delta: &str, finish: &str) -> String {
    format!(
        "data: {{{START},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn usage() -> String {
    format!(
        r#""usage":{{"prompt_tokens":210,"completion_tokens":{EVENTS},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        210 + EVENTS
    )
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
