//! Calls as bytes on a socket, answers as they came, and what the ledger says of each.
//!
//! A socket shows what a client library hides: where an answer was cut, whether it ended as its
//! framing says, and what happens to a request that no library would send.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fisc::Facts;
use fisc::core::{Amount, HoldId};
use fisc_gateway::{Credential, Gateway, Keyring, Parts, Policy, Provider, Upstream};
use fisc_ledger::{Entry, Reader};
use fisc_llm::PriceBook;
use fisc_rehearsal::{TruthRecord, Wire};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{House, ROOT};

/// Prices in whole dollars a million tokens, so that a token costs 1,000 times as many
/// nano-dollars and a test can price a call without the product's arithmetic.
pub(crate) const PRICES: &str = r#"
[[model]]
match = "*"
input = "3"
cache_read = "1"
cache_write_5m = "4"
cache_write_1h = "6"
output = "15"
"#;

/// How long anything on loopback may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// One call, named so that the provider's record and the ledger's entry can be found again.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) wire: Wire,
    pub(crate) stream: bool,
    pub(crate) name: String,
    /// What the rehearsal is told to play.
    pub(crate) directions: String,
    pub(crate) max_tokens: u64,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub(crate) whole: bool,
}

/// How the ledger says that a hold ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// What was held, extensions included.
    pub(crate) held: Amount,
    /// What was charged; nothing for a void.
    pub(crate) charged: Amount,
    /// What is known of a call that was charged, or nothing when it was voided.
    pub(crate) facts: Option<Facts>,
}

// === impl Ask ===

impl Ask {
    pub(crate) fn new(wire: Wire, stream: bool, name: &str, directions: &str) -> Ask {
        Ask {
            wire,
            stream,
            name: name.to_owned(),
            directions: directions.to_owned(),
            max_tokens: 200,
        }
    }

    pub(crate) fn capped(self, max_tokens: u64) -> Ask {
        Ask { max_tokens, ..self }
    }

    /// Returns the same call without a stream.
    pub(crate) fn unstreamed(&self) -> Ask {
        Ask {
            stream: false,
            ..self.clone()
        }
    }

    pub(crate) fn body(&self) -> String {
        let prompt = format!(
            "Say something [[rehearsal {}]] {}",
            self.directions, self.name
        );
        let mut body = json!({
            "max_tokens": self.max_tokens,
            "stream": self.stream,
            "messages": [{ "role": "user", "content": prompt }],
        });
        match self.wire {
            Wire::OpenAi => {
                body["model"] = json!("gpt-4o-mini");
                body["user"] = json!(self.name);
            }
            Wire::Anthropic => {
                body["model"] = json!("claude-sonnet-4-5");
                body["metadata"] = json!({ "user_id": self.name });
            }
        }
        body.to_string()
    }

    /// Returns the path below a caller's base: the call's name is its operation.
    pub(crate) fn path(&self, house: &House) -> String {
        let base = house.base(&format!("tester/o/{}", self.name));
        match self.wire {
            Wire::OpenAi => format!("{base}/v1/chat/completions"),
            Wire::Anthropic => format!("{base}/v1/messages"),
        }
    }

    /// Returns the whole request to a house's gateway.
    pub(crate) fn request(&self, house: &House) -> Vec<u8> {
        post(&self.path(house), &[], self.body().as_bytes())
    }

    /// Makes the call and reads all of the answer.
    pub(crate) async fn call(&self, house: &House) -> Seen {
        exchange(house.gateway.addr(), &self.request(house)).await
    }

    /// Makes the call at the provider itself.
    pub(crate) async fn direct(&self, house: &House) -> Seen {
        let path = match self.wire {
            Wire::OpenAi => "/v1/chat/completions",
            Wire::Anthropic => "/v1/messages",
        };
        let key = [("x-api-key", "sk-direct")];
        let request = post(path, &key, self.body().as_bytes());
        exchange(house.rehearsal.address(), &request).await
    }

