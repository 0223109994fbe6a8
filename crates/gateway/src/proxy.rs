//! The life of a request: identify → read → act → authorize → forward → meter → settle.
//!
//! One file each, in that order; this one only leads from one to the next. From the hold on, a
//! request runs in a task of its own: the server drops the future of a request whose client
//! leaves, and what the provider bills must not be dropped with it.

pub(crate) mod act;
pub(crate) mod attempt;
pub(crate) mod authorize;
pub(crate) mod count;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod meter;
pub(crate) mod read;
pub(crate) mod settle;
pub(crate) mod unmetered;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use fisc::Outcome;
use fisc_core::{Money, TimeUs, Tokens};
use fisc_llm::{CapField, Edits, RequestFacts, StreamMeter, Wire, read_response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::http::{request, response};
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::oneshot;

use self::act::{Acted, Measured};
use self::attempt::Attempt;
use self::authorize::Asked;
use self::count::Countable;
use self::forward::{ForwardError, forward, is_encoded, is_event_stream, prepare};
use self::identify::Identity;
use self::meter::{Keeper, MeteredBody, Whole, read_whole};
use self::read::ReadError;
use self::settle::{Call, Payer, TimeUp};
use crate::api;
use crate::body::AnswerBody;
use crate::policy::OnDisconnect;
use crate::refusal::{BudgetHeaders, Refusal, RefusalKind};
use crate::routes::{Provider, Route, RouteKind, caller_provider, route};
use crate::state::State;
use crate::upstream::{self, Upstream};

/// What a provider must be told for it to read a budget in a request.
const TASK_BUDGET_BETA: &str = "task-budgets-2026-03-13";

/// An answer to a client.
type Answer = Response<AnswerBody>;

/// Serves one request.
pub(crate) async fn serve(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if api::is_for(&head) {
        return Ok(api::serve(&state, &head, body).await);
    }
    let provider = caller_provider(head.uri.path(), &head.headers);
    let answer = match state.callers.identify(&head.uri, &head.headers) {
        Ok(identity) => {
            state.api.touch(&identity.root, &state);
            route_request(&state, &head, body, identity).await
        }
        Err(error) => Err((provider, Refusal::from(error))),
    };
    Ok(answer.unwrap_or_else(|(provider, refusal)| {
        tracing::info!(reason = refusal.code(), "refused");
        refusal
            .into_response(provider, &request_id(&state))
            .map(AnswerBody::from)
    }))
}

async fn route_request(
    state: &Arc<State>,
    head: &request::Parts,
    body: Incoming,
    identity: Identity,
) -> Result<Answer, (Provider, Refusal)> {
    let query = identity.query.as_deref();
    let route = route(&head.method, &identity.rest, query, &head.headers);
    let provider = route.provider;
    let with_provider = |refusal| (provider, refusal);
    match route.kind {
        RouteKind::Probe => Ok(Response::new(AnswerBody::from(Bytes::new()))),
        RouteKind::Unmetered => unmetered::serve(state, &identity, head, &route, body)
            .await
            .map_err(with_provider),
        RouteKind::Ambiguous => Err(with_provider(unmetered::ambiguous(state, &identity))),
        RouteKind::Free => {
            let upstream = upstream_of(state, provider).map_err(with_provider)?;
            relay(state, upstream, head, &route, body)
                .await
                .map_err(with_provider)
        }
        RouteKind::Metered(wire) => {
            let upstream = upstream_of(state, provider).map_err(with_provider)?;
            let body = read::read(&head.headers, body).await.map_err(Refusal::from);
            let body = body.map_err(with_provider)?;
            let request = Metered {
                state,
                identity: &identity,
                upstream,
                head,
                route: &route,
            };
            request.serve(wire, body).await.map_err(with_provider)
        }
    }
}

/// Passes a request that costs nothing.
async fn relay(
    state: &State,
    upstream: &Upstream,
    head: &request::Parts,
    route: &Route,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let body = read::read(&head.headers, body).await?;
    let path = &route.upstream_path;
    let request = prepare(upstream, &head.method, path, &head.headers, body)?;
    let answer = forward(state, request).await?;
    let (mut parts, incoming) = answer.into_parts();
    upstream::headers::to_client(&mut parts.headers);
    Ok(Response::from_parts(parts, AnswerBody::Relayed(incoming)))
}

/// A request that costs something.
struct Metered<'a> {
    state: &'a Arc<State>,
    identity: &'a Identity,
    upstream: &'a Upstream,
    head: &'a request::Parts,
    route: &'a Route,
}

/// A call with all that it takes to make it, on its own feet.
struct Outgoing {
    state: Arc<State>,
    request: Result<Request<Full<Bytes>>, ForwardError>,
    /// Whether usage was asked for behind the client's back.
    strip_usage: bool,
    /// Whether the client asked for usage.
    usage_asked: bool,
    /// Whether an upstream that finds fault with it may be asked again without the changes.
    may_be_refused: bool,
    call: Call,
}

