//! A call that asks for a hold: it gets one, waits for it, or is refused.
//!
//! What it asks for is decided in `authorize`, what a refusal says in `refusal`. Every refusal is
//! counted in the ledger's reports; a final one, which no waiting mends, also in the traffic, which
//! tells a stubborn agent from one that gave up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fisc::core::TreeError;
use fisc::{
    Asking, Budget, BudgetId, CallLabel, Error, Headroom, Hold, Level, Patience, Plan, Resource,
};
use tokio::sync::Notify;

use crate::policy::PATIENCE_MAX;
use crate::proxy::act::Measured;
use crate::proxy::identify::Identity;
use crate::refusal::{Refusal, RefusalKind};
use crate::state::{Asking as Asked, Final, Limiting, RanOut, State, Verdict, Waiting};

/// The operation of a call that names none.
const OPERATION_DEFAULT: &str = "call";

/// A call that asks for a hold.
pub(crate) struct Attempt<'a> {
    pub(crate) state: &'a State,
    pub(crate) identity: &'a Identity,
    /// The budget of its agent.
    pub(crate) budget: Budget,
    /// The model; empty while it is not known.
    pub(crate) model: &'a str,
    /// Who is to hear when it waits longer than clients wait in silence.
    pub(crate) long: Option<&'a Notify>,
}

// === impl Attempt ===

