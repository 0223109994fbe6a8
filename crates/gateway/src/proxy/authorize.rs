//! Authorize: what the call may cost, and a hold of that, or a refusal.
//!
//! The hold is sized anew each time there may be room: what was learned meanwhile counts. All
//! figures are bounds while the provider honours its cap; estimates are made beside them, for
//! reports only.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fisc::{Budget, Headroom, Hold, Plan, Resource, clock};
use fisc_core::{Amount, Money, TimeUs, Timestamp, TokenClass, Usage};
use fisc_llm::{
    Ask, CallBound, CallClass, InputBound, InputShape, Learner, Lesson, ModelLimits, Price,
    Quantiles, RequestFacts, Sizing, Wire, size,
};

use crate::policy::UnknownPrice;
use crate::proxy::act::{Acted, Measured};
use crate::proxy::attempt::{Attempt, within};
use crate::proxy::count::Countable;
use crate::proxy::pricing::Pricing;
use crate::refusal::Refusal;
use crate::state::State;
use crate::upstream::Upstream;

/// The shortest time that is still worth a call.
pub(crate) const TIME_FLOOR: TimeUs = TimeUs(50_000);

/// What is known of a call when it is made.
pub(crate) struct Asked {
    pub(crate) wire: Wire,
    pub(crate) choices: u64,
    /// The service tier asked for, or the upstream's own where the request leaves it open.
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
    /// What the gateway changed of the request, in one line; empty for nothing.
    pub(crate) changed: String,
    /// The path of the budget that the caller's secret stands for.
    root: Arc<str>,
    class: Class,
    shape: InputShape,
    expected_input: u64,
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
    attempt: &Attempt<'_>,
    measured: &Measured<'_>,
    upstream: &Upstream,
    facts: &RequestFacts<'_>,
    countable: Countable<'_>,
    acted: &Acted,
) -> Result<(Hold, Asked), Refusal> {
    let Attempt {
        state, identity, ..
    } = attempt;
    let now = state.fisc.now();
    let provider = upstream.provider().name();
    let limits = state.prices.limits(Some(provider), &facts.model, now);
    let pricing = price(attempt, provider, now)?;
    let class = Class {
        upstream: provider,
        model: facts.model.as_ref().into(),
        agent: attempt.budget.path(),
    };
    let sizer = Sizer {
        state,
        facts,
        class: &class,
        pricing: &pricing,
        limits: &limits,
        service_tier: service_tier(facts, upstream),
        output_max: output_max(facts, acted),
    };
    let mut sized = None;
    if sizer.may_need_count(countable, &attempt.budget)
        && let Some(tokens) = countable.count(state, upstream).await
    {
        state.learned().count(&class.get(), &facts.input, tokens);
    }
    let label = attempt.label(provider);
    let held = attempt.hold(label, measured, |room| sizer.plan(room, &mut sized));
    let hold = held.await?;
    state.alerts.called(state, hold.budget(), &facts.input);
    let sized = sized.expect("a hold is granted for what was sized");
    let changed = changed(acted, sized.written_cap);
    let tag = (!changed.is_empty()).then(|| (Arc::from("changed"), Arc::from(changed.as_str())));
    let asked = Asked {
        wire: facts.wire,
        choices: facts.choices,
        service_tier: sizer.service_tier.map(str::to_owned),
        pricing,
        input: sized.input,
        output_cap: sized.output_cap,
        written_cap: sized.written_cap,
        deadline: sized.deadline,
        tags: attempt.tags().into_iter().chain(tag).collect(),
        changed,
        root: identity.root.as_str().into(),
        class,
        shape: facts.input.clone(),
        expected_input: sized.expected_input,
    };
    Ok((hold, asked))
}

/// Says whether a call would be its agent's wrap-up call: nothing is left for it but what is kept
/// for that, and that is enough. As far as can be told before its hold is taken.
pub(crate) fn is_last(
    attempt: &Attempt<'_>,
    upstream: &Upstream,
    facts: &RequestFacts<'_>,
) -> bool {
    let Attempt { state, budget, .. } = attempt;
    let room = budget.headroom();
    if !room.may_finalize {
        return false;
    }
    let (now, provider) = (state.fisc.now(), upstream.provider().name());
    let Price::Known(price) = state.prices.price(Some(provider), &facts.model, now) else {
        return false;
    };
    let class = Class {
        upstream: provider,
        model: facts.model.as_ref().into(),
        agent: budget.path(),
    };
    let sizer = Sizer {
        state,
        facts,
        class: &class,
        pricing: &Pricing::Known(price),
        limits: &state.prices.limits(Some(provider), &facts.model, now),
        service_tier: service_tier(facts, upstream),
        output_max: None,
    };
    let reserve = || state.fisc.wrap_up_room(budget.id());
    matches!(sizer.plan(&room, &mut None), Plan::Never { .. })
        && reserve().is_some_and(|room| matches!(sizer.plan(&room, &mut None), Plan::Hold { .. }))
}