/// Why there is no answer to a call.
enum Unanswered {
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

// === impl Metered ===

impl Metered<'_> {
    async fn serve(&self, wire: Wire, body: Bytes) -> Result<Answer, Refusal> {
        let facts = read_facts(wire, &body)?;
        let attempt = Attempt::new(self.state, self.identity, &facts.model)?;
        if let Some(refusal) = attempt.cut_off() {
            return Err(refusal);
        }
        let measured = Measured::new(self.state, &attempt.budget);
        let mut acted = act::act(&attempt, self.upstream, &measured, &facts, &body)?;
        let made = match &acted.body {
            None => self.make(&attempt, &measured, &facts, &body, &acted).await,
            Some(changed) => {
                let facts = read_facts(wire, changed)?;
                let attempt = Attempt::new(self.state, self.identity, &facts.model)?;
                self.make(&attempt, &measured, &facts, changed, &acted)
                    .await
            }
        };
        let unchanged = Acted::default();
        let made = match made {
            Err(Unanswered::Rejected) => {
                // Whoever was to be told by it was not.
                acted.untell(self.state);
                self.make(&attempt, &measured, &facts, &body, &unchanged)
                    .await
            }
            made => made,
        };
        made.map_err(|why| match why {
            Unanswered::Refused(refusal) => refusal,
            Unanswered::Rejected => Refusal::new(RefusalKind::UpstreamBroken),
        })
    }

    /// Makes the call as it was changed, under a hold of its own.
    async fn make(
        &self,
        attempt: &Attempt<'_>,
        measured: &Measured<'_>,
        facts: &RequestFacts<'_>,
        body: &Bytes,
        acted: &Acted,
    ) -> Result<Answer, Unanswered> {
        let (state, head) = (self.state, self.head);
        let countable = Countable {
            wire: facts.wire,
            headers: &head.headers,
            body,
        };
        let authorized =
            authorize::authorize(attempt, measured, self.upstream, facts, countable, acted);
        let (hold, asked) = authorized.await.map_err(|refusal| {
            if let Some(claim) = acted.told {
                state.told.take_back(claim);
            }
            Unanswered::Refused(refusal)
        })?;
        let (body, strip_usage) = self.edit(facts, body, &asked);
        let path = &self.route.upstream_path;
        let mut request = prepare(self.upstream, &head.method, path, &head.headers, body);
        if let (true, Ok(request)) = (acted.native, &mut request) {
            upstream::headers::add_beta(request.headers_mut(), TASK_BUDGET_BETA);
        }
        let outgoing = Outgoing {
            state: Arc::clone(state),
            request,
            strip_usage,
            usage_asked: facts.include_usage == Some(true),
            may_be_refused: acted.may_be_refused,
            call: Call::begin(Arc::clone(state), hold, asked),
        };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(outgoing.run(answer));
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(Unanswered::Refused(Refusal::new(
                RefusalKind::StoreUnavailable,
            ))),
        }
    }

    /// Edits the body where a cap or the wish for usage has to be in it; else it is untouched.
    fn edit(&self, facts: &RequestFacts<'_>, body: &Bytes, asked: &Asked) -> (Bytes, bool) {
        let asks = facts.include_usage == Some(true);
        let streams = facts.wire == Wire::OpenAiChat && facts.stream;
        let include_usage = streams && !asks && self.upstream.include_usage();
        if asked.written_cap.is_none() && !include_usage {
            return (body.clone(), false);
        }
        let edits = Edits {
            output_cap: asked.written_cap,
            cap_field: cap_field(self.upstream, &facts.model),
            include_usage,
            ..Edits::default()
        };
        (Bytes::from(facts.edit(body, &edits)), include_usage)
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Makes the call and hands over its answer; where that is a stream, keeps it to its end.
    async fn run(self, mut answer: oneshot::Sender<Result<Answer, Unanswered>>) {
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
            mut call,
        } = self;
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

fn read_facts(wire: Wire, body: &[u8]) -> Result<RequestFacts<'_>, Refusal> {
    RequestFacts::read(wire, body)
        .map_err(|error| Refusal::new(RefusalKind::BadRequest).with_detail(error.to_string()))
}

fn upstream_of(state: &State, provider: Provider) -> Result<&Upstream, Refusal> {
    state.upstream(provider).ok_or_else(|| {
        let detail = format!("no upstream is configured for {provider}");
        Refusal::new(RefusalKind::UpstreamUnreachable).with_detail(detail)
    })
}

/// How the names of models begin that refuse `max_tokens`, wherever they are served.
const REASONING: [&str; 4] = ["o1", "o3", "o4", "gpt-5"];

fn cap_field(upstream: &Upstream, model: &str) -> CapField {
    match (upstream.provider(), upstream.cap_field()) {
        (Provider::Anthropic, _) => CapField::MaxTokens,
        (Provider::OpenAi, _) if REASONING.iter().any(|name| model.starts_with(name)) => {
            CapField::MaxCompletionTokens
        }
        (Provider::OpenAi, field) => field,
    }
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

/// An id for an answer of our own.
fn request_id(state: &State) -> String {
    format!("fisc-{:x}", state.fisc.now().0)
}

// === conversions ===

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Unanswered {
        Unanswered::Refused(refusal)
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        Refusal::new(match error {
            ReadError::TooLarge => RefusalKind::TooLarge,
            ReadError::Encoded => RefusalKind::ContentEncoding,
            ReadError::TooSlow => RefusalKind::SlowBody,
            ReadError::Gone => RefusalKind::BadRequest,
        })
    }
}

impl From<ForwardError> for Refusal {
    fn from(error: ForwardError) -> Refusal {
        match error {
            ForwardError::BadUri => {
                Refusal::new(RefusalKind::BadRequest).with_detail("the path cannot be in a URL")
            }
            ForwardError::Unreachable(why) => {
                Refusal::new(RefusalKind::UpstreamUnreachable).with_detail(why)
            }
            ForwardError::Broken(why) => Refusal::new(RefusalKind::UpstreamBroken).with_detail(why),
        }
    }
}
