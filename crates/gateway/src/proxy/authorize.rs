//! Authorize: what the call may cost, and a hold of that, or a refusal.
//!
//! The hold is sized anew each time there may be room: what was learned meanwhile counts. All
//! figures are bounds while the provider honours its cap; estimates are made beside them, for
//! reports only.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fisc::{Budget, CallLabel, Error, Headroom, Hold, Patience, Plan};
use fisc_core::{Amount, TimeUs, Timestamp, Usage};
use fisc_llm::{
    Ask, CallBound, CallClass, InputBound, InputShape, Learner, Lesson, ModelLimits, ModelPrice,
    Price, Quantiles, RequestFacts, Sizing, Wire, size,
};

use crate::policy::{PATIENCE_MAX, UnknownPrice};
use crate::proxy::count::Countable;
use crate::proxy::identify::Identity;
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Limiting, State};
use crate::upstream::Upstream;

/// The operation of a call that names none.
const OPERATION_DEFAULT: &str = "call";

/// The shortest time that is still worth a call.
const TIME_FLOOR: TimeUs = TimeUs(50_000);

/// What is known of a call when it is made.
pub(crate) struct Asked {
    pub(crate) wire: Wire,
    pub(crate) choices: u64,
    pub(crate) service_tier: Option<String>,
    pub(crate) pricing: Pricing,
    pub(crate) input: InputBound,
    /// The output cap of each choice that the hold covers.
    pub(crate) output_cap: u64,
    /// The cap to write into the request, where it is not the request's own.
    pub(crate) written_cap: Option<u64>,
    /// The earliest deadline on the budget's path.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) tags: Vec<(Arc<str>, Arc<str>)>,
    /// The path of the budget that the caller's secret stands for.
    root: String,
    class: Class,
    shape: InputShape,
    expected_input: u64,
}

/// What a call's tokens cost.
#[derive(Debug, Clone)]
pub(crate) enum Pricing {
    /// The price book's price.
    Known(Arc<ModelPrice>),
    /// The owner's ceiling for models that nobody priced.
    Ceiling(Arc<ModelPrice>),
    /// Nothing, as the owner says.
    Nothing,
    /// Nobody knows, and no cost is limited here.
    Unknown,
}

/// What tells calls apart for learning.
#[derive(Debug, Clone)]
struct Class {
    upstream: &'static str,
    model: Arc<str>,
    agent: String,
}

/// What one look at the room came to, kept for when the hold is granted.
#[derive(Clone, Copy)]
struct Sized {
    input: InputBound,
    output_cap: u64,
    written_cap: Option<u64>,
    expected_input: u64,
    deadline: Option<Timestamp>,
}

/// Holds what a call may cost, or waits for it, or refuses.
pub(crate) async fn authorize(
    state: &Arc<State>,
    identity: &Identity,
    upstream: &Upstream,
    facts: &RequestFacts<'_>,
    countable: Countable<'_>,
) -> Result<(Hold, Asked), Refusal> {
    let budget = agent_budget(state, identity)?;
    let now = state.fisc.now();
    let provider = upstream.provider().name();
    let limits = state.prices.limits(Some(provider), &facts.model, now);
    let operation = identity.operation.as_deref().unwrap_or(OPERATION_DEFAULT);
    let pricing = price(state, provider, &facts.model, now, (&budget, operation))?;
    let class = Class {
        upstream: provider,
        model: facts.model.as_ref().into(),
        agent: budget.path(),
    };
    let label = CallLabel {
        operation: operation.into(),
        model: Arc::clone(&class.model),
        provider: provider.into(),
        price_version: state.prices.version().into(),
        attempt: 1,
        bounded: true,
    };
    let sizer = Sizer {
        state,
        facts,
        class: &class,
        pricing: &pricing,
        limits: &limits,
    };
    let mut sized = None;
    if sizer.may_need_count(countable, &budget)
        && let Some(tokens) = countable.count(state, upstream).await
    {
        state.learned().count(&class.get(), &facts.input, tokens);
    }
    let patience = Patience(state.policy.patience.min(PATIENCE_MAX));
    let held = budget.hold_planned(label, patience, |room| sizer.plan(room, &mut sized));
    let hold = match wait(state, held).await {
        Ok(hold) => hold,
        Err(error) => return Err(refuse(state, identity, &budget, operation, facts, &error)),
    };
    state.traffic.count_admitted();
    let sized = sized.expect("a hold is granted for what was sized");
    let asked = Asked {
        wire: facts.wire,
        choices: facts.choices,
        service_tier: facts.service_tier.as_deref().map(str::to_owned),
        pricing,
        input: sized.input,
        output_cap: sized.output_cap,
        written_cap: sized.written_cap,
        deadline: sized.deadline,
        tags: tags(identity),
        root: identity.root.clone(),
        class,
        shape: facts.input.clone(),
        expected_input: sized.expected_input,
    };
    Ok((hold, asked))
}

