//! Unmetered: paths of which nobody knows what they cost.
//!
//! Where tokens or cost are limited anywhere on the caller's path they are refused. Elsewhere they
//! pass, byte for byte, each counted as a call of unknown usage that holds active time as any
//! other does. Whether a path is one of them is decided in `routes`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fisc::{CallLabel, Charge, Facts, Headroom, Hold, Outcome, Plan, clock};
use fisc_core::{Amount, Money, Resource, Timestamp, Tokens, Usage};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::http::request;
use hyper::{Request, Response};
use tokio::sync::oneshot;

use crate::body::{AnswerBody, BodyError};
use crate::proxy::act::Measured;
use crate::proxy::attempt::Attempt;
use crate::proxy::authorize::TIME_FLOOR;
use crate::proxy::forward::{ForwardError, forward, prepare};
use crate::proxy::identify::Identity;
use crate::proxy::read;
use crate::proxy::settle::written;
use crate::refusal::{Refusal, RefusalKind};
use crate::routes::Route;
use crate::state::State;
use crate::upstream;

/// What stands for the model in reports.
const MODEL: &str = "unmetered";

/// A call that passes unmetered. Dropped, it is over: its client left.
struct Pass {
    state: Arc<State>,
    /// Taken out when the call ends.
    hold: Option<Hold>,
    deadline: Option<Timestamp>,
    tags: Vec<(Arc<str>, Arc<str>)>,
}

/// An answer on its way, with the call that it belongs to.
struct Flow {
    pass: Pass,
    upstream: Incoming,
}

/// A flow that two look after: its body while the client reads, and a task that ends it in time
/// also when the client does not. Empty when it has ended.
type Shared = Arc<Mutex<Option<Flow>>>;

/// An answer that passes unmetered: untouched, but for an end when its time is over.
pub(crate) struct PassingBody {
    flow: Shared,
    /// Told when the time is over; whoever tells is told by its drop that the body has ended.
    over: Option<oneshot::Receiver<()>>,
    /// The settlement, while it is not written.
    ending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What follows the settlement.
    last: Option<Result<Frame<Bytes>, BodyError>>,
}

/// Passes a request, or refuses it.
pub(crate) async fn serve(
    state: &Arc<State>,
    identity: &Identity,
    head: &request::Parts,
    route: &Route,
    body: Incoming,
) -> Result<Response<AnswerBody>, Refusal> {
    let attempt = Attempt::new(state, identity, MODEL)?;
    if attempt.is_limited(Resource::Tokens) || attempt.is_limited(Resource::Cost) {
        return Err(attempt.unmetered());
    }
    let upstream = super::upstream_of(state, route.provider)?;
    let body = read::read(&head.headers, body).await?;
    let path = &route.upstream_path;
    let request = prepare(upstream, &head.method, path, &head.headers, body)?;
    let label = CallLabel {
        bounded: false,
        ..attempt.label(route.provider.name())
    };
    let mut deadline = None;
    let measured = Measured::new(state, &attempt.budget);
    let held = attempt.hold(label, &measured, |room| {
        deadline = room.deadline;
        plan(state, room)
    });
    let mut hold = held.await?;
    hold.begin();
    let pass = Pass {
        state: Arc::clone(state),
        hold: Some(hold),
        deadline,
        tags: attempt.tags(),
    };
    pass.make(request).await
}

/// Refuses a path that the upstream may read as another one, whatever is limited: it may be one
/// that costs.
pub(crate) fn ambiguous(state: &State, identity: &Identity) -> Refusal {
    match Attempt::new(state, identity, "") {
        Ok(attempt) => attempt.ambiguous(),
        Err(refusal) => refusal,
    }
}

/// Holds nothing but the time that the call may take.
fn plan(state: &State, room: &Headroom) -> Plan {
    let most = clock::span(state.policy.call_time).min(room.per_call.time());
    let holding = |time| Amount::new(Tokens(0), Money::ZERO, time);
    let least = holding(TIME_FLOOR);
    if most.min(room.now.time()) >= TIME_FLOOR {
        Plan::Hold {
            amount: holding(most.min(room.now.time())),
            bounded: false,
        }
    } else if most.min(room.idle.time()) >= TIME_FLOOR {
        Plan::Wait {
            least,
            wanted: least,
        }
    } else {
        Plan::Never { least }
    }
}

async fn relay(answer: Response<Incoming>, pass: Pass) -> Response<AnswerBody> {
    let (mut parts, incoming) = answer.into_parts();
    upstream::headers::to_client(&mut parts.headers);
    // Nobody polls a body of which it is known that nothing comes.
    if incoming.is_end_stream() {
        pass.settle(Outcome::Completed).await;
        return Response::from_parts(parts, AnswerBody::Relayed(incoming));
    }
    let (limit, stopped) = (pass.time_left(), pass.state.stopped());
    let upstream = incoming;
    let flow = Arc::new(Mutex::new(Some(Flow { pass, upstream })));
    let (tell, over) = oneshot::channel();
    tokio::spawn(end_in_time(Arc::clone(&flow), limit, stopped, tell));
    let body = PassingBody {
        flow,
        over: Some(over),
        ending: None,
        last: None,
    };
    Response::from_parts(parts, AnswerBody::Passing(Box::new(body)))
}

