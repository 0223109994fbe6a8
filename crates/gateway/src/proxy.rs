//! The life of a request: identify → read → act → authorize → forward → meter → settle.
//!
//! One file each, in that order; this one only leads from one to the next. From the hold on, a
//! request runs in a task of its own: the server drops the future of a request whose client
//! leaves, and what the provider bills must not be dropped with it.

pub(crate) mod act;
pub(crate) mod attempt;
pub(crate) mod authorize;
pub(crate) mod begun;
pub(crate) mod count;
pub(crate) mod forward;
pub(crate) mod identify;
pub(crate) mod meter;
mod outgoing;
pub(crate) mod pricing;
pub(crate) mod read;
pub(crate) mod settle;
pub(crate) mod unmetered;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use fisc_llm::{CapField, Edits, Price, RequestFacts, Wire};
use hyper::body::Incoming;
use hyper::http::request;
use hyper::{Request, Response};
use tokio::sync::{Notify, oneshot};

use self::act::{Acted, Measured};
use self::attempt::Attempt;
use self::authorize::Asked;
use self::begun::Owned;
use self::count::Countable;
use self::forward::{ForwardError, forward, prepare};
use self::identify::Identity;
use self::outgoing::{Outgoing, Unanswered};
use self::pricing::Pricing;
use self::read::ReadError;
use self::settle::Call;
use crate::body::AnswerBody;
use crate::refusal::{Refusal, RefusalKind};
use crate::routes::{Provider, Route, RouteKind, caller_provider, route};
use crate::state::State;
use crate::upstream::{self, Upstream};
use crate::{api, metrics};

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
    if metrics::is_for(&head) {
        return Ok(metrics::serve(&state, &head));
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
            if state.asks {
                let owned = Owned {
                    state: Arc::clone(state),
                    head: head.clone(),
                    identity,
                    route,
                    wire,
                    body,
                };
                return owned.serve().await.map_err(with_provider);
            }
            let request = Metered {
                state,
                identity: &identity,
                upstream,
                head,
                route: &route,
                long: None,
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
    /// Who is to hear when it waits longer than clients wait in silence.
    long: Option<&'a Notify>,
}

// === impl Metered ===

impl Metered<'_> {
    async fn serve(&self, wire: Wire, body: Bytes) -> Result<Answer, Refusal> {
        let facts = read_facts(wire, &body)?;
        let attempt = self.attempt(&facts)?;
        if let Some(refusal) = attempt.cut_off() {
            return Err(refusal);
        }
        let measured = Measured::new(self.state, &attempt.budget);
        let act = |may_tell| {
            let Metered { upstream, .. } = self;
            act::act(&attempt, upstream, &measured, &facts, &body, may_tell)
        };
        let mut acted = act(true)?;
        if acted.notice_tokens > 0 && !self.may_add(&facts, acted.notice_tokens).await {
            acted.untell(self.state);
            acted = act(false)?;
        }
        let made = match &acted.body {
            None => self.make(&attempt, &measured, &facts, &body, &acted).await,
            Some(changed) => {
                let facts = read_facts(wire, changed)?;
                let attempt = self.attempt(&facts)?;
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

    fn attempt<'b>(&'b self, facts: &'b RequestFacts<'_>) -> Result<Attempt<'b>, Refusal> {
        let attempt = Attempt::new(self.state, self.identity, &facts.model)?;
        Ok(Attempt {
            long: self.long,
            ..attempt
        })
    }

    /// Says whether so many tokens may be added to a call of our own accord.
    async fn may_add(&self, facts: &RequestFacts<'_>, tokens: u64) -> bool {
        let Metered {
            state, upstream, ..
        } = self;
        let (now, provider) = (state.fisc.now(), upstream.provider().name());
        let pricing = match state.prices.price(Some(provider), &facts.model, now) {
            Price::Known(price) => Pricing::Known(price),
            Price::Unpriced => Pricing::Unknown,
        };
        let amount = pricing.input(tokens, state.fisc.counting());
        state.upkeep.has_room(&state.fisc, amount).await
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
        let telling = acted.told.map(|claim| state.told.telling(claim));
        let authorized =
            authorize::authorize(attempt, measured, self.upstream, facts, countable, acted);
        let (hold, asked) = authorized.await.map_err(Unanswered::Refused)?;
        if let Some(telling) = telling {
            telling.done();
        }
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
            notice_tokens: acted.notice_tokens,
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

/// An id for an answer of our own.
fn request_id(state: &State) -> String {
    format!("fisc-{:x}", state.fisc.now().0)
}

// === conversions ===

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
