//! A small HTTP/1.1 client for servers on loopback: plain JSON requests, streamed answers that
//! can be dropped at any byte, one pool of kept connections.
//!
//! It never retries, follows no redirect and has no opinion about a status.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client of one server. Clones share its pool, which has no limit.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    headers: Vec<(String, String)>,
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, in the order of arrival; names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// An answer whose body is still to be read. Dropping it closes the connection at once, unless
/// the body was read to its end.
#[derive(Debug)]
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// The headers, in the order of arrival; names are in lower case.
    pub headers: Vec<(String, String)>,
    body: Incoming,
}

/// Says that no whole answer came; the text says at which step.
#[derive(Debug)]
pub struct Broken(String);

// === impl Client ===

impl Client {
    /// Makes a client of the server at `address`.
    pub fn new(address: SocketAddr) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .retry_canceled_requests(false)
            .build(connector);
        Client {
            address,
            headers: Vec::new(),
            inner,
        }
    }

    /// Returns the same client with a header on each of its requests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Client {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gets `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, Broken> {
        self.send(Method::GET, path, &[], Bytes::new())
            .await?
            .whole()
            .await
    }

    /// Posts a JSON text to `path` with `headers` besides the client's own, and reads all of the
    /// answer.
    pub async fn post_json(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Broken> {
        self.post_streaming(path, headers, body)
            .await?
            .whole()
            .await
    }

    /// Posts a JSON text as [`Client::post_json`] does, and returns when the answer's headers
    /// have come.
    pub async fn post_streaming(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Streaming, Broken> {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send(Method::POST, path, &headers, body.into()).await
    }

    /// Sends any request. A `host` among the headers replaces the address.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Streaming, Broken> {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| broken("the request", &e))?;
        let answer = self
            .inner
            .request(request)
            .await
            .map_err(|e| broken("the answer", &e))?;
        Ok(Streaming::new(answer))
    }
}

// === impl Streaming ===

impl Streaming {
    fn new(answer: Response<Incoming>) -> Streaming {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let headers = headers.collect();
        let status = answer.status().as_u16();
        Streaming {
            status,
            headers,
            body: answer.into_body(),
        }
    }

    /// Returns the next piece of the body as it arrived, or nothing at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| broken("the body", &e))?;
            // Trailers are no data.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads until at least `bytes` of the body have come or it ends, hangs up, and returns what
    /// came, cut to `bytes`.
    pub async fn drop_after(mut self, bytes: usize) -> Result<Bytes, Broken> {
        let mut read = BytesMut::new();
        while read.len() < bytes {
            match self.piece().await? {
                Some(piece) => read.extend_from_slice(&piece),
                None => break,
            }
        }
        read.truncate(bytes);
        Ok(read.freeze())
    }

    /// Reads the rest of the body.
    pub async fn whole(self) -> Result<Answer, Broken> {
        let Streaming {
            status,
            headers,
            body,
        } = self;
        let body = body
            .collect()
            .await
            .map_err(|e| broken("the body", &e))?
            .to_bytes();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Returns a header's value; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

// === impl Answer ===

impl Answer {
    /// Returns a header's value; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body as JSON.
    ///
    /// # Panics
    /// When it is none; the message holds the body.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("status {}, no JSON ({error}): {}", self.status, self.text()),
        }
    }

    /// Returns itself after checking that the status is 200.
    ///
    /// # Panics
    /// When it is another; the message holds the body.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "the check is what is wanted"
    )]
    #[track_caller]
    pub fn ok(self) -> Answer {
        assert_eq!(self.status, StatusCode::OK.as_u16(), "{}", self.text());
        self
    }
}

// === impl Broken ===

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

fn broken(step: &str, error: &dyn std::error::Error) -> Broken {
    let mut text = format!("{step} failed: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Broken(text)
}