    /// Returns the text that a client has of an answer, of complete events alone.
    pub(crate) fn text(&self, body: &[u8]) -> String {
        if !self.stream {
            let Ok(body) = serde_json::from_slice::<Value>(body) else {
                return String::new();
            };
            let text = match self.wire {
                Wire::OpenAi => &body["choices"][0]["message"]["content"],
                Wire::Anthropic => &body["content"][0]["text"],
            };
            return text.as_str().unwrap_or_default().to_owned();
        }
        let pieces = events(body).into_iter().map(|event| {
            let text = match self.wire {
                Wire::OpenAi => event["choices"][0]["delta"]["content"].as_str(),
                Wire::Anthropic => event["delta"]["text"].as_str(),
            };
            text.unwrap_or_default().to_owned()
        });
        pieces.collect()
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Returns the code of a refusal, wherever its wire puts it.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["error"];
        let code = error["code"].as_str();
        let code = code.or(error["details"]["error_code"].as_str());
        code.unwrap_or_default().to_owned()
    }

    /// Reads an answer from its bytes, as many of them as there are; `None` while its head is
    /// not whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Seen> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut seen = Seen {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
            whole: false,
        };
        if seen.header("transfer-encoding") == Some("chunked") {
            (seen.body, seen.whole) = unchunk(&seen.body);
        } else if let Some(length) = seen.header("content-length") {
            let length: usize = length.parse().expect("a number");
            seen.whole = seen.body.len() >= length;
            seen.body.truncate(length);
        }
        Some(seen)
    }
}

/// Returns the bytes of a POST of JSON.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let usual = [
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("content-length", &length),
    ];
    request("POST", path, &[&usual, headers].concat(), body)
}

/// Returns the bytes of any request; a `host` among the headers replaces the usual one.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text += "host: localhost\r\n";
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Connects and sends.
pub(crate) async fn send(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(to).await.expect("it listens");
    socket.set_nodelay(true).expect("a socket");
    socket.write_all(bytes).await.expect("it reads");
    socket
}

/// Sends and reads one answer.
pub(crate) async fn exchange(to: SocketAddr, bytes: &[u8]) -> Seen {
    let mut socket = send(to, bytes).await;
    answer(&mut socket).await
}

