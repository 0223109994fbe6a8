//! Act: what a call becomes as its budget is used up, before anything is held for it.
//!
//! The level that acts on the agent's budget, and the owner's table of actions, decide: the agent
//! is told, the call is slowed, shortened or made cheaper. Every change is a splice, said in the
//! answer's headers and in the ledger. Another model is taken only where cost binds and the call is
//! expected to cost less with it. What is left over is judged in `authorize`.

mod notice;

use bytes::Bytes;
use fisc::{Acting, Budget, BudgetId, Headroom, Level, Resource, Restraint};
use fisc_core::{TokenClass, Usage};
use fisc_llm::{CallClass, CapField, Edits, Price, RequestFacts, TaskBudget};

use crate::policy::{Action, Measures, NoticeForm, Policy};
use crate::proxy::attempt::Attempt;
use crate::proxy::authorize;
use crate::refusal::Refusal;
use crate::state::State;
use crate::upstream::Upstream;

pub(crate) use self::notice::{Claim, Told};

/// How many bytes of a notice are a token, about: it has figures, which are short ones.
const BYTES_PER_TOKEN: u64 = 3;

/// How many tokens a provider adds that tells of a budget in its own way, about.
const NATIVE_TOKENS: u64 = 40;

/// The output that a call is taken to have while nothing is known of its like, in tokens.
const OUTPUT_USUAL: u64 = 500;

/// What is done about calls of one budget, whichever budget on its path binds.
pub(crate) struct Measured<'a> {
    policy: &'a Policy,
    /// The budgets from the agent's own up to the root; empty where all have the usual measures.
    lineage: Vec<BudgetId>,
}

/// A call as it was changed.
#[derive(Debug, Default)]
pub(crate) struct Acted {
    /// Its body, where it is not as the caller sent it.
    pub(crate) body: Option<Bytes>,
    /// The most output that it may have, whatever is left; `None` for no such cap.
    pub(crate) output_max: Option<u64>,
    /// Whether a provider may refuse what was changed though it would not refuse the call.
    pub(crate) may_be_refused: bool,
    /// Whether the budget is named in the provider's own way, which needs a header.
    pub(crate) native: bool,
    /// What was changed, for the answer's header and the ledger.
    pub(crate) changes: Vec<String>,
    /// That the agent is told by this call.
    pub(crate) told: Option<Claim>,
    /// About how many tokens that adds; an estimate.
    pub(crate) notice_tokens: u64,
}

/// One call and what is needed to change it.
struct Act<'a> {
    attempt: &'a Attempt<'a>,
    upstream: &'a Upstream,
    facts: &'a RequestFacts<'a>,
    acting: Acting,
    measures: &'a Measures,
    /// Whether its agent may be told.
    may_tell: bool,
}

/// What is to be edited, owned.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a step that is taken or not"
)]
struct Steps {
    model: Option<String>,
    one_choice: bool,
    no_searches: bool,
    no_images: bool,
    low_effort: bool,
    notice: Option<String>,
    task_budget: Option<TaskBudget>,
}

/// Decides what a call becomes; declines one that is marked optional where those are off.
pub(crate) fn act(
    attempt: &Attempt<'_>,
    upstream: &Upstream,
    measured: &Measured<'_>,
    facts: &RequestFacts<'_>,
    body: &Bytes,
    may_tell: bool,
) -> Result<Acted, Refusal> {
    let acting = attempt.budget.acting();
    let told = &attempt.state.told;
    if acting.level == Level::Green {
        told.forget(attempt.budget.id());
        return Ok(Acted::default());
    }
    let act = Act {
        attempt,
        upstream,
        facts,
        acting,
        measures: measured.of(acting),
        may_tell,
    };
    if acting.level < Level::Red && authorize::is_last(attempt, upstream, facts) {
        // As it is it would take its agent's wrap-up call: cheaper it may not have to.
        let acting = Acting {
            level: Level::Red,
            ..acting
        };
        return Act { acting, ..act }.act(body);
    }
    act.act(body)
}

// === impl Measured ===

impl<'a> Measured<'a> {
    /// Finds what is done about the calls of a budget.
    pub(crate) fn new(state: &'a State, budget: &Budget) -> Measured<'a> {
        let policy = &state.policy;
        let lineage = if policy.measures.is_empty() {
            Vec::new()
        } else {
            state.fisc.lineage(budget.id())
        };
        Measured { policy, lineage }
    }

    /// Returns what is done where this budget binds.
    pub(crate) fn of(&self, acting: Acting) -> &'a Measures {
        let from = self.lineage.iter().skip_while(|id| **id != acting.budget);
        self.policy.measures(from.copied())
    }