/// Refuses a call before anything is known but its path, counting it in the reports.
pub(crate) fn unmetered(state: &State, identity: &Identity, path: &str) -> Refusal {
    let refusal = Refusal::new(RefusalKind::UnmeteredPath).with_detail(path);
    if let Ok(budget) = agent_budget(state, identity) {
        let operation = identity.operation.as_deref().unwrap_or(OPERATION_DEFAULT);
        state
            .fisc
            .count_refusal(budget.id(), operation, "", refusal.code());
    }
    // No budget ran out, but a program that goes on asking is as stubborn.
    state.traffic.count_refused(None);
    refusal
}

/// Counts the calls that wait: those that come after them leave them room.
async fn wait(
    state: &State,
    held: impl Future<Output = Result<Hold, Error>>,
) -> Result<Hold, Error> {
    struct Waiting<'a>(&'a State);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.traffic.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
    state.traffic.waiting.fetch_add(1, Ordering::Relaxed);
    let waiting = Waiting(state);
    let result = held.await;
    drop(waiting);
    result
}

fn agent_budget(state: &State, identity: &Identity) -> Result<Budget, Refusal> {
    let unavailable =
        |error: Error| Refusal::new(RefusalKind::StoreUnavailable).with_detail(error.to_string());
    let root = state.fisc.budget(&identity.root).map_err(unavailable)?;
    state
        .fisc
        .resolve_agent(root.id(), &identity.agent)
        .map_err(unavailable)
}

fn price(
    state: &State,
    provider: &str,
    model: &str,
    now: Timestamp,
    (budget, operation): (&Budget, &str),
) -> Result<Pricing, Refusal> {
    if let Price::Known(price) = state.prices.price(Some(provider), model, now) {
        return Ok(Pricing::Known(price));
    }
    let room = budget.headroom();
    let limited = room.idle.min(room.per_call).cost().nanos() < i64::MAX;
    match &state.policy.unknown_price {
        UnknownPrice::Free => Ok(Pricing::Nothing),
        UnknownPrice::Estimate(price) => Ok(Pricing::Ceiling(Arc::clone(price))),
        UnknownPrice::Deny if limited => {
            let refusal = Refusal::new(RefusalKind::ModelUnpriced).with_detail(model);
            state
                .fisc
                .count_refusal(budget.id(), operation, model, refusal.code());
            // No budget ran out: raising one would not help.
            state.traffic.count_refused(None);
            Err(refusal)
        }
        UnknownPrice::Deny => Ok(Pricing::Unknown),
    }
}

fn refuse(
    state: &State,
    identity: &Identity,
    budget: &Budget,
    operation: &str,
    facts: &RequestFacts<'_>,
    error: &Error,
) -> Refusal {
    let mut refusal = refusal(error, |path| within(path, &identity.root));
    if let Error::Refused { path, .. } = error
        && let Ok(short) = state.fisc.budget(path)
    {
        refusal = refusal.with_whole_limit(&short.status().terms.limits);
    }
    state
        .fisc
        .count_refusal(budget.id(), operation, &facts.model, refusal.code());
    if let Error::Refused { path, refusal: why } = error
        && !why.is_temporary()
    {
        let resource = why.resource();
        state.traffic.count_refused(Some(Limiting {
            budget: path.clone(),
            resource,
        }));
    }
    refusal
}

/// Makes the answer to a hold or an extension that was not granted; `own` says which budgets the
/// caller may hear of.
pub(crate) fn refusal(error: &Error, own: impl Fn(&str) -> bool) -> Refusal {
    match error {
        Error::Refused { path, refusal } => {
            Refusal::of_tree(refusal, own(path).then(|| path.clone()))
        }
        other => Refusal::new(RefusalKind::StoreUnavailable).with_detail(other.to_string()),
    }
}

fn tags(identity: &Identity) -> Vec<(Arc<str>, Arc<str>)> {
    let task = identity
        .task
        .as_deref()
        .map(|task| (Arc::from("task"), Arc::from(task)));
    let trace = identity.trace.as_ref();
    let trace = trace.map(|trace| (Arc::from("trace"), Arc::from(trace.to_string())));
    task.into_iter().chain(trace).collect()
}

/// Everything that sizing looks at, for one request.
struct Sizer<'a> {
    state: &'a State,
    facts: &'a RequestFacts<'a>,
    class: &'a Class,
    pricing: &'a Pricing,
    limits: &'a ModelLimits,
}

// === impl Sizer ===

