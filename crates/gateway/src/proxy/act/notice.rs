//! The notice: what an agent is told of its budget, and that it is told once.
//!
//! It stands at the end of the last message of one request, never before anything that a provider
//! caches, and is gone with the next. Figures are those of the budget that binds, as far as the
//! caller's secret lets it see.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{Acting, BudgetId, BudgetStatus, Level, Resource, TimeUs};
use fisc_core::Money;
use fisc_llm::TaskBudget;

use crate::proxy::attempt::{Attempt, within};

/// The smallest budget that Anthropic takes, in tokens.
const TASK_BUDGET_MIN: i64 = 20_000;

/// At which level each agent was told last.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<BudgetId, Level>>);

/// That one call tells its agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    agent: BudgetId,
    before: Option<Level>,
}

/// What a caller may know of the budget that binds it.
pub(super) struct Sight {
    level: Level,
    resource: Option<Resource>,
    limit: Option<i64>,
    left: Option<i64>,
}

/// Finds what the caller may be told of the budget that binds it.
pub(super) fn sight(attempt: &Attempt<'_>, acting: Acting) -> Sight {
    let Attempt {
        state, identity, ..
    } = attempt;
    let status = state.fisc.status(acting.budget);
    let own = status.filter(|status| within(&status.path, &identity.root));
    let now = state.fisc.now();
    let figures = own.and_then(|status| {
        if let Some(resource) = acting.resource {
            return of_resource(&status, resource);
        }
        let span = status.terms.elapsed?;
        let end = status.allocated.after(span);
        Some((span.0, end.since(now).0.max(0)))
    });
    Sight {
        level: acting.level,
        resource: acting.resource,
        limit: figures.map(|(limit, _)| limit),
        left: figures.map(|(_, left)| left),
    }
}

/// The limit of a resource, or the share, and what is left of it.
fn of_resource(status: &BudgetStatus, resource: Resource) -> Option<(i64, i64)> {
    let limit = status.terms.limits.get(resource);
    let share = status.share.get(resource);
    let limit = limit.into_iter().chain(share).min()?;
    let left = limit.saturating_sub(status.window_spent.get(resource));
    Some((limit, left.max(0)))
}

/// That an agent is being told; not so, when the call is given up before it is made.
pub(crate) struct Telling<'a> {
    told: &'a Told,
    claim: Option<Claim>,
}

// === impl Telling ===

impl Telling<'_> {
    /// The call is made.
    pub(crate) fn done(mut self) {
        self.claim = None;
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            self.told.take_back(claim);
        }
    }
}

// === impl Told ===

impl Told {
    /// Notes that an agent is told at a level, unless it was at this one or one above it: of
    /// calls at once only one tells it.
    pub(crate) fn claim(&self, agent: BudgetId, level: Level) -> Option<Claim> {
        let mut all = self.all();
        let before = all.get(&agent).copied();
        if before.is_some_and(|told| told >= level) {
            return None;
        }
        all.insert(agent, level);
        Some(Claim { agent, before })
    }

    /// Takes back that an agent is told unless its call is made.
    pub(crate) fn telling(&self, claim: Claim) -> Telling<'_> {
        Telling {
            told: self,
            claim: Some(claim),
        }
    }

    /// Takes back that an agent is told: the call was not made.
    pub(crate) fn take_back(&self, Claim { agent, before }: Claim) {
        let mut all = self.all();
        match before {
            Some(level) => all.insert(agent, level),
            None => all.remove(&agent),
        };
    }

    /// An agent whose budget is Green again is told anew when it is not.
    pub(crate) fn forget(&self, agent: BudgetId) {
        let mut all = self.all();
        if !all.is_empty() {
            all.remove(&agent);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<BudgetId, Level>> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Sight ===

impl Sight {
    /// Returns the text of the notice; `last` says that the call is the agent's last.
    pub(super) fn text(&self, last: bool) -> String {
        let of = match self.resource {
            Some(Resource::Cost) => "money",
            Some(Resource::Tokens) => "tokens",
            Some(Resource::Time) | None => "time",
        };
        let used = self.limit.zip(self.left).map(|(limit, left)| {
            let used = i128::from(limit - left) * 100 / i128::from(limit.max(1));
            let left = self.shown(left);
            format!("{used}% of your {of} is used, {left} left.")
        });
        let used = used.unwrap_or_else(|| format!("most of your {of} is used."));
        let advice = match self.level {
            _ if last => "This is your last call: state your result and what is left to do.",
            Level::Green | Level::Yellow => "Plan the rest of your work accordingly.",
            Level::Orange => "Finish what matters most; calls are slower and shorter now.",
            Level::Red | Level::Black => "Wrap up now; cheaper models may answer.",
        };
        format!("[budget] {used} {advice}")
    }

    /// Returns the budget in Anthropic's own form, where tokens are what is scarce.
    pub(super) fn task_budget(&self) -> Option<TaskBudget> {
        if self.resource != Some(Resource::Tokens) {
            return None;
        }
        let (limit, left) = self.limit.zip(self.left)?;
        (limit >= TASK_BUDGET_MIN).then(|| TaskBudget {
            total: limit.unsigned_abs(),
            remaining: left.unsigned_abs(),
        })
    }

    fn shown(&self, left: i64) -> String {
        match self.resource {
            Some(Resource::Cost) => format!("${}", Money::from_nanos(left).to_decimal()),
            Some(Resource::Tokens) => format!("{left} tokens"),
            Some(Resource::Time) | None => {
                let TimeUs(micros) = TimeUs(left);
                format!("{} s", micros / 1_000_000)
            }
        }
    }
}
