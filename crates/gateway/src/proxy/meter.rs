//! Meter: the answer's body on its way to the client, untouched, and what it says it cost.
//!
//! A stream is relayed chunk by chunk; the chunk that ends it is held back until the settlement
//! is written, so that a client that has seen the end finds it in the books. When the client
//! leaves first, the body is dropped by the server, and the drop hands what is left to a task of
//! its own. How much is charged is decided in `settle`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fisc::Outcome;
use fisc_llm::{Reported, StreamMeter};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Sleep;

use crate::body::BodyError;
use crate::policy::OnDisconnect;
use crate::proxy::settle::Call;

/// The largest answer that is kept whole for metering; beyond it the call is charged its hold.
const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long to read on for a usage that has not come when the stream says that it is over.
const LATE_USAGE: Duration = Duration::from_secs(1);

/// How long an answer is read on after its client left.
const DRAIN_MAX: Duration = Duration::from_mins(5);

/// A stream that is metered as it passes.
pub(crate) struct MeteredBody {
    upstream: Option<Incoming>,
    meter: Option<StreamMeter>,
    call: Option<Call>,
    /// What may be relayed.
    ready: VecDeque<Bytes>,
    /// What is relayed once the settlement is written.
    withheld: Vec<Bytes>,
    /// The beginning of an event whose end has not come. No client can use it, and without it
    /// the stream can be ended in order at any time.
    tail: Vec<Bytes>,
    step: Step,
    /// When the call must end.
    limit: Pin<Box<Sleep>>,
    /// When everything must end.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What the body waits for.
enum Step {
    /// The upstream's next chunk.
    Relay,
    /// More room for a stream that has outgrown its hold; how it ends without.
    Extend(Outcome, Pin<Box<dyn Future<Output = (Call, bool)> + Send>>),
    /// A usage that comes after the end.
    LateUsage,
    /// The settlement to be written.
    Settle(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// What comes after the end, unmetered.
    Tail,
}

// === impl MeteredBody ===

impl MeteredBody {
    /// Meters a stream that the call's hold pays for.
    pub(crate) fn new(upstream: Incoming, meter: StreamMeter, call: Call) -> MeteredBody {
        let limit = Box::pin(tokio::time::sleep(call.time_left()));
        let stopped = Box::pin(call.stopped());
        MeteredBody {
            upstream: Some(upstream),
            meter: Some(meter),
            call: Some(call),
            ready: VecDeque::new(),
            withheld: Vec::new(),
            tail: Vec::new(),
            step: Step::Relay,
            limit,
            stopped,
        }
    }

    /// Returns the next bytes for the client.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match &mut self.step {
                Step::Relay => ready!(self.poll_relay(cx)),
                Step::LateUsage => ready!(self.poll_late_usage(cx)),
                Step::Extend(otherwise, extension) => {
                    let otherwise = *otherwise;
                    let (call, granted) = ready!(extension.as_mut().poll(cx));
                    self.extended(call, granted, otherwise);
                }
                Step::Settle(written) => {
                    ready!(written.as_mut().poll(cx));
                    self.ready.extend(self.withheld.drain(..));
                    self.step = Step::Tail;
                }
                Step::Tail => return self.poll_tail(cx),
            }
        }
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.limit.as_mut().poll(cx).is_ready() {
            let mut call = self.call.take().expect("an unsettled stream has its call");
            let extension = async move {
                let granted = call.extend_time().await.is_ok();
                (call, granted)
            };
            self.step = Step::Extend(Outcome::TimedOut, Box::pin(extension));
            return Poll::Ready(());
        }
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.break_off("the gateway shuts down", "shutting_down", Outcome::TimedOut);
            return Poll::Ready(());
        }
        match ready!(self.poll_upstream(cx)) {
            Some(Ok(chunk)) => self.pass(chunk),
            Some(Err(error)) => {
                let message = format!("the upstream broke off: {error}");
                self.break_off(&message, "upstream_broken", Outcome::Broken);
            }
            None => self.finish(Outcome::Completed),
        }
        Poll::Ready(())
    }

    fn pass(&mut self, chunk: Bytes) {
        let (Some(meter), Some(call)) = (&mut self.meter, &mut self.call) else {
            return;
        };
        let mut relay = std::mem::take(&mut self.tail);
        let progress = meter.feed(chunk, &mut relay);
        keep_tail(&mut relay, progress.open_tail, &mut self.tail);
        if progress.terminal {
            self.withheld.append(&mut relay);
            if meter.reported().complete {
                self.settle(Outcome::Completed);
            } else {
                self.limit = Box::pin(tokio::time::sleep(LATE_USAGE));
                self.step = Step::LateUsage;
            }
            return;
        }
        if call.outgrown(progress) {
            self.withheld.append(&mut relay);
            let call = self.call.take().expect("it was there above");
            self.step = Step::Extend(Outcome::Cut, Box::pin(call.extend_output()));
            return;
        }
        self.ready.extend(relay);
    }

    fn poll_late_usage(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.limit.as_mut().poll(cx).is_ready() {
            self.settle(Outcome::Completed);
            return Poll::Ready(());
        }
        match ready!(self.poll_upstream(cx)) {
            Some(Ok(chunk)) => {
                let meter = self.meter.as_mut().expect("it stays until the settlement");
                meter.feed(chunk, &mut self.withheld);
                if meter.reported().complete {
                    self.settle(Outcome::Completed);
                }
            }
            // The answer was whole before the connection broke.
            Some(Err(_)) | None => self.finish(Outcome::Completed),
        }
        Poll::Ready(())
    }

    fn extended(&mut self, call: Call, granted: bool, otherwise: Outcome) {
        let time_left = call.time_left();
        self.call = Some(call);
        if granted {
            self.limit = Box::pin(tokio::time::sleep(time_left));
            self.ready.extend(self.withheld.drain(..));
            self.step = Step::Relay;
        } else {
            self.end_early(otherwise);
        }
    }

    /// Ends the stream as its wire ends one that reached its length, and cancels it upstream.
    fn end_early(&mut self, outcome: Outcome) {
        let ending = self.meter.as_ref().map(StreamMeter::ending);
        self.end_with(ending, outcome);
    }

    /// The answer ends in the middle: its client is told so in the stream.
    fn break_off(&mut self, message: &str, code: &str, outcome: Outcome) {
        let meter = self.meter.as_ref();
        let event = meter.map(|meter| meter.error_event(message, code));
        self.end_with(event, outcome);
    }

    /// Ends the stream with an event of our own: the half of one that came before it, in the
    /// tail and in the tap, would break it.
    fn end_with(&mut self, event: Option<Bytes>, outcome: Outcome) {
        self.upstream = None;
        self.tail.clear();
        let mut whole = std::mem::take(&mut self.withheld);
        self.settle(outcome);
        whole.extend(event);
        self.withheld = whole;
    }

    fn finish(&mut self, outcome: Outcome) {
        self.upstream = None;
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        let mut meter = self.meter.take().expect("a stream is settled once");
        self.withheld.append(&mut self.tail);
        let call = self.call.take().expect("a stream is settled once");
        // At the end of the upstream nothing more comes: what the tap still held back goes out.
        let reported = match self.upstream {
            Some(_) => meter.reported(),
            None => meter.finish(&mut self.withheld),
        };
        self.step = Step::Settle(Box::pin(call.settle(&reported, outcome)));
    }

    fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(Ok(chunk)) = ready!(self.poll_upstream(cx)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        // The answer is over and settled: a connection that breaks now breaks nothing.
        self.upstream = None;
        Poll::Ready(None)
    }

    /// Returns the upstream's next data, skipping trailers.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(upstream).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

