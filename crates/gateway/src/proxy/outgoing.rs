//! A call from its hold on: made, answered, and settled by its own hand. It runs in a task that no
//! client can drop.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use fisc::Outcome;
use fisc_core::{Money, TimeUs, Tokens};
use fisc_llm::{StreamMeter, read_response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::http::response;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::forward::{ForwardError, forward, is_encoded, is_event_stream};
use super::meter::{self, Keeper, MeteredBody, Whole, read_whole};
use super::settle::{Call, Payer, TimeUp};
use super::{Answer, attempt};
use crate::body::AnswerBody;
use crate::policy::OnDisconnect;
use crate::refusal::{BudgetHeaders, Refusal, RefusalKind};
use crate::state::State;
use crate::upstream;

/// A call with all that it takes to make it, on its own feet.
pub(super) struct Outgoing {
    pub(super) state: Arc<State>,
    pub(super) request: Result<Request<Full<Bytes>>, ForwardError>,
    /// Whether usage was asked for behind the client's back.
    pub(super) strip_usage: bool,
    /// Whether the client asked for usage.
    pub(super) usage_asked: bool,
    /// Whether an upstream that finds fault with it may be asked again without the changes.
    pub(super) may_be_refused: bool,
    /// About how many tokens were added to tell its agent how its budget stands.
    pub(super) notice_tokens: u64,
    pub(super) call: Call,
}

/// Why there is no answer to a call.
pub(super) enum Unanswered {
    /// The caller is told why.
    Refused(Refusal),
    /// The upstream found fault with what was changed.
    Rejected,
}

/// How upstreams answer a request that they find fault with.
const FAULTS: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::UNPROCESSABLE_ENTITY,
];

// === impl Outgoing ===

impl Outgoing {
    /// Makes the call and hands over its answer; where that is a stream, keeps it to its end.
    pub(super) async fn run(self, mut answer: oneshot::Sender<Result<Answer, Unanswered>>) {
        let may_cancel = self.call.on_disconnect() == OnDisconnect::Cancel;
        let mut stopped = pin!(self.state.stopped());
        let made = tokio::select! {
            made = self.make() => made,
            () = answer.closed(), if may_cancel => return,
            () = &mut stopped => Err(Refusal::new(RefusalKind::ShuttingDown).into()),
        };
        let (made, keeper) = match made {
            Ok((made, keeper)) => (Ok(made), keeper),
            Err(why) => (Err(why), None),
        };
        // A client that left drops its receiver, and with it the body: its keeper hears of it.
        let _ = answer.send(made);
        if let Some(keeper) = keeper {
            keeper.keep(stopped).await;
        }
    }

    async fn make(self) -> Result<(Answer, Option<Keeper>), Unanswered> {
        let Outgoing {
            state,
            request,
            strip_usage,
            usage_asked,
            may_be_refused,
            notice_tokens,
            mut call,
        } = self;
        if notice_tokens > 0 {
            call.pay_notice(notice_tokens).await;
        }
        let sent = async { forward(&state, request?).await };
        let sent = match call.within(sent).await {
            Ok(sent) => sent,
            Err(why) => return Err(time_up(call, why).await.into()),
        };
        let answer = match sent {
            Ok(answer) => answer,
            Err(error @ (ForwardError::Unreachable(_) | ForwardError::BadUri)) => {
                call.void("not sent");
                return Err(Refusal::from(error).into());
            }
            Err(error @ ForwardError::Broken(_)) => {
                call.settle(&meter::unread(), Outcome::Broken).await;
                return Err(Refusal::from(error).into());
            }
        };
        if may_be_refused && FAULTS.contains(&answer.status()) {
            call.fail().await;
            return Err(Unanswered::Rejected);
        }
        let (mut parts, incoming) = answer.into_parts();
        upstream::headers::to_client(&mut parts.headers);
        let readable = is_event_stream(&parts.headers) && !is_encoded(&parts.headers);
        if !(parts.status.is_success() && readable) {
            let answer = answer_whole(&state, parts, incoming, call).await?;
            return Ok((answer, None));
        }
        parts.headers.remove(CONTENT_LENGTH);
        budget_headers(&state, &call.payer(), None, &mut parts.headers);
        let meter = StreamMeter::new(call.asked().wire, strip_usage).usage_asked(usage_asked);
        let (body, keeper) = MeteredBody::new(incoming, meter, call);
        let answer = Response::from_parts(parts, AnswerBody::Metered(body));
        Ok((answer, Some(keeper)))
    }
}

/// Reads an answer that is no stream, settles by it, then hands it over.
async fn answer_whole(
    state: &State,
    mut parts: response::Parts,
    incoming: Incoming,
    mut call: Call,
) -> Result<Answer, Refusal> {
    let whole = match call.within(read_whole(incoming)).await {
        Ok(whole) => whole,
        Err(why) => return Err(time_up(call, why).await),
    };
    match whole {
        Whole::Read(body) => {
            let payer = call.payer();
            let cost = if !parts.status.is_success() {
                call.fail().await
            } else if is_encoded(&parts.headers) {
                call.settle(&meter::unread(), Outcome::Completed).await
            } else {
                let reported = read_response(call.asked().wire, &body);
                call.settle(&reported, Outcome::Completed).await
            };
            budget_headers(state, &payer, Some(cost), &mut parts.headers);
            Ok(Response::from_parts(parts, AnswerBody::from(body)))
        }
        Whole::TooLarge => {
            call.settle(&meter::unread(), Outcome::Cut).await;
            Err(Refusal::new(RefusalKind::UpstreamBroken)
                .with_detail("the answer is too large to be metered"))
        }
        Whole::Broken => {
            call.settle(&meter::unread(), Outcome::Broken).await;
            Err(Refusal::new(RefusalKind::UpstreamBroken).with_detail("the answer broke off"))
        }
    }
}

/// Ends a call whose answer did not come in its time, and says whose limit that was. No retry is
/// advised, even if there may be room soon: this call is paid for, and another would be again.
async fn time_up(call: Call, why: TimeUp) -> Refusal {
    let refusal = match why {
        TimeUp::CallTime => Refusal::new(RefusalKind::UpstreamTimeout),
        TimeUp::Budget(error) => {
            let own = |path: &str| call.asked().within_root(path);
            attempt::refusal(&error, own)
                .for_good()
                .with_detail("the call was cut")
        }
    };
    call.settle(&meter::unread(), Outcome::TimedOut).await;
    refusal
}

/// Tells the caller's code where its budget stands, as far as its secret lets it see, and what
/// the call did cost where that is known already.
fn budget_headers(state: &State, payer: &Payer, cost: Option<Money>, headers: &mut HeaderMap) {
    let Some(standing) = state.fisc.standing(payer.budget, &payer.root) else {
        return;
    };
    let limited = |units: i64| (units < i64::MAX).then_some(units);
    let free = standing.free;
    let active = limited(free.time().0);
    let left = standing
        .deadline
        .map(|deadline| deadline.since(state.fisc.now()).0);
    let time = active.into_iter().chain(left).min();
    let headers_of = BudgetHeaders {
        budget: standing.binding,
        level: standing.level,
        cost_free: limited(free.cost().nanos()).map(Money::from_nanos),
        tokens_free: limited(free.tokens().0).map(Tokens),
        time_free: time.map(TimeUs),
        foreseen: state.fisc.foreseen(payer.budget, &payer.root),
        cost,
    };
    headers_of.write(headers);
    if !payer.changed.is_empty() {
        BudgetHeaders::write_changed(&payer.changed, headers);
    }
}

// === conversions ===

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Unanswered {
        Unanswered::Refused(refusal)
    }
}
