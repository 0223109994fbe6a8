//! Meter: the answer's body on its way to the client, untouched, and what it says it cost.
//!
//! A stream is relayed chunk by chunk, as fast as its client reads; the chunk that ends it is
//! held back until the settlement is written, so that a client that has seen the end finds it in
//! the books. What must happen whether the client reads or not, its [`Keeper`] does: the task
//! that made the call. How much is charged is decided in `settle`.

mod keeper;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fisc::Outcome;
use fisc_core::Money;
use fisc_llm::{Reported, StreamMeter};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::body::BodyError;
use crate::proxy::settle::Call;

pub(crate) use self::keeper::Keeper;

/// The largest answer that is kept whole for metering; beyond it the call is charged its hold.
const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long to read on for a usage that has not come when the stream says that it is over.
const LATE_USAGE: Duration = Duration::from_secs(1);

/// A stream that is metered as it passes, for the client to read.
pub(crate) struct MeteredBody(Shared);

/// One stream, for its body and its keeper in turn.
#[derive(Clone)]
struct Shared(Arc<Mutex<Stream>>);

struct Stream {
    upstream: Option<Incoming>,
    meter: Option<StreamMeter>,
    /// Not here while the keeper enlarges its hold.
    call: Option<Call>,
    /// What may be relayed.
    ready: VecDeque<Bytes>,
    /// What is relayed once the settlement is written.
    withheld: Vec<Bytes>,
    /// The beginning of an event whose end has not come. No client can use it, and without it
    /// the stream can be ended in order at any time.
    tail: Vec<Bytes>,
    step: Step,
    /// How long the step may take, for the keeper to count.
    limit: Option<Duration>,
    /// Whether nobody will read on.
    gone: bool,
    reader: Option<Waker>,
    keeper: Option<Waker>,
}

/// What the stream waits for.
enum Step {
    /// The upstream's next chunk.
    Relay,
    /// A larger hold, of which the keeper sees to it.
    Extend(Need),
    /// A usage that comes after the end.
    LateUsage,
    /// The settlement to be written.
    Settle(Pin<Box<dyn Future<Output = Money> + Send>>),
    /// What comes after the end, unmetered.
    Tail,
}

/// What more of is to be held.
#[derive(Clone, Copy)]
enum Need {
    /// Output: the stream has outgrown its hold.
    Output,
    /// Time.
    Time,
}

// === impl MeteredBody ===

impl MeteredBody {
    /// Meters a stream that the call's hold pays for. Without its keeper at work nothing ends it
    /// in time.
    pub(crate) fn new(upstream: Incoming, meter: StreamMeter, call: Call) -> (MeteredBody, Keeper) {
        let limit = Some(call.time_left());
        let shared = Shared(Arc::new(Mutex::new(Stream {
            upstream: Some(upstream),
            meter: Some(meter),
            call: Some(call),
            ready: VecDeque::new(),
            withheld: Vec::new(),
            tail: Vec::new(),
            step: Step::Relay,
            limit,
            gone: false,
            reader: None,
            keeper: None,
        })));
        (MeteredBody(shared.clone()), Keeper::new(shared))
    }

    /// Returns the next bytes for the client.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut stream = self.0.lock();
        remember(&mut stream.reader, cx.waker());
        stream.poll_chunk(cx)
    }
}

impl Drop for MeteredBody {
    /// The client is gone, or has all of it. What is unsettled is the keeper's.
    fn drop(&mut self) {
        let mut stream = self.0.lock();
        stream.gone = true;
        stream.wake_keeper();
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stream> {
        // A call that went down with a panic has settled itself, and the rest is only bytes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stream ===

impl Stream {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match &mut self.step {
                Step::Relay => ready!(self.poll_relay(cx)),
                Step::Extend(_) => return Poll::Pending,
                Step::LateUsage => ready!(self.poll_late_usage(cx)),
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
                self.limit = Some(LATE_USAGE);
                self.go_on_to(Step::LateUsage);
            }
            return;
        }
        if call.outgrown(progress) {
            self.withheld.append(&mut relay);
            self.go_on_to(Step::Extend(Need::Output));
            return;
        }
        self.ready.extend(relay);
    }

    fn poll_late_usage(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
        // The event ends that half one first, unless it was relayed as too large to keep back.
        let is_kept = !std::mem::take(&mut self.tail).is_empty();
        let begins = |event: &Bytes| is_kept && event.starts_with(b"\n\n");
        let event = event.map(|event| event.slice(if begins(&event) { 2 } else { 0 }..));
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
        self.go_on_to(Step::Settle(Box::pin(call.settle(&reported, outcome))));
    }

    /// Takes a step that the keeper has to hear of.
    fn go_on_to(&mut self, step: Step) {
        self.step = step;
        self.wake_keeper();
    }

    fn wake_keeper(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
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

/// Keeps whom to wake; nothing is cloned while that is the same task.
fn remember(kept: &mut Option<Waker>, waker: &Waker) {
    match kept {
        Some(kept) => kept.clone_from(waker),
        None => *kept = Some(waker.clone()),
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
