//! A stream that is begun before its call may be made: its budget's owner was asked, and takes
//! longer than clients wait in silence.
//!
//! Until then nothing is sent, so that the status stays truthful. From then on comments keep the
//! connection alive, and whatever becomes of the call is told inside of the stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fisc_llm::Wire;
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::{HeaderMap, Response};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use super::forward::is_event_stream;
use super::identify::Identity;
use super::{Answer, Metered, read_facts, request_id, upstream_of};
use crate::body::{AnswerBody, BodyError};
use crate::refusal::{Refusal, RefusalKind};
use crate::routes::{Provider, Route};
use crate::state::State;

/// How long a begun stream is silent at most.
const BEAT: Duration = Duration::from_secs(15);

/// What keeps a stream alive: a comment, which every reader of events passes over.
const COMMENT: &[u8] = b": waiting for the owner of the budget\n\n";

/// A request whose budget's owner may be asked, all of its own.
pub(super) struct Owned {
    pub(super) state: Arc<State>,
    pub(super) identity: Identity,
    pub(super) head: request::Parts,
    pub(super) route: Route,
    pub(super) wire: Wire,
    pub(super) body: Bytes,
}

/// The frames of a begun stream.
pub(crate) type Frames = mpsc::Receiver<Result<Frame<Bytes>, BodyError>>;

// === impl Owned ===

impl Owned {
    /// Makes the call; where it streams and waits for long, its answer is begun meanwhile.
    pub(super) async fn serve(mut self) -> Result<Answer, Refusal> {
        if !read_facts(self.wire, &self.body).is_ok_and(|facts| facts.stream) {
            return self.make(None).await;
        }
        // A begun stream cannot say any more that it is compressed.
        self.head.headers.remove(ACCEPT_ENCODING);
        let long = Arc::new(Notify::new());
        let (provider, state) = (self.route.provider, Arc::clone(&self.state));
        let told = Arc::clone(&long);
        let mut made = Box::pin(async move { self.make(Some(&told)).await });
        tokio::select! {
            biased;
            answer = &mut made => answer,
            () = long.notified() => Ok(begin(&state, provider, made)),
        }
    }

    async fn make(&self, long: Option<&Notify>) -> Result<Answer, Refusal> {
        let request = Metered {
            state: &self.state,
            identity: &self.identity,
            upstream: upstream_of(&self.state, self.route.provider)?,
            head: &self.head,
            route: &self.route,
            long,
        };
        request.serve(self.wire, self.body.clone()).await
    }
}

/// Begins a stream and lets what is made of its call follow.
fn begin(
    state: &State,
    provider: Provider,
    made: impl Future<Output = Result<Answer, Refusal>> + Send + Unpin + 'static,
) -> Answer {
    let id = request_id(state);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("request-id", id.clone());
        headers.insert("x-request-id", id);
    }
    // A frame waits until the client took the one before: it reads as fast as it likes.
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(follow(frames, made, provider, id));
    let mut response = Response::new(AnswerBody::Begun(body));
    *response.headers_mut() = headers;
    response
}

/// Keeps a stream alive until its call is answered, then relays the answer. A client that leaves
/// takes a call with it that was not made yet.
async fn follow(
    frames: mpsc::Sender<Result<Frame<Bytes>, BodyError>>,
    mut made: impl Future<Output = Result<Answer, Refusal>> + Unpin,
    provider: Provider,
    id: String,
) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let made = loop {
        tokio::select! {
            biased;
            made = &mut made => break made,
            () = frames.closed() => return,
            _ = beats.tick() => {
                // A client that does not read has beats enough.
                let _ = frames.try_send(Ok(Frame::data(Bytes::from_static(COMMENT))));
            }
        }
    };
    let answer = match made {
        Ok(answer) => answer,
        Err(refusal) => {
            tracing::info!(reason = refusal.code(), "refused");
            refusal.into_response(provider, &id).map(AnswerBody::from)
        }
    };
    let streams = answer.status().is_success() && is_event_stream(answer.headers());
    let mut body = answer.into_body();
    if !streams {
        let whole = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let event = error_event(provider, &whole.unwrap_or_default(), &id);
        let _ = frames.send(Ok(Frame::data(event))).await;
        return;
    }
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = frames.closed() => return,
        };
        let Some(frame) = frame else { return };
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// Writes an answer that is no stream as the event by which the wire ends one in error.
fn error_event(provider: Provider, body: &[u8], id: &str) -> Bytes {
    let error = serde_json::from_slice::<Value>(body).ok();
    let error = error.filter(|value| value.get("error").is_some());
    let error = error.map_or_else(
        || {
            let refusal = Refusal::new(RefusalKind::UpstreamBroken);
            let refusal = refusal.with_detail("its answer was no stream");
            let body = refusal.into_response(provider, id).into_body();
            String::from_utf8_lossy(&body).into_owned()
        },
        |value| value.to_string(),
    );
    Bytes::from(match provider {
        Provider::OpenAi => format!("data: {error}\n\n"),
        Provider::Anthropic => format!("event: error\ndata: {error}\n\n"),
    })
}