    /// Says how a call is slowed that finds this room.
    pub(crate) fn restraint(&self, room: &Headroom) -> Option<Restraint> {
        let acting = room.acting;
        // At Black nothing is slowed: it is stopped, or wraps up.
        if !(Level::Yellow..Level::Black).contains(&acting.level) {
            return None;
        }
        let mut restraint = Restraint {
            at: acting.budget,
            halve: false,
            pace: None,
        };
        let actions = &self.of(acting).actions;
        for action in actions.at(acting.level, acting.resource) {
            match action {
                Action::Halve => restraint.halve = true,
                Action::Pace => restraint.pace = acting.resource,
                _ => {}
            }
        }
        (restraint.halve || restraint.pace.is_some()).then_some(restraint)
    }
}

// === impl Acted ===

impl Acted {
    fn note(&mut self, what: &str, to: &str) {
        self.changes.push(format!("{what}={to}"));
    }
}

// === impl Act ===

impl Act<'_> {
    fn act(&self, body: &Bytes) -> Result<Acted, Refusal> {
        let Acting {
            level, resource, ..
        } = self.acting;
        let (mut acted, mut steps) = (Acted::default(), Steps::default());
        let mut tells = false;
        let actions: Vec<Action> = self.measures.actions.at(level, resource).collect();
        for action in actions {
            match action {
                Action::Notice => tells = true,
                Action::Optional if self.attempt.identity.optional => {
                    return Err(self.attempt.declined(self.acting.level));
                }
                Action::Shorten => self.shorten(&mut acted),
                Action::Output(cap) => acted.cap(cap),
                Action::Halve | Action::Pace | Action::Optional => {}
                step => self.step(step, &mut acted, &mut steps),
            }
        }
        let last = self.is_last(body, &steps);
        self.tell(tells, last, &mut acted, &mut steps);
        if last && steps.is_told() && !self.is_last(body, &steps) {
            // With the notice it would not fit; without it, it does.
            acted.untell(self.attempt.state);
            steps.notice = None;
            steps.task_budget = None;
        }
        let edits = steps.edits();
        if edits != Edits::default() {
            acted.body = Some(Bytes::from(self.facts.edit(body, &edits)));
        }
        Ok(acted)
    }

    /// Caps the output at what nearly all such calls need, once that is known.
    fn shorten(&self, acted: &mut Acted) {
        // The engine's lock goes first: what was learned is locked within it.
        let agent = self.attempt.budget.path();
        let learned = self.attempt.state.learned();
        if let Some(output) = learned.output(&self.class(&agent, &self.facts.model)) {
            acted.cap(output.q95.max(self.attempt.state.policy.output_floor));
        }
    }

    /// Takes a step that makes the call cheaper, where the request has what it is about.
    fn step(&self, action: Action, acted: &mut Acted, steps: &mut Steps) {
        let facts = self.facts;
        match action {
            Action::Search if facts.has_searches() => {
                steps.no_searches = true;
                acted.note("search", "off");
            }
            Action::Choices if facts.has_choices() => {
                steps.one_choice = true;
                acted.note("choices", "1");
            }
            Action::Images if facts.has_images() => {
                steps.no_images = true;
                acted.note("images", "off");
            }
            Action::Effort if facts.has_effort() => {
                steps.low_effort = true;
                acted.note("effort", "low");
            }
            Action::Model => {
                let cheaper = self.measures.fallbacks.find(&facts.model);
                let Some(model) = cheaper.filter(|model| self.is_cheaper(model)) else {
                    return;
                };
                acted.note("model", model);
                steps.model = Some(model.to_owned());
            }
            _ => return,
        }
        acted.may_be_refused = true;
    }

    /// Says whether a call is expected to cost less with another model, though nothing of its
    /// prompt is cached there that is here. Where tokens or time are scarce no model is cheaper.
    fn is_cheaper(&self, other: &str) -> bool {
        if self.acting.resource != Some(Resource::Cost) {
            return false;
        }
        let state = self.attempt.state;
        let agent = self.attempt.budget.path();
        let mut learned = state.learned();
        let own = self.class(&agent, &self.facts.model);
        let known = learned.known(&own, &self.facts.input);
        let expected = learned.expected(&own, &self.facts.input, known);
        let output = expected.output.unwrap_or(OUTPUT_USUAL);
        let output = self.facts.output_cap.map_or(output, |cap| output.min(cap));
        let usage = |class: &CallClass<'_>| {
            let cached = (learned.cached_part(class) * expected.input as f64) as u64;
            Usage::default()
                .with(TokenClass::UncachedInput, expected.input - cached)
                .with(TokenClass::CacheRead, cached)
                .with(
                    TokenClass::Output,
                    output.saturating_mul(self.facts.choices),
                )
        };
        let now = state.fisc.now();
        let charge = |model: &str, usage: &Usage| {
            let provider = Some(self.upstream.provider().name());
            match state.prices.price(provider, model, now) {
                Price::Known(price) => price.charge(usage, None, fisc::TimeUs(0), 1).ok(),
                Price::Unpriced => None,
            }
        };
        let before = charge(&self.facts.model, &usage(&own));
        let after = charge(other, &usage(&self.class(&agent, other)));
        before
            .zip(after)
            .is_some_and(|(before, after)| after < before)
    }

    /// Says whether the call, as it is changed so far, is its agent's wrap-up call.
    fn is_last(&self, body: &Bytes, steps: &Steps) -> bool {
        if self.acting.level < Level::Red {
            return false;
        }
        let edits = steps.edits();
        if edits == Edits::default() {
            return authorize::is_last(self.attempt, self.upstream, self.facts);
        }
        let changed = self.facts.edit(body, &edits);
        let facts = RequestFacts::read(self.facts.wire, &changed);
        facts.is_ok_and(|facts| authorize::is_last(self.attempt, self.upstream, &facts))
    }

    /// Tells the agent once at each level, and with its wrap-up call that it is its last.
    fn tell(&self, tells: bool, last: bool, acted: &mut Acted, steps: &mut Steps) {
        let Attempt { state, budget, .. } = self.attempt;
        let level = if last {
            Level::Black
        } else {
            self.acting.level
        };
        let due = last || (tells && level < Level::Black);
        if !due || !(self.may_tell || last) {
            return;
        }
        let Some(claim) = state.told.claim(budget.id(), level) else {
            return;
        };
        let sight = notice::sight(self.attempt, self.acting);
        if let Some(budget) = sight.task_budget()
            && self.measures.notice == NoticeForm::Native
            && self.facts.takes_task_budget()
        {
            steps.task_budget = Some(budget);
            acted.native = true;
            acted.may_be_refused = true;
            acted.note("notice", "native");
            acted.notice_tokens = NATIVE_TOKENS;
        } else if self.facts.takes_notice() {
            let text = sight.text(last);
            acted.notice_tokens = (text.len() as u64).div_ceil(BYTES_PER_TOKEN);
            steps.notice = Some(text);
            acted.note("notice", if last { "last" } else { level.name() });
        } else {
            state.told.take_back(claim);
            return;
        }
        acted.told = Some(claim);
    }

    fn class<'c>(&self, agent: &'c str, model: &'c str) -> CallClass<'c> {
        CallClass {
            upstream: self.upstream.provider().name(),
            model,
            agent,
        }
    }
}

// === impl Acted, privately ===

impl Acted {
    /// Takes back that the agent is told.
    pub(crate) fn untell(&mut self, state: &State) {
        if let Some(claim) = self.told.take() {
            state.told.take_back(claim);
        }
        self.native = false;
        self.notice_tokens = 0;
        self.changes.retain(|change| !change.starts_with("notice="));
    }

    fn cap(&mut self, cap: u64) {
        self.output_max = Some(self.output_max.map_or(cap, |other| other.min(cap)));
    }
}

// === impl Steps ===

impl Steps {
    fn is_told(&self) -> bool {
        self.notice.is_some() || self.task_budget.is_some()
    }

    fn edits(&self) -> Edits<'_> {
        Edits {
            output_cap: None,
            cap_field: CapField::default(),
            include_usage: false,
            model: self.model.as_deref(),
            one_choice: self.one_choice,
            no_searches: self.no_searches,
            no_images: self.no_images,
            low_effort: self.low_effort,
            notice: self.notice.as_deref(),
            task_budget: self.task_budget,
        }
    }
}