impl Sizer<'_> {
    /// Chooses what to hold within the room there is. Called under the engine's lock.
    fn plan(&self, room: &Headroom, sized: &mut Option<Sized>) -> Plan {
        let Sizer {
            state,
            facts,
            class,
            limits,
            ..
        } = self;
        let mut learned = state.learned();
        let known = learned.known(&class.get(), &facts.input);
        let expected = learned.expected(&class.get(), &facts.input, known);
        let output = learned.output(&class.get());
        let time = learned.time(&class.get());
        drop(learned);
        let input = InputBound::of_body(facts.wire, &facts.input, known, limits);
        let call = self.call_bound();
        let time_limit = TimeUs(micros(state.policy.call_time));
        let mut ask = Ask {
            price: self.pricing.known(),
            counting: state.fisc.counting(),
            input,
            call,
            asked_output: facts.output_cap,
            model_output: limits.output,
            output_q50: output.map(|output| output.q50),
            output_q99: output.map(|output| output.q99),
            output_floor: output_floor(state, facts),
            time_limit,
            time_q99: time.map(|time| TimeUs(time.q99 as i64)),
            time_floor: TIME_FLOOR,
            time_likely: time.map(|time| likely_time(&time, facts.stream)),
            per_call: room.per_call,
            siblings: 0,
            sibling_room: Amount::ZERO,
        };
        self.leave_room(&mut ask, expected.input);
        match size(&ask, &room.now, &room.idle) {
            Sizing::Hold {
                amount,
                output_cap,
                bounded,
                ..
            } => {
                *sized = Some(Sized {
                    input,
                    output_cap: output_cap.unwrap_or_else(|| own_output(&ask)),
                    written_cap: output_cap,
                    expected_input: expected.input,
                    deadline: room.deadline,
                });
                Plan::Hold { amount, bounded }
            }
            Sizing::Wait { least } => Plan::Wait { least },
            Sizing::Never { least } => Plan::Never { least },
        }
    }

    /// Says whether an exact count of the input may make a call fit that does not fit now.
    fn may_need_count(&self, countable: Countable<'_>, budget: &Budget) -> bool {
        if !countable.is_counted() {
            return false;
        }
        let room = budget.headroom();
        if matches!(self.plan(&room, &mut None), Plan::Hold { .. }) {
            return false;
        }
        let known = self
            .state
            .learned()
            .known(&self.class.get(), &self.facts.input);
        let counted = known.is_some_and(|known| known.exact && known.bytes_after == 0);
        let nothing_left = room.idle.raw().contains(&0);
        !counted && !nothing_left
    }

    fn call_bound(&self) -> CallBound<'_> {
        let RequestFacts {
            input,
            choices,
            service_tier,
            ..
        } = self.facts;
        CallBound {
            choices: *choices,
            searches: input.searches_max,
            // A prediction's rejected tokens are billed as output; it is no longer than the body.
            output_beyond: if input.predicted { input.body_bytes } else { 0 },
            cache_writes: input.cache_writes,
            cache_ttl_1h: input.cache_ttl_1h,
            audio_in: input.audio > 0,
            images_in: input.images > 0,
            audio_out: input.audio_out,
            service_tier: service_tier.as_deref(),
            calls: 1,
            ..CallBound::default()
        }
    }

    /// Leaves the calls that wait a usual call's room each.
    fn leave_room(&self, ask: &mut Ask<'_>, expected_input: u64) {
        let waiting = self.state.traffic.waiting.load(Ordering::Relaxed);
        let Some(usual_output) = ask.output_q99 else {
            return;
        };
        let usual_time = ask.time_q99.unwrap_or(TimeUs(0));
        let input = InputBound {
            tokens: expected_input,
            ..ask.input
        };
        let usual = Ask {
            input,
            ..ask.clone()
        }
        .amount(usual_output, usual_time);
        ask.siblings = u64::from(waiting.saturating_sub(1));
        ask.sibling_room = usual.unwrap_or(Amount::ZERO);
    }
}

// === impl Asked ===

impl Asked {
    /// Says whether a budget is the caller's root or lies below it.
    pub(crate) fn within_root(&self, path: &str) -> bool {
        within(path, &self.root)
    }

    /// Teaches what a call whose usage the provider reported did use.
    pub(crate) fn teach(&self, learned: &mut Learner, usage: &Usage, time: TimeUs, cut: bool) {
        let lesson = Lesson {
            input: usage.input(),
            output: usage.output().div_ceil(self.choices.max(1)),
            time,
            output_cut: cut && self.written_cap.is_some(),
            expected_input: Some(self.expected_input),
        };
        learned.settle(&self.class.get(), &self.shape, &lesson);
    }
}

// === impl Class ===

impl Class {
    fn get(&self) -> CallClass<'_> {
        CallClass {
            upstream: self.upstream,
            model: &self.model,
            agent: &self.agent,
        }
    }
}

// === impl Pricing ===

impl Pricing {
    fn known(&self) -> Option<&ModelPrice> {
        match self {
            Pricing::Known(price) | Pricing::Ceiling(price) => Some(price),
            Pricing::Nothing | Pricing::Unknown => None,
        }
    }
}

/// The time in which such a call is likely to be of use: a stream that is ended early is, any
/// other answer is lost then.
fn likely_time(time: &Quantiles, stream: bool) -> TimeUs {
    let likely = if stream { time.q50 } else { time.q95 };
    TimeUs(i64::try_from(likely).unwrap_or(i64::MAX))
}

/// The least output worth a call; none may think more than its cap allows.
fn output_floor(state: &State, facts: &RequestFacts<'_>) -> u64 {
    match facts.thinking {
        0 => state.policy.output_floor,
        thinking => state.policy.output_floor.max(thinking.saturating_add(1)),
    }
}

/// The output that a request may have when nothing is written into it.
fn own_output(ask: &Ask<'_>) -> u64 {
    ask.asked_output.unwrap_or(ask.model_output.tokens())
}

fn within(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
