//! The keeper of a stream: what has to happen whether or not its client reads.
//!
//! A server asks a body for bytes only while its client takes them, so a body that watched the
//! clock itself would stand still with its client, and keep its hold. The task that made the
//! call watches it instead: it enlarges the hold, ends the stream when its time is up or all
//! calls are to end, and reads on when the client leaves. It never relays a byte.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use fisc::Outcome;
use fisc_llm::StreamMeter;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::{Need, Shared, Step, Stream, remember};
use crate::policy::OnDisconnect;
use crate::proxy::settle::Call;

/// How long an answer is read on after its client left.
const DRAIN_MAX: Duration = Duration::from_mins(5);

/// Sees to it that a stream ends, and its hold with it.
#[must_use = "a stream ends with its keeper"]
pub(crate) struct Keeper(Shared);

/// What a keeper has to do.
enum Turn {
    /// Enlarge the hold.
    Extend(Need),
    /// End a call whose client left in the middle of its stream.
    Leave,
    /// Nothing more: the stream is settled.
    Over,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(stream: Shared) -> Keeper {
        Keeper(stream)
    }

    /// Keeps the stream until it is settled; `stopped` is when all calls are to end.
    pub(crate) async fn keep(self, mut stopped: Pin<&mut impl Future<Output = ()>>) {
        // The stream says how long it is on the first look.
        let mut limit = pin!(sleep(Duration::ZERO));
        loop {
            let turn = poll_fn(|cx| self.poll_turn(cx, limit.as_mut(), stopped.as_mut()));
            match turn.await {
                Turn::Extend(need) => {
                    let call = self.0.lock().call.take();
                    let mut call = call.expect("an unsettled stream has its call");
                    let granted = match need {
                        Need::Output => call.extend_output().await,
                        Need::Time => call.extend_time().await.is_ok(),
                    };
                    self.0.lock().extended(call, granted, need);
                }
                Turn::Leave => {
                    let parts = self.0.lock().take_apart();
                    let Some((upstream, meter, call)) = parts else {
                        return;
                    };
                    return leave(upstream, meter, call, stopped).await;
                }
                Turn::Over => return,
            }
        }
    }

    fn poll_turn(
        &self,
        cx: &mut Context<'_>,
        mut limit: Pin<&mut Sleep>,
        stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Turn> {
        let mut stream = self.0.lock();
        remember(&mut stream.keeper, cx.waker());
        if let Some(turn) = stream.turn() {
            return Poll::Ready(turn);
        }
        if let Some(after) = stream.limit.take() {
            limit.set(sleep(after));
        }
        if limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(stream.time_up());
        }
        if stopped.poll(cx).is_ready() {
            return Poll::Ready(stream.stop());
        }
        Poll::Pending
    }
}

impl Drop for Keeper {
    /// A stream that nobody keeps would never have to end: it ends here, if it has not. That is
    /// when the keeper panicked, or its runtime ends.
    fn drop(&mut self) {
        let mut stream = self.0.lock();
        if matches!(stream.step, Step::Settle(_) | Step::Tail) {
            return;
        }
        if stream.call.is_some() && stream.meter.is_some() {
            stream.finish(Outcome::Broken);
        } else {
            // The call has settled itself.
            stream.upstream = None;
            stream.step = Step::Tail;
        }
        stream.wake_reader();
    }
}

// === impl Stream ===

impl Stream {
    /// Says what the keeper has to do now, if it has to do anything.
    fn turn(&mut self) -> Option<Turn> {
        if matches!(self.step, Step::Settle(_) | Step::Tail) {
            return Some(Turn::Over);
        }
        if self.gone {
            return Some(Turn::Leave);
        }
        match self.step {
            Step::Extend(need) => Some(Turn::Extend(need)),
            _ => None,
        }
    }

    /// Takes out what is left when nobody will read on.
    fn take_apart(&mut self) -> Option<(Option<Incoming>, StreamMeter, Call)> {
        Some((self.upstream.take(), self.meter.take()?, self.call.take()?))
    }

    fn extended(&mut self, call: Call, granted: bool, need: Need) {
        if granted {
            self.limit = Some(call.time_left());
            self.call = Some(call);
            self.ready.extend(self.withheld.drain(..));
            self.step = Step::Relay;
        } else {
            self.call = Some(call);
            self.end_early(match need {
                Need::Output => Outcome::Cut,
                Need::Time => Outcome::TimedOut,
            });
        }
        self.wake_reader();
    }

    /// The step has taken as long as it may.
    fn time_up(&mut self) -> Turn {
        if matches!(self.step, Step::Relay) {
            self.step = Step::Extend(Need::Time);
            return Turn::Extend(Need::Time);
        }
        self.settle(Outcome::Completed);
        self.wake_reader();
        Turn::Over
    }

    /// All calls are to end.
    fn stop(&mut self) -> Turn {
        if matches!(self.step, Step::Relay) {
            self.break_off("the gateway shuts down", "shutting_down", Outcome::TimedOut);
        } else {
            self.settle(Outcome::Completed);
        }
        self.wake_reader();
        Turn::Over
    }
}

/// Ends a call whose client left in the middle of its stream.
async fn leave(
    upstream: Option<Incoming>,
    meter: StreamMeter,
    call: Call,
    stopped: Pin<&mut impl Future<Output = ()>>,
) {
    match (call.on_disconnect(), upstream) {
        (OnDisconnect::Drain, Some(upstream)) => {
            drain(upstream, meter, call, stopped).await;
        }
        (_, upstream) => {
            drop(upstream);
            call.settle(&meter.reported(), Outcome::ClientGone).await;
        }
    }
}

/// Reads a stream to its end without anybody to relay it to, for its usage.
async fn drain(
    mut upstream: Incoming,
    mut meter: StreamMeter,
    mut call: Call,
    mut stopped: Pin<&mut impl Future<Output = ()>>,
) {
    let mut limit = pin!(sleep(call.time_left()));
    let mut most = pin!(sleep(DRAIN_MAX));
    let mut unread = Vec::new();
    let outcome = loop {
        let next = tokio::select! {
            next = upstream.frame() => next,
            () = &mut limit => {
                if call.extend_time().await.is_err() {
                    break Outcome::TimedOut;
                }
                limit.set(sleep(call.time_left()));
                continue;
            }
            () = &mut most => break Outcome::TimedOut,
            () = &mut stopped => break Outcome::TimedOut,
        };
        match next {
            None => break Outcome::Completed,
            Some(Err(_)) => break Outcome::Broken,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let progress = meter.feed(data, &mut unread);
                unread.clear();
                if call.outgrown(progress) && !call.extend_output().await {
                    break Outcome::Cut;
                }
            }
        }
    };
    drop(upstream);
    let reported = meter.finish(&mut unread);
    // Read to its end it is as if the client had stayed, but for who saw it.
    let outcome = if outcome == Outcome::Completed {
        Outcome::ClientGone
    } else {
        outcome
    };
    call.settle(&reported, outcome).await;
}