/// Ends a flow when its time is over, unless its body has ended before.
async fn end_in_time(
    flow: Shared,
    limit: Duration,
    stopped: impl Future<Output = ()>,
    mut body: oneshot::Sender<()>,
) {
    tokio::select! {
        () = tokio::time::sleep(limit) => {}
        () = stopped => {}
        () = body.closed() => return,
    }
    let cut = lock(&flow).take();
    if let Some(Flow { pass, upstream }) = cut {
        drop(upstream);
        pass.settle(Outcome::TimedOut).await;
    }
    // A body that is gone need not be told.
    let _ = body.send(());
}

fn lock(flow: &Shared) -> MutexGuard<'_, Option<Flow>> {
    // A flow is taken out whole or not at all.
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Pass ===

impl Pass {
    async fn make(self, request: Request<Full<Bytes>>) -> Result<Response<AnswerBody>, Refusal> {
        let sent = tokio::select! {
            sent = forward(&self.state, request) => sent,
            () = tokio::time::sleep(self.time_left()) => {
                self.settle(Outcome::TimedOut).await;
                return Err(Refusal::new(RefusalKind::UpstreamTimeout));
            }
            () = self.state.stopped() => {
                self.settle(Outcome::TimedOut).await;
                return Err(Refusal::new(RefusalKind::ShuttingDown));
            }
        };
        match sent {
            Ok(answer) => Ok(relay(answer, self).await),
            Err(error @ (ForwardError::Unreachable(_) | ForwardError::BadUri)) => {
                self.void("not sent");
                Err(error.into())
            }
            Err(error @ ForwardError::Broken(_)) => {
                self.settle(Outcome::Broken).await;
                Err(error.into())
            }
        }
    }

    /// Returns how long the call may still run.
    fn time_left(&self) -> Duration {
        let hold = self
            .hold
            .as_ref()
            .expect("a call has its hold until it ends");
        let held = hold.amount().time().0 - hold.running().0;
        let now = self.state.fisc.now();
        let left = self.deadline.map_or(held, |at| held.min(at.since(now).0));
        Duration::from_micros(left.max(0).unsigned_abs())
    }

    /// Charges the time that the call took. Applied when this returns; the returned future waits
    /// until it is written.
    fn settle(mut self, outcome: Outcome) -> impl Future<Output = ()> + Send + use<> {
        self.end(outcome)
    }

    /// Ends a call of which certainly no byte was sent.
    fn void(mut self, reason: &str) {
        if let Err(error) = self.take_hold().void(reason) {
            tracing::error!(%error, "a hold could not be voided");
        }
    }

    fn take_hold(&mut self) -> Hold {
        let hold = self.hold.take().expect("a call ends once");
        let State { traffic, fisc, .. } = &*self.state;
        traffic.count_ended(hold.budget(), fisc.ticks());
        hold
    }

    fn end(&mut self, outcome: Outcome) -> impl Future<Output = ()> + Send + use<> {
        let hold = self.take_hold();
        let duration = hold.running();
        let time = duration.min(hold.amount().time());
        let facts = Facts {
            call: hold.call().clone(),
            usage: Usage::default(),
            // What it used is not nothing: nobody knows it.
            estimated: true,
            outcome,
            duration,
            tags: std::mem::take(&mut self.tags),
        };
        written(hold.settle(Charge {
            amount: Amount::new(Tokens(0), Money::ZERO, time),
            facts: Box::new(facts),
        }))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.hold.is_some() {
            // Applied now; whoever wants it written has left.
            drop(self.end(Outcome::ClientGone));
        }
    }
}

// === impl PassingBody ===

impl PassingBody {
    /// Returns the next frame for the client.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ending.is_none()
            && let Some(next) = ready!(self.poll_upstream(cx))
        {
            return Poll::Ready(Some(Ok(next)));
        }
        if let Some(ending) = &mut self.ending {
            ready!(ending.as_mut().poll(cx));
            self.ending = None;
        }
        Poll::Ready(self.last.take())
    }

    /// Returns what is not the end of the answer.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(over) = &mut self.over else {
            return Poll::Ready(None);
        };
        if Pin::new(over).poll(cx).is_ready() {
            self.cut();
            return Poll::Ready(None);
        }
        let polled = lock(&self.flow).as_mut().map(|flow| {
            let next = Pin::new(&mut flow.upstream).poll_frame(cx);
            (next, flow.upstream.is_end_stream())
        });
        let Some((next, ended)) = polled else {
            // It is being ended: who does it tells when that is written.
            return Poll::Pending;
        };
        match ready!(next) {
            Some(Ok(frame)) if !ended => return Poll::Ready(Some(frame)),
            Some(Ok(frame)) => self.finish(Outcome::Completed, Some(Ok(frame))),
            Some(Err(error)) => self.finish(Outcome::Broken, Some(Err(error.into()))),
            None => self.finish(Outcome::Completed, None),
        }
        Poll::Ready(None)
    }

    fn finish(&mut self, outcome: Outcome, last: Option<Result<Frame<Bytes>, BodyError>>) {
        let Some(flow) = lock(&self.flow).take() else {
            return self.cut();
        };
        self.over = None;
        self.last = last;
        self.ending = Some(Box::pin(flow.pass.settle(outcome)));
    }

    fn cut(&mut self) {
        self.over = None;
        self.last = Some(Err("the time of the call is over".into()));
    }
}

impl Drop for PassingBody {
    fn drop(&mut self) {
        // Not only when the task that ends it in time has noticed: the client has left now.
        drop(lock(&self.flow).take());
    }
}
