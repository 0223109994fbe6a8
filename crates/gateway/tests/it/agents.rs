//! Clients that behave as agents with an SDK do: a shared system prompt, a conversation that
//! grows or varies, and the SDKs' rule of what is tried again.

use std::time::Duration;

use fisc_rehearsal::Wire;
use fisc_testkit::http::{Answer, Client};
use serde_json::{Value, json};

/// What every agent is told; long enough that a call is mostly prompt.
const SYSTEM: &str = "You are one of several agents that prepare a report together. Work on your \
    own part only and keep to what the sources say. Write plain sentences without lists. Name the \
    source of every figure that you use, and say so when two sources disagree. When a question \
    cannot be answered from the sources, say what is missing instead of guessing. Do not repeat \
    what another agent wrote already. Keep each answer short enough to be read at a glance, and \
    end with the one thing that should be looked at next. Never promise work that you do not do.";
/// What the agent says in its own history; the real answer would do as well.
const SAID: &str = "The three sources agree on the trend but not on the size of it. The second \
    one is the oldest and leaves out the last quarter, which explains most of the difference.";
/// What the SDKs send along.
const HEADERS: [(&str, &str); 1] = [("anthropic-version", "2023-06-01")];
/// SDKs retry at most so often.
const RETRIES_MAX: u32 = 2;

/// What all calls of a client have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    pub(crate) wire: Wire,
    pub(crate) stream: bool,
    pub(crate) max_tokens: Option<u64>,
}

/// One agent's client.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    /// The path of its calls at the gateway.
    pub(crate) path: String,
    /// Its budget's path, which every body names for the provider's record.
    pub(crate) label: String,
    /// What tells its questions from those of others.
    pub(crate) number: usize,
    pub(crate) manner: Manner,
}

/// What came of one call, retries included.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) answer: Answer,
    /// How often it was sent.
    pub(crate) attempts: u32,
}

// === impl Agent ===

impl Agent {
    /// Makes up to `calls` calls one after the other, and stops at the first that fails.
    pub(crate) async fn work(&self, client: &Client, calls: usize) -> Vec<Called> {
        let mut all = Vec::new();
        for call in 0..calls {
            let called = self.call(client, call).await;
            let failed = called.answer.status != 200;
            all.push(called);
            if failed {
                break;
            }
        }
        all
    }

    /// Makes its call of that number, and again where an SDK would.
    pub(crate) async fn call(&self, client: &Client, call: usize) -> Called {
        let body = self.body(call);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let answer = client.post_json(&self.path, &HEADERS, body.clone()).await;
            let answer = answer.expect("the gateway answers");
            if attempts > RETRIES_MAX || !is_retried(&answer) {
                return Called { answer, attempts };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes the body of its call of that number. Every other agent keeps its conversation; the
    /// others ask each question afresh.
    pub(crate) fn body(&self, call: usize) -> String {
        let first = if self.number.is_multiple_of(2) {
            0
        } else {
            call
        };
        let mut messages = Vec::new();
        for turn in first..=call {
            if turn > first {
                messages.push(json!({ "role": "assistant", "content": SAID }));
            }
            messages.push(json!({ "role": "user", "content": self.question(turn) }));
        }
        self.request(messages).to_string()
    }

    fn question(&self, turn: usize) -> String {
        let details = " and how it changed over the years".repeat(self.number % 3);
        format!(
            "Question {turn} of agent {}: what is known of item {turn}{details}?",
            self.number
        )
    }

    fn request(&self, mut messages: Vec<Value>) -> Value {
        let Manner {
            wire,
            stream,
            max_tokens,
        } = self.manner;
        let mut body = match wire {
            Wire::OpenAi => {
                messages.insert(0, json!({ "role": "system", "content": SYSTEM }));
                json!({ "model": "gpt-4o-mini", "user": self.label })
            }
            Wire::Anthropic => json!({
                "model": "claude-sonnet-4-5",
                "metadata": { "user_id": self.label },
                "system": SYSTEM,
            }),
        };
        body["messages"] = Value::Array(messages);
        if stream {
            body["stream"] = json!(true);
        }
        if let Some(cap) = max_tokens {
            body["max_tokens"] = json!(cap);
        }
        body
    }
}

/// Writes a call on OpenAI's wire of one message, which may direct the provider.
pub(crate) fn simple(message: &str, max_tokens: Option<u64>, stream: bool) -> String {
    let messages = json!([{ "role": "user", "content": message }]);
    let mut body = json!({ "model": "gpt-4o-mini", "stream": stream, "messages": messages });
    if let Some(cap) = max_tokens {
        body["max_tokens"] = json!(cap);
    }
    body.to_string()
}

/// Checks that a refusal is final to every SDK, and of this kind.
#[track_caller]
pub(crate) fn check_final(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 402, "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
}

/// The rule of the OpenAI and Anthropic SDKs.
fn is_retried(answer: &Answer) -> bool {
    match answer.header("x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(answer.status, 408 | 409 | 429) || answer.status >= 500,
    }
}

/// Checks that a stream came to an end that the wire's clients accept.
#[track_caller]
pub(crate) fn check_ending(wire: Wire, answer: &Answer) {
    let text = answer.text();
    let end = match wire {
        Wire::OpenAi => "data: [DONE]",
        Wire::Anthropic => "event: message_stop",
    };
    let tail = &text[text.floor_char_boundary(text.len().saturating_sub(400))..];
    assert!(tail.contains(end), "the stream has no end: {tail}");
    assert!(text.ends_with("\n\n"), "the last event is cut: {tail}");
}