fn price(attempt: &Attempt<'_>, provider: &str, now: Timestamp) -> Result<Pricing, Refusal> {
    let state = attempt.state;
    if let Price::Known(price) = state.prices.price(Some(provider), attempt.model, now) {
        return Ok(Pricing::Known(price));
    }
    if state.policy.unknown_price != UnknownPrice::Free {
        let path = || attempt.budget.path();
        state.alerts.unpriced(provider, attempt.model, now, path);
    }
    match &state.policy.unknown_price {
        UnknownPrice::Free => Ok(Pricing::Nothing),
        UnknownPrice::Estimate(price) => Ok(Pricing::Ceiling(Arc::clone(price))),
        UnknownPrice::Deny if attempt.is_limited(Resource::Cost) => Err(attempt.unpriced()),
        UnknownPrice::Deny => Ok(Pricing::Unknown),
    }
}

/// Returns the service tier that decides what a call may cost: its own, or where it leaves that
/// to the provider, what the owner says of the provider's account.
fn service_tier<'a>(facts: &'a RequestFacts<'_>, upstream: &'a Upstream) -> Option<&'a str> {
    let asked = facts.service_tier.as_deref();
    match asked {
        None | Some("auto") => upstream.default_tier().or(asked),
        named => named,
    }
}

/// Everything that sizing looks at, for one request.
struct Sizer<'a> {
    state: &'a State,
    facts: &'a RequestFacts<'a>,
    class: &'a Class,
    pricing: &'a Pricing,
    limits: &'a ModelLimits,
    service_tier: Option<&'a str>,
    /// The output cap that the level sets, where it is lower than the request's own.
    output_max: Option<u64>,
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
        let output = learned.output_need(&class.get());
        let time = learned.time(&class.get());
        drop(learned);
        let input = InputBound::of_body(facts.wire, &facts.input, known, limits);
        let call = self.call_bound();
        let time_limit = clock::span(state.policy.call_time);
        let mut ask = Ask {
            price: self.pricing.known(),
            counting: state.fisc.counting(),
            input,
            call,
            asked_output: self.output_max.or(facts.output_cap),
            model_output: limits.output,
            output_q95: output.map(|output| output.q95),
            output_q99: output.map(|output| output.q99),
            output_floor: output_floor(state, facts),
            time_limit,
            time_q99: time.map(|time| TimeUs(time.q99 as i64)),
            time_floor: TIME_FLOOR,
            time_likely: time.map(|time| likely_time(&time, facts.stream)),
            per_call: room.per_call,
            running: u64::from(room.open),
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
                    written_cap: output_cap.or(self.output_max),
                    expected_input: expected.input,
                    deadline: room.deadline,
                });
                Plan::Hold { amount, bounded }
            }
            Sizing::Wait { least, wanted } => Plan::Wait { least, wanted },
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
        let RequestFacts { input, choices, .. } = self.facts;
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
            service_tier: self.service_tier,
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

    /// Returns the path of the caller's root.
    pub(crate) fn root(&self) -> Arc<str> {
        Arc::clone(&self.root)
    }

    /// Returns what `tokens` more of output can cost at most.
    pub(crate) fn dearest_output(&self, tokens: u64) -> Money {
        let Some(price) = self.pricing.known() else {
            return Money::ZERO;
        };
        let bound = |output| CallBound {
            input: self.input.tokens,
            output,
            audio_out: self.shape.audio_out,
            service_tier: self.service_tier.as_deref(),
            ..CallBound::default()
        };
        let (with, without) = (price.dearest(&bound(tokens)), price.dearest(&bound(0)));
        let more = with.ok().zip(without.ok());
        more.map_or(Money::MAX, |(with, without)| {
            Money::from_nanos(with.nanos() - without.nanos())
        })
    }

    /// Teaches what a call whose usage the provider reported did use.
    pub(crate) fn teach(&self, learned: &mut Learner, usage: &Usage, time: TimeUs, cut: bool) {
        let lesson = Lesson {
            input: usage.input(),
            cached: usage.get(TokenClass::CacheRead),
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

/// The output cap that the level sets, where it is lower than the request's own and leaves room
/// to think.
fn output_max(facts: &RequestFacts<'_>, acted: &Acted) -> Option<u64> {
    let lower = |max: &u64| facts.output_cap.is_none_or(|own| *max < own);
    acted
        .output_max
        .filter(|max| lower(max) && *max > facts.thinking)
}

/// Says in one line what was changed of a request, for the answer's header and the ledger.
fn changed(acted: &Acted, cap: Option<u64>) -> String {
    let cap = cap.map(|cap| format!("cap={cap}"));
    let changes: Vec<&str> = (acted.changes.iter())
        .chain(&cap)
        .map(String::as_str)
        .collect();
    changes.join(" ")
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
