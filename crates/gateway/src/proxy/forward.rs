//! Forward: the request to the upstream, byte for byte but for the edits, and its answer's head.
//!
//! A call is sent once. Only what certainly never left is tried again, and that by the
//! connection pool, for a kept-alive connection that its server had closed already.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Response};

use crate::state::State;
use crate::upstream::Upstream;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ForwardError {
    /// The request cannot be put into a URL; the caller's fault, nothing was sent.
    BadUri,
    /// The upstream could not be reached; nothing was sent.
    Unreachable(String),
    /// The connection broke after the request may have been sent.
    Broken(String),
}

/// Makes the request for an upstream from the caller's.
pub(crate) fn prepare(
    upstream: &Upstream,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ForwardError> {
    let mut request = Request::new(Full::new(body));
    *request.uri_mut() = upstream.uri(path).map_err(|_| ForwardError::BadUri)?;
    *request.method_mut() = method.clone();
    *request.headers_mut() = upstream.headers(headers);
    Ok(request)
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn forward(
    state: &State,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ForwardError> {
    state.client.request(request).await.map_err(|error| {
        let text = describe(&error);
        if error.is_connect() {
            ForwardError::Unreachable(text)
        } else {
            ForwardError::Broken(text)
        }
    })
}

/// Says whether an answer is a stream of events that can be metered.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}

/// Says whether an answer came compressed although we asked for none.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// An error with its causes, since the outermost one only says that something failed.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
