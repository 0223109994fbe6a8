//! Delivery: one bounded queue and one task for each webhook, with retries in between.
//!
//! Alerts of one webhook come in their order. While one is retried, the others wait behind it; when
//! the queue is full, the oldest is dropped and counted.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fisc::Timestamp;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;

use super::address::{Refused, Resolver};
use super::message::Message;
use super::sign::signature;
use super::webhook::Webhook;
use crate::upstream::connector;

/// How many alerts wait for one webhook at most.
const QUEUE_MAX: usize = 256;

/// How often an alert is sent at most: for about three minutes.
const ATTEMPTS_MAX: u32 = 10;

/// The pause before the second attempt; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// How long a receiver may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

type Client = legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// What became of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertCounts {
    /// Taken by their receivers.
    pub delivered: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Given up after all attempts, or at once where another would be the same.
    pub failed: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
}

/// A webhook and what waits for it.
pub(super) struct Hook {
    pub(super) webhook: Webhook,
    client: Client,
    queue: Mutex<VecDeque<Message>>,
    /// Whether an alert is on its way that is no longer in the queue.
    sending: AtomicBool,
    wake: Notify,
    delivered: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Why an attempt failed.
enum Failure {
    /// Another one may succeed.
    Again(String),
    /// Another one would be the same.
    Final(String),
}

// === impl AlertCounts ===

impl AlertCounts {
    pub(super) fn and(self, other: AlertCounts) -> AlertCounts {
        AlertCounts {
            delivered: self.delivered + other.delivered,
            retried: self.retried + other.retried,
            failed: self.failed + other.failed,
            dropped: self.dropped + other.dropped,
        }
    }
}

// === impl Hook ===

impl Hook {
    pub(super) fn new(webhook: Webhook) -> Hook {
        let resolver = Resolver {
            allow_private: webhook.allow_private,
        };
        let connector = connector(HttpConnector::new_with_resolver(resolver));
        // Alerts are rare: no connection is kept for the next.
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Hook {
            webhook,
            client,
            queue: Mutex::default(),
            sending: AtomicBool::new(false),
            wake: Notify::new(),
            delivered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues an alert and returns at once.
    pub(super) fn push(&self, message: Message) {
        let mut queue = self.queue();
        if queue.len() == QUEUE_MAX {
            queue.pop_front();
            count(&self.dropped);
        }
        queue.push_back(message);
        drop(queue);
        self.wake.notify_one();
    }

    /// Says whether an alert waits or is on its way.
    pub(super) fn is_busy(&self) -> bool {
        let queue = self.queue();
        self.sending.load(Ordering::SeqCst) || !queue.is_empty()
    }

    pub(super) fn counts(&self) -> AlertCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AlertCounts {
            delivered: read(&self.delivered),
            retried: read(&self.retried),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
        }
    }

    /// Delivers what is queued, for ever.
    pub(super) async fn deliver(&self, now: impl Fn() -> Timestamp) {
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.pop_front();
                // Under the lock, so that nobody finds neither.
                self.sending.store(next.is_some(), Ordering::SeqCst);
                next
            };
            match next {
                Some(message) => self.deliver_one(&message, &now).await,
                None => self.wake.notified().await,
            }
        }
    }

    async fn deliver_one(&self, message: &Message, now: &impl Fn() -> Timestamp) {
        let host = self.webhook.uri.host().unwrap_or_default();
        for attempt in 1.. {
            let sent = tokio::time::timeout(ANSWER_MAX, self.send(message, now()));
            let failure = match sent.await {
                Ok(Ok(())) => return count(&self.delivered),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Again("no answer in time".to_owned()),
            };
            match failure {
                Failure::Again(why) if attempt < ATTEMPTS_MAX => {
                    tracing::debug!(host, attempt, why, "an alert is to be sent again");
                    tokio::time::sleep(pause(attempt)).await;
                    count(&self.retried);
                }
                Failure::Again(why) | Failure::Final(why) => {
                    tracing::warn!(host, attempt, why, "an alert was not taken");
                    return count(&self.failed);
                }
            }
        }
    }

    /// Sends an alert once. Redirects are not followed: where alerts go, the owner wrote down.
    async fn send(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let Message { id, body } = message;
        let seconds = now.0.div_euclid(1_000_000);
        let signature = signature(&self.webhook.key, id, seconds, body);
        let request = Request::post(self.webhook.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("fisc/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(Full::new(body.clone()))
            .map_err(|error| Failure::Final(error.to_string()))?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| failure(&error))?;
        // What it says beyond its status, nobody reads.
        let status = answer.status();
        match status {
            _ if status.is_success() => Ok(()),
            _ if status.is_redirection() => Err(Failure::Final(format!("{status}: not followed"))),
            StatusCode::GONE => Err(Failure::Final(status.to_string())),
            _ => Err(Failure::Again(status.to_string())),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Message>> {
        // An alert is in it as a whole or not at all.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn failure(error: &legacy::Error) -> Failure {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>();
        let why = inner.and_then(std::io::Error::get_ref);
        if why.is_some_and(<dyn Error + Send + Sync>::is::<Refused>) {
            return Failure::Final(Refused.to_string());
        }
        next = cause.source();
    }
    Failure::Again(error.to_string())
}

/// Returns the pause after some attempt: twice the one before, and up to a half shorter by chance,
/// so that not all who failed at once come back at once.
fn pause(attempt: u32) -> Duration {
    let whole = PAUSE_FIRST.saturating_mul(1 << (attempt - 1).min(16));
    let whole = whole.min(PAUSE_MAX);
    let mut drawn = [0_u8];
    // Without randomness it is the whole pause.
    let _ = getrandom::fill(&mut drawn);
    whole.mul_f64(1.0 - f64::from(drawn[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        for attempt in 1..=40 {
            let whole = PAUSE_FIRST * (1 << (attempt - 1).min(10));
            let whole = whole.min(PAUSE_MAX);
            for _ in 0..50 {
                let pause = pause(attempt);
                assert!(pause <= whole && pause * 2 >= whole, "{attempt}: {pause:?}");
            }
        }
        let drawn: std::collections::HashSet<_> = (0..50).map(|_| pause(5)).collect();
        assert!(drawn.len() > 5, "they are drawn");
    }
}
