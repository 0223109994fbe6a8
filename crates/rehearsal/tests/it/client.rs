//! A small client for the tests: whole answers, parsed streams, raw sockets.

use fisc_rehearsal::{Rehearsal, Settings, TruthRecord};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};
use hyper_util::client::legacy::{Builder, Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A rehearsal and a client of it.
pub(crate) struct Stage {
    pub(crate) rehearsal: Rehearsal,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub(crate) whole: bool,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: String,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(Settings::instant())
    }

    pub(crate) fn with(settings: Settings) -> Stage {
        let rehearsal = Rehearsal::start(settings).expect("a free port");
        Stage {
            rehearsal,
            http: Builder::new(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [
            ("authorization", "Bearer sk-test-1234"),
            ("anthropic-version", "2023-06-01"),
        ];
        self.send(Method::POST, path, &headers, body.to_string())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], String::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let url = format!("{}{path}", self.rehearsal.url());
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let response = self.http.request(request).await.expect("a response");
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().expect("data only")),
                Err(_) => whole = false,
            }
        }
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            whole,
        }
    }

    /// Sends an `OpenAI` call to `model` with these other fields.
    pub(crate) async fn chat(&self, model: &str, prompt: &str, more: Value) -> Answer {
        self.post("/v1/chat/completions", &chat(model, prompt, more))
            .await
    }

    /// Sends an Anthropic call with these other fields.
    pub(crate) async fn message(&self, prompt: &str, more: Value) -> Answer {
        self.post("/v1/messages", &message(prompt, more)).await
    }

    /// Opens a connection, sends a call and returns the socket.
    pub(crate) async fn raw(&self, path: &str, body: &Value) -> TcpStream {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: k-5678\r\nanthropic-version: 1\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(self.rehearsal.address())
            .await
            .expect("it listens");
        socket
            .write_all((head + &body).as_bytes())
            .await
            .expect("it reads");
        socket
    }

    /// Returns the last record once it is final.
    pub(crate) async fn last(&self) -> TruthRecord {
        for _ in 0..1_000 {
            let last = self.rehearsal.truth().pop().expect("a record");
            if last.ended_ms.is_some() {
                return last;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the last record never became final");
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let text = self.text().replace("\r\n", "\n");
        let events = text.split_terminator("\n\n").map(|block| {
            let field = |start| {
                block
                    .lines()
                    .find_map(|line: &str| line.strip_prefix(start))
            };
            Event {
                name: field("event: ").map(str::to_owned),
                data: field("data: ").unwrap_or_default().to_owned(),
            }
        });
        events.collect()
    }

    /// Returns the parsed events, without `[DONE]`.
    pub(crate) fn data(&self) -> Vec<Value> {
        let events = self.events();
        let parsed = events
            .iter()
            .filter(|event| event.data != "[DONE]")
            .map(|event| {
                serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("not JSON: {event:?}"))
            });
        parsed.collect()
    }
}

/// Reads all that comes until the other side ends or breaks.
pub(crate) async fn drain(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes).await;
    bytes
}

pub(crate) fn chat(model: &str, prompt: &str, more: Value) -> Value {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": prompt }] });
    merge(body, more)
}

pub(crate) fn message(prompt: &str, more: Value) -> Value {
    let body = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 4_000,
        "messages": [{ "role": "user", "content": prompt }],
    });
    merge(body, more)
}

fn merge(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        return body;
    };
    body.as_object_mut().expect("an object").extend(more);
    body
}
