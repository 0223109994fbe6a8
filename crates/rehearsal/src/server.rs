//! The running rehearsal: listens, routes, and owns what calls share.

mod control;
mod generate;
mod reply;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Player;
use crate::cache::PromptCache;
use crate::draw::{self, Draw};
use crate::request::Reject;
use crate::settings::Settings;
use crate::truth::{TruthLog, TruthRecord, Wire};

/// The longest body that is read, in bytes, as the real services have it.
const BODY_BYTES_MAX: usize = 32 << 20;
/// How long a connection may be silent between requests, or slow within a head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long to wait after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);

/// A running scripted provider; stops when it is dropped.
///
/// See the crate's documentation for what it speaks.
#[derive(Debug)]
pub struct Rehearsal {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What calls share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    log: Arc<TruthLog>,
    cache: Mutex<PromptCache>,
    /// How often each body came, kept only while faults are drawn.
    repeats: Mutex<HashMap<u64, u64>>,
    /// How many request ids were given out.
    ids: AtomicU64,
}

/// A call whose body was read.
struct Arrival {
    wire: Wire,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    key: Option<String>,
}

// === impl Rehearsal ===

impl Rehearsal {
    /// Starts a rehearsal on the current Tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, or the truth file cannot be opened.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(settings: Settings) -> io::Result<Rehearsal> {
        let listener = TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let log = Arc::new(TruthLog::open(settings.truth_file.as_deref())?);
        let shared = Arc::new(Shared {
            settings,
            log,
            cache: Mutex::default(),
            repeats: Mutex::default(),
            ids: AtomicU64::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Rehearsal {
            address,
            shared,
            accepting,
        })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its root as a URL without a final slash: what `ANTHROPIC_BASE_URL` takes.
    /// `OPENAI_BASE_URL` takes the same with `/v1` added.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all records so far, in the order of arrival.
    pub fn truth(&self) -> Vec<TruthRecord> {
        self.shared.log.after(0)
    }

    /// Stops at once: connections break, and running calls get their final records.
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        // The task's result only says that it was aborted.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Shared ===

impl Shared {
    /// Returns how often a body came before.
    fn repeats(&self, hash: u64) -> u64 {
        if self.settings.faults.is_empty() {
            return 0;
        }
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let count = repeats.entry(hash).or_default();
        *count += 1;
        *count - 1
    }

    /// Returns a new request id in the wire's form.
    fn request_id(&self, wire: Wire) -> String {
        let nonce = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut draw = Draw::new(draw::mix(self.settings.seed, nonce));
        match wire {
            Wire::OpenAi => format!("req_{}", draw.name("0123456789abcdef", 32)),
            Wire::Anthropic => {
                format!("req_01{}", draw.name("ABCDEFGHJKMNPQRSTUVWXYZ23456789", 22))
            }
        }
    }

    fn reset(&self) {
        self.log.reset();
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reset();
        self.repeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Accepts connections until it is aborted; they end with it.
async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // Forgets the connections that are over.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "the rehearsal could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the rehearsal's writes may be delayed");
    }
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(route(&shared, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(error, "a connection to the rehearsal broke");
    }
}

async fn route(shared: &Shared, request: Request<Incoming>) -> Response<Player> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let short = path.strip_prefix("/v1").unwrap_or(&path);
    if let Some(command) = path.strip_prefix("/rehearsal/") {
        return control::answer(shared, command, &method, request.uri().query());
    }
    match (method, short) {
        (Method::GET | Method::HEAD, "/" | "") => reply::root(),
        (Method::GET, "/models") => control::models(request.headers()),
        (Method::GET, model) if model.starts_with("/models/") => {
            control::model(request.headers(), &model["/models/".len()..])
        }
        (Method::POST, "/chat/completions") => call(shared, request, Wire::OpenAi).await,
        (Method::POST, "/messages" | "/messages/count_tokens") => {
            call(shared, request, Wire::Anthropic).await
        }
        (method, _) => {
            let wire = control::wire(request.headers());
            let message = format!("Invalid URL ({method} {path})");
            let reject = Reject {
                status: 404,
                ..Reject::invalid(message)
            };
            let arrival = Arrival::new(wire, &request, Bytes::new());
            generate::refuse(shared, &arrival, &reject)
        }
    }
}

async fn call(shared: &Shared, mut request: Request<Incoming>, wire: Wire) -> Response<Player> {
    let body = Limited::new(request.body_mut(), BODY_BYTES_MAX)
        .collect()
        .await;
    let (body, problem) = match body {
        Ok(body) => (body.to_bytes(), None),
        Err(error) => (Bytes::new(), Some(error)),
    };
    let arrival = Arrival::new(wire, &request, body);
    if let Some(error) = problem {
        let status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
        let message = format!("The body could not be read: {error}");
        let reject = Reject {
            status,
            kind: "request_too_large",
            ..Reject::invalid(message)
        };
        return generate::refuse(shared, &arrival, &reject);
    }
    generate::answer(shared, &arrival).await
}

// === impl Arrival ===

impl Arrival {
    fn new(wire: Wire, request: &Request<Incoming>, body: Bytes) -> Arrival {
        Arrival {
            wire,
            path: request.uri().path().to_owned(),
            headers: request.headers().clone(),
            key: key(request.headers()),
            body,
        }
    }
}

/// Returns the key of a call, wherever clients put it.
fn key(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let key = bearer
        .or_else(|| text("x-api-key"))
        .or_else(|| text("api-key"))?;
    (!key.is_empty()).then(|| key.to_owned())
}