/// Reads one answer, or as much as comes of it.
pub(crate) async fn answer(socket: &mut TcpStream) -> Seen {
    let mut bytes = Vec::new();
    let reading = async {
        let mut piece = vec![0; 64 << 10];
        loop {
            let seen = Seen::read(&bytes);
            if seen.as_ref().is_some_and(|seen| seen.whole) {
                return seen;
            }
            match socket.read(&mut piece).await {
                Ok(0) | Err(_) => return seen,
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, reading).await;
    seen.expect("an answer comes in time")
        .expect("an answer has a head")
}

/// Reads until `bytes` have come or the answer is whole; returns what came.
pub(crate) async fn read_some(socket: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut piece = vec![0; 16 << 10];
        while all.len() < bytes && !Seen::read(&all).is_some_and(|seen| seen.whole) {
            let most = piece.len().min(bytes - all.len());
            match socket.read(&mut piece[..most]).await {
                Ok(0) | Err(_) => break,
                Ok(length) => all.extend_from_slice(&piece[..length]),
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("an answer comes in time");
    all
}

/// Returns the parsed events of a stream, complete ones alone, without `[DONE]`.
pub(crate) fn events(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let Some((complete, _)) = text.rsplit_once("\n\n") else {
        return Vec::new();
    };
    let data = complete
        .split("\n\n")
        .filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}")))
        .collect()
}

/// Returns how every hold ended, by the name of its operation, once all is written; checks that
/// each ended exactly once.
pub(crate) async fn ended(house: &House) -> HashMap<String, Vec<Ended>> {
    house.check_books().await;
    let ledger = house.ledger.as_deref().expect("this house keeps a ledger");
    read_ended(ledger)
}

/// Reads how every hold ended from a ledger that is not written meanwhile.
pub(crate) fn read_ended(ledger: &Path) -> HashMap<String, Vec<Ended>> {
    let reader = Reader::open(ledger).expect("a ledger opens beside its writer");
    let mut open: HashMap<HoldId, (String, Amount)> = HashMap::new();
    let mut ended: HashMap<String, Vec<Ended>> = HashMap::new();
    let mut last = 0;
    loop {
        let rows = reader.entries(last, 4096).expect("entries are readable");
        let Some(row) = rows.last() else { break };
        last = row.seq;
        for row in rows {
            let (id, charged, facts) = match row.entry {
                Entry::Hold {
                    id, amount, call, ..
                } => {
                    let fresh = open.insert(id, (call.operation.to_string(), amount));
                    assert!(fresh.is_none(), "a hold is taken once");
                    continue;
                }
                Entry::Extend { id, by } => {
                    let (_, held) = open.get_mut(&id).expect("an open hold is extended");
                    *held = held.saturating_add(by);
                    continue;
                }
                Entry::Settle {
                    id, amount, facts, ..
                } => (id, amount, Some(*facts)),
                Entry::Void { id, .. } => (id, Amount::ZERO, None),
                _ => continue,
            };
            let (name, held) = open.remove(&id).expect("a hold ends exactly once");
            let end = Ended {
                held,
                charged,
                facts,
            };
            ended.entry(name).or_default().push(end);
        }
    }
    assert!(open.is_empty(), "no hold stays open");
    ended
}

/// Returns what a call truly cost in nano-dollars at [`PRICES`].
pub(crate) fn nanos(truth: &TruthRecord) -> i64 {
    let truth = &truth.canonical;
    let dollars = 3 * truth.input
        + truth.cache_read
        + 4 * truth.cache_write_5m
        + 6 * truth.cache_write_1h
        + 15 * truth.output_total();
    1_000 * dollars as i64
}

/// Takes the chunks' frames off; says whether the last chunk came.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = find(bytes, b"\r\n") else {
            return (body, false);
        };
        let size = String::from_utf8_lossy(&bytes[..line]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).expect("a size in hexadecimal");
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (body, bytes.starts_with(b"\r\n"));
        }
        body.extend_from_slice(&bytes[..size.min(bytes.len())]);
        if bytes.len() < size + 2 {
            return (body, false);
        }
        bytes = &bytes[size + 2..];
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

// === a provider of one answer ===

/// A provider that answers everybody with the same bytes and hangs up, and keeps what it got.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
    serving: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Into<Vec<u8>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (answer, got) = (answer.into(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let requests = Arc::clone(&got);
        let serving = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = whole_request(&mut socket).await;
                requests
                    .lock()
                    .expect("no test panics with it")
                    .push(request);
                // A gateway that has left is no failure of its provider.
                let _ = socket.write_all(&answer).await;
                let _ = socket.shutdown().await;
            }
        });
        Fake {
            address,
            got,
            serving,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests so far, byte for byte.
    pub(crate) fn got(&self) -> Vec<Vec<u8>> {
        self.got.lock().expect("no test panics with it").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns the bytes of an answer of a given type.
pub(crate) fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    [text.as_bytes(), b"connection: close\r\n\r\n", body].concat()
}

/// Another gateway over a house's budgets.
pub(crate) struct Beside {
    pub(crate) keyring: Keyring,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) prices: PriceBook,
    pub(crate) policy: Policy,
}

// === impl Beside ===

impl Beside {
    /// One upstream for each provider at `base`, [`PRICES`], and the house's own callers.
    pub(crate) fn new(house: &House, base: &str, credential: &Credential) -> Beside {
        let upstream = |provider| Upstream::new(provider, base, credential).expect("a plain URL");
        Beside {
            keyring: Keyring::new().with_run(&house.secret, ROOT),
            upstreams: vec![upstream(Provider::OpenAi), upstream(Provider::Anthropic)],
            prices: PriceBook::with_overlay(PRICES).expect("valid prices"),
            policy: Policy::default(),
        }
    }

    pub(crate) async fn start(self, house: &House) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let parts = Parts {
            listener,
            hosts: Vec::new(),
            keyring: self.keyring,
            upstreams: self.upstreams,
            prices: self.prices,
            policy: self.policy,
            webhooks: Vec::new(),
            taught_by: Vec::new(),
        };
        Gateway::start(parts, house.fisc.clone()).expect("a gateway starts")
    }
}

/// Starts another gateway over a house's budgets, with one upstream for each provider at `base`.
pub(crate) async fn gateway_to(house: &House, base: &str, credential: &Credential) -> Gateway {
    Beside::new(house, base, credential).start(house).await
}

/// Reads a request whose body has a declared length.
pub(crate) async fn whole_request(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = socket.read(&mut piece).await.unwrap_or(0);
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = find(&bytes, b"\r\n\r\n") else {
            assert!(
                length > 0,
                "half a request: {:?}",
                String::from_utf8_lossy(&bytes)
            );
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let declared = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let declared: usize = declared.map_or(0, |text| text.trim().parse().expect("a number"));
        if bytes.len() >= end + 4 + declared || length == 0 {
            return bytes;
        }
    }
}