impl Drop for MeteredBody {
    /// The client is gone. What is unsettled is drained by a task of its own, or settled now.
    fn drop(&mut self) {
        let Some(meter) = self.meter.take() else {
            return;
        };
        let upstream = self.upstream.take();
        match (
            self.call.take(),
            std::mem::replace(&mut self.step, Step::Tail),
        ) {
            (Some(call), _) => leave(upstream, meter, call),
            (None, Step::Extend(_, extension)) => {
                tokio::spawn(async move {
                    let (call, _) = extension.await;
                    leave(upstream, meter, call);
                });
            }
            (None, _) => {}
        }
    }
}

/// Ends a call whose client left in the middle of its stream.
fn leave(upstream: Option<Incoming>, meter: StreamMeter, call: Call) {
    match (call.on_disconnect(), upstream) {
        (OnDisconnect::Drain, Some(upstream)) => {
            tokio::spawn(drain(upstream, meter, call));
        }
        (_, upstream) => {
            drop(upstream);
            // Applied now; whoever wants it written has left.
            drop(call.settle(&meter.reported(), Outcome::ClientGone));
        }
    }
}

/// Takes the last `length` bytes out of what is to be relayed.
fn keep_tail(relay: &mut Vec<Bytes>, mut length: u64, tail: &mut Vec<Bytes>) {
    while length > 0 {
        let Some(mut last) = relay.pop() else { break };
        let kept = (last.len() as u64).min(length);
        length -= kept;
        tail.push(last.split_off(last.len() - kept as usize));
        if !last.is_empty() {
            relay.push(last);
        }
    }
    tail.reverse();
}

/// Reads a stream to its end without anybody to relay it to, for its usage.
async fn drain(mut upstream: Incoming, mut meter: StreamMeter, mut call: Call) {
    let mut limit = Box::pin(tokio::time::sleep(call.time_left()));
    let mut most = Box::pin(tokio::time::sleep(DRAIN_MAX));
    let mut stopped = Box::pin(call.stopped());
    let mut unread = Vec::new();
    let outcome = loop {
        let next = tokio::select! {
            next = upstream.frame() => next,
            () = &mut limit => {
                if call.extend_time().await.is_err() {
                    break Outcome::TimedOut;
                }
                limit = Box::pin(tokio::time::sleep(call.time_left()));
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
                if call.outgrown(progress) {
                    let granted;
                    (call, granted) = call.extend_output().await;
                    if !granted {
                        break Outcome::Cut;
                    }
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

/// An answer that was read whole.
pub(crate) enum Whole {
    /// All of it.
    Read(Bytes),
    /// Too large to keep.
    TooLarge,
    /// It broke off.
    Broken,
}

/// Reads an answer that is not a stream.
pub(crate) async fn read_whole(mut upstream: Incoming) -> Whole {
    let mut all = BytesMut::new();
    loop {
        match upstream.frame().await {
            None => return Whole::Read(all.freeze()),
            Some(Err(_)) => return Whole::Broken,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if all.is_empty() && upstream.is_end_stream() {
                    return Whole::Read(data);
                }
                all.extend_from_slice(&data);
                if all.len() > WHOLE_BYTES_MAX {
                    return Whole::TooLarge;
                }
            }
        }
    }
}

/// What is reported of an answer that nobody could read.
pub(crate) fn unread() -> Reported {
    Reported::default()
}
