//! The team's client: plain HTTP, both wires, streams and not, and a retry or two.

use std::env;
use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Builder};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::Role;

const TRIES: u32 = 4;
const RETRY_WAIT: Duration = Duration::from_millis(500);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
const MAX_TOKENS: u64 = 400;

/// A service that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    OpenAi,
    Anthropic,
}

/// What a call brought.
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) tokens: u64,
}

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// A budget refused it (HTTP 402).
    Budget(String),
    /// Something else.
    Other(String),
}

/// Where to ask, and with which keys.
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    openai: String,
    anthropic: Option<String>,
    openai_key: String,
    anthropic_key: String,
}

// === impl Problem ===

impl Problem {
    /// Says whether a budget is the reason.
    pub(super) fn is_budget(&self) -> bool {
        matches!(self, Problem::Budget(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Budget(message) => write!(out, "refused with 402: {message}"),
            Problem::Other(message) => write!(out, "failed: {message}"),
        }
    }
}

// === impl Client ===

impl Client {
    pub(super) fn new(openai: &str, anthropic: Option<&str>) -> Client {
        let key = |name: &str| env::var(name).unwrap_or_else(|_| "sk-rehearsal-team".to_owned());
        Client {
            http: Builder::new(TokioExecutor::new()).build_http(),
            openai: openai.trim_end_matches('/').to_owned(),
            anthropic: anthropic.map(|base| base.trim_end_matches('/').to_owned()),
            openai_key: key("OPENAI_API_KEY"),
            anthropic_key: key("ANTHROPIC_API_KEY"),
        }
    }

    /// Asks the service of `role`, or the one there is, with all that was `said`.
    pub(super) async fn ask(
        &self,
        role: &Role,
        operation: &str,
        said: &[(&'static str, String)],
    ) -> Result<Reply, Problem> {
        let (service, model) = match (role.service, &self.anthropic) {
            (Service::Anthropic, None) => (Service::OpenAi, "gpt-4o-mini"),
            (service, _) => (service, role.model),
        };
        let body = body(service, model, role, said);
        let mut problem = Problem::Other("never tried".to_owned());
        for try_number in 0..TRIES {
            if try_number > 0 {
                tracing::debug!(%problem, "the team tries again");
            }
            let wait = match self.once(service, role, operation, body.clone()).await {
                Ok(reply) => return Ok(reply),
                Err((failure, None)) => return Err(failure),
                Err((failure, Some(wait))) => {
                    problem = failure;
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
        Err(problem)
    }

    /// Asks once; a failure comes with how long to wait where another try makes sense.
    async fn once(
        &self,
        service: Service,
        role: &Role,
        operation: &str,
        body: Bytes,
    ) -> Result<Reply, (Problem, Option<Duration>)> {
        let broken =
            |error: &dyn fmt::Display| (Problem::Other(error.to_string()), Some(RETRY_WAIT));
        let request = self.request(service, role.name, operation, body);
        let request = request.map_err(|error| (Problem::Other(error.to_string()), None))?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| broken(&error))?
            .to_bytes();
        if head.status == StatusCode::OK {
            let reply = if role.stream {
                streamed(&body)
            } else {
                whole(&body)
            };
            return reply.ok_or_else(|| broken(&"the answer was not understood"));
        }
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = parsed["error"]["message"]
            .as_str()
            .unwrap_or("no message")
            .to_owned();
        let status = head.status.as_u16();
        Err(match status {
            402 => (Problem::Budget(message), None),
            408 | 409 | 429 | 500.. => {
                let wait = retry_after(&head.headers).unwrap_or(RETRY_WAIT);
                (
                    Problem::Other(format!("{status}: {message}")),
                    Some(wait.min(RETRY_WAIT_MAX)),
                )
            }
            _ => (Problem::Other(format!("{status}: {message}")), None),
        })
    }

    fn request(
        &self,
        service: Service,
        agent: &str,
        operation: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let request = match service {
            Service::OpenAi => Request::post(format!("{}/chat/completions", self.openai))
                .header("authorization", format!("Bearer {}", self.openai_key)),
            Service::Anthropic => {
                let base = self.anthropic.as_deref().unwrap_or(&self.openai);
                Request::post(format!("{base}/v1/messages"))
                    .header("x-api-key", &self.anthropic_key)
                    .header("anthropic-version", "2023-06-01")
            }
        };
        request
            .header("content-type", "application/json")
            .header("fisc-agent", agent)
            .header("fisc-op", operation)
            .body(Full::new(body))
    }
}

fn body(service: Service, model: &str, role: &Role, said: &[(&'static str, String)]) -> Bytes {
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let mut messages: Vec<Value> = said
        .iter()
        .map(|(role, content)| message(role, content))
        .collect();
    let body = match service {
        Service::OpenAi => {
            messages.insert(0, message("system", role.system));
            let mut body = json!({
                "model": model,
                "max_tokens": MAX_TOKENS,
                "messages": messages,
                "user": role.name,
            });
            if role.stream {
                body["stream"] = json!(true);
                body["stream_options"] = json!({ "include_usage": true });
            }
            body
        }
        Service::Anthropic => json!({
            "model": model,
            "max_tokens": MAX_TOKENS,
            "system": role.system,
            "messages": messages,
            "metadata": { "user_id": role.name },
            "stream": role.stream,
        }),
    };
    Bytes::from(body.to_string())
}

fn whole(body: &[u8]) -> Option<Reply> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = match answer["choices"][0]["message"]["content"].as_str() {
        Some(text) => text.to_owned(),
        None => answer["content"]
            .as_array()?
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
    };
    Some(Reply {
        text,
        tokens: tokens(&answer["usage"]),
    })
}

/// Reads a stream that was received to its end, and says nothing of one that was not.
fn streamed(body: &[u8]) -> Option<Reply> {
    let (mut text, mut input, mut total, mut ended) = (String::new(), 0, 0, false);
    for line in std::str::from_utf8(body).ok()?.lines() {
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        if data == "[DONE]" {
            ended = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).ok()?;
        if !event["error"].is_null() {
            return None;
        }
        let piece = event["choices"][0]["delta"]["content"].as_str();
        text.push_str(
            piece
                .or_else(|| event["delta"]["text"].as_str())
                .unwrap_or_default(),
        );
        match event["type"].as_str() {
            Some("message_start") => {
                let usage = &event["message"]["usage"];
                input = tokens(usage) - usage["output_tokens"].as_u64().unwrap_or(0);
            }
            Some("message_delta") => {
                total = input + event["usage"]["output_tokens"].as_u64().unwrap_or(0);
            }
            Some("message_stop") => ended = true,
            _ => total = total.max(tokens(&event["usage"])),
        }
    }
    ended.then_some(Reply {
        text,
        tokens: total,
    })
}

/// Sums a usage of either wire.
fn tokens(usage: &Value) -> u64 {
    const PARTS: [&str; 4] = [
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
    ];

    let sum = || PARTS.iter().filter_map(|part| usage[*part].as_u64()).sum();
    usage["total_tokens"].as_u64().unwrap_or_else(sum)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