impl<'a> Attempt<'a> {
    /// Finds the budget of the caller's agent, or makes it.
    pub(crate) fn new(
        state: &'a State,
        identity: &'a Identity,
        model: &'a str,
    ) -> Result<Attempt<'a>, Refusal> {
        let unavailable = |error: Error| {
            let kind = match error {
                Error::Tree(TreeError::Released(_)) => RefusalKind::BudgetReleased,
                _ => RefusalKind::StoreUnavailable,
            };
            Refusal::new(kind).with_detail(error.to_string())
        };
        let root = state.fisc.budget(&identity.root).map_err(unavailable)?;
        let now = state.fisc.ticks();
        let newcomers = |parent: BudgetId| {
            let terms = state.policy.newcomers.get(&parent).copied();
            let may_come = state.births.may_come(&identity.root, now);
            may_come.then(|| terms.unwrap_or_default())
        };
        let budget = state
            .fisc
            .resolve_agent(root.id(), &identity.agent, newcomers);
        Ok(Attempt {
            state,
            identity,
            budget: budget.map_err(unavailable)?,
            model,
            long: None,
        })
    }

    /// Returns what the caller calls its operation.
    pub(crate) fn operation(&self) -> &'a str {
        self.identity
            .operation
            .as_deref()
            .unwrap_or(OPERATION_DEFAULT)
    }

    /// Returns the caller's own tags, and the name of an agent that got no budget of its own.
    pub(crate) fn tags(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let Identity {
            root,
            agent,
            task,
            trace,
            ..
        } = self.identity;
        let tag = |name: &str, value: String| (Arc::from(name), Arc::from(value));
        let task = task.as_deref().map(|task| tag("task", task.to_owned()));
        let trace = trace.as_ref().map(|trace| tag("trace", trace.to_string()));
        let is_own =
            agent.is_empty() || self.budget.path() == format!("{root}/{}", agent.join("/"));
        let other = (!is_own).then(|| tag("agent", agent.join(".")));
        task.into_iter().chain(trace).chain(other).collect()
    }

    /// Says whether a resource is limited anywhere on the budget's path, in all or for one call.
    pub(crate) fn is_limited(&self, resource: Resource) -> bool {
        let room = self.budget.headroom();
        room.idle.get(resource).min(room.per_call.get(resource)) < i64::MAX
    }

    /// Labels the call for the books.
    pub(crate) fn label(&self, provider: &str) -> CallLabel {
        CallLabel {
            operation: self.operation().into(),
            model: self.model.into(),
            provider: provider.into(),
            price_version: self.state.prices.version().into(),
            attempt: 1,
            bounded: true,
        }
    }

    /// Holds what `plan` chooses for the room there is, or waits for it, or refuses; slowed as
    /// the owner's measures say. Where those say that the owner is asked, it waits for the
    /// answer before it is refused.
    pub(crate) async fn hold(
        &self,
        call: CallLabel,
        measured: &Measured<'_>,
        mut plan: impl FnMut(&Headroom) -> Plan,
    ) -> Result<Hold, Refusal> {
        let Attempt {
            state,
            budget,
            identity,
            ..
        } = self;
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let asking = Asking {
                call: call.clone(),
                patience: Patience(self.patience()),
                finalize: identity.finalize,
            };
            let restrain = |room: &Headroom| measured.restraint(room);
            let held = wait(state, budget.hold_restrained(asking, restrain, &mut plan)).await;
            let error = match held {
                Ok(hold) => {
                    let now = state.fisc.ticks();
                    state.traffic.count_admitted(budget.id(), now);
                    if let Some(waiting) = waiting {
                        waiting.withdraw(&state.fisc);
                    }
                    return Ok(hold);
                }
                Err(error) => error,
            };
            match self.may_ask_again(&error, &mut waiting).await {
                Some(Verdict::Again) => {}
                Some(Verdict::Stopped) => {
                    return Err(self.counted(Refusal::new(RefusalKind::ShuttingDown)));
                }
                Some(Verdict::No) => {
                    let refusal = self.not_granted(&error);
                    return Err(refusal.with_detail("its owner was asked, and did not approve"));
                }
                None => return Err(self.not_granted(&error)),
            }
        }
    }

    /// Asks the owner of a budget that has run out, where that is wanted, and waits for the
    /// answer; `None` where nobody is asked.
    async fn may_ask_again(
        &self,
        error: &Error,
        waiting: &mut Option<Waiting<'a>>,
    ) -> Option<Verdict> {
        let state = self.state;
        let Error::Refused {
            refusal: fisc::Refusal::Never(short),
            ..
        } = error
        else {
            return None;
        };
        let asking = || state.policy.asking_time(&state.fisc, short.budget);
        let time = state.asks.then(asking).flatten()?;
        let own = waiting.take().filter(|waiting| waiting.is_about(short));
        if let Some(waiting) = own {
            return Some(self.answered(waiting).await);
        }
        Some(match state.questions.ask(&state.fisc, short, time) {
            Asked::Known(verdict) => verdict,
            Asked::Waits(asked) => {
                // Room that came before it asked ends no wait: it looks once more.
                *waiting = Some(asked);
                Verdict::Again
            }
        })
    }

    async fn answered(&self, mut waiting: Waiting<'_>) -> Verdict {
        if let Some(long) = self.long {
            tokio::select! {
                biased;
                verdict = waiting.answered() => return verdict,
                () = tokio::time::sleep(self.patience()) => long.notify_one(),
            }
        }
        waiting.answered().await
    }

    fn patience(&self) -> Duration {
        self.state.policy.patience.min(PATIENCE_MAX)
    }

    /// Refuses without judging when the agent was refused too often and nothing has changed.
    pub(crate) fn cut_off(&self) -> Option<Refusal> {
        let Attempt { state, budget, .. } = self;
        let ran_out = state.traffic.cut_off(budget.id(), || budget.headroom())?;
        let refusal = ran_out.refusal.clone();
        Some(self.for_good(refusal, Final::RanOut(ran_out)))
    }

    /// Refuses a model that nobody priced.
    pub(crate) fn unpriced(&self) -> Refusal {
        let refusal = Refusal::new(RefusalKind::ModelUnpriced).with_detail(self.model);
        // No budget ran out: raising one would not help.
        self.for_good(refusal, Final::Unacceptable)
    }

    /// Declines a call that is marked optional.
    pub(crate) fn declined(&self, level: Level) -> Refusal {
        let refusal = Refusal::new(RefusalKind::OptionalDeclined).with_detail(level.name());
        self.counted(refusal)
    }

    /// Refuses a path of which nobody knows what it costs.
    pub(crate) fn unmetered(&self) -> Refusal {
        let path = self.identity.rest.as_str();
        let refusal = Refusal::new(RefusalKind::UnmeteredPath).with_detail(path);
        // No budget ran out, but a program that goes on asking is as stubborn.
        self.for_good(refusal, Final::Unacceptable)
    }

    /// Refuses a path that the upstream may read as another one.
    pub(crate) fn ambiguous(&self) -> Refusal {
        let path = &self.identity.rest;
        let detail = format!("{path:?} may be read as another path; spell it in the plain way");
        let refusal = Refusal::new(RefusalKind::BadRequest).with_detail(detail);
        self.for_good(refusal, Final::Unacceptable)
    }

    /// Makes the answer to a hold that was not granted.
    fn not_granted(&self, error: &Error) -> Refusal {
        let Attempt {
            state, identity, ..
        } = self;
        let mut refusal = refusal(error, |path| within(path, &identity.root));
        if let Error::Refused {
            refusal: fisc::Refusal::Throttled(_, Some(due)),
            ..
        } = error
        {
            refusal = refusal.until(due.since(state.fisc.now()));
        }
        let Error::Refused { path, refusal: why } = error else {
            return self.counted(refusal);
        };
        if let Ok(short) = state.fisc.budget(path) {
            refusal = refusal.with_whole_limit(&short.status().terms.limits);
        }
        if why.is_temporary() {
            return self.counted(refusal);
        }
        let limiting = Limiting {
            budget: path.clone(),
            resource: why.resource(),
        };
        let why = match refusal.kind() {
            RefusalKind::BudgetExhausted | RefusalKind::TimeOver => {
                let ran_out = RanOut {
                    root: self.root_ran_out(&limiting),
                    limiting,
                    room: self.budget.headroom(),
                    refusal: refusal.clone(),
                };
                Final::RanOut(Box::new(ran_out))
            }
            RefusalKind::RequestExceedsBudget => Final::TooLarge(limiting),
            _ => Final::Unacceptable,
        };
        self.for_good(refusal, why)
    }

    /// Says what the caller's own root has run out of: it, or a budget above it, refused, or it
    /// has nothing left that an ordinary call could hold.
    fn root_ran_out(&self, limiting: &Limiting) -> Option<Limiting> {
        let root = &self.identity.root;
        if within(root, &limiting.budget) {
            return Some(limiting.clone());
        }
        let room = self.state.fisc.budget(root).ok()?.headroom();
        let nothing = |resource: &Resource| room.idle.get(*resource) == 0;
        let resource = Resource::ALL.into_iter().find(nothing)?;
        Some(Limiting {
            budget: root.clone(),
            resource: Some(resource),
        })
    }

    fn for_good(&self, refusal: Refusal, why: Final) -> Refusal {
        let state = self.state;
        let now = state.fisc.ticks();
        state.traffic.count_refused(self.budget.id(), now, why);
        self.counted(refusal)
    }

    fn counted(&self, refusal: Refusal) -> Refusal {
        let (budget, code) = (self.budget.id(), refusal.code());
        let fisc = &self.state.fisc;
        fisc.count_refusal(budget, self.operation(), self.model, code);
        refusal
    }
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

/// Says whether a budget is `root` or lies below it.
pub(crate) fn within(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
