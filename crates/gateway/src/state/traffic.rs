//! Who calls and who is refused, agent by agent: what it takes to cut off an agent that goes on
//! after refusals, to tell when nothing else goes on, and to say which budget stopped whom.
//!
//! It decides nothing about budgets; a *final* refusal is one that waiting cannot mend.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{BudgetId, Headroom, Resource, TimeUs};

use crate::refusal::Refusal;

/// How long after its last call an agent still counts as calling: it thinks, or does its work.
const STILL_CALLS: TimeUs = TimeUs(60_000_000);

/// Counters of what passed, for whoever runs the gateway.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Calls that wait for room now.
    pub(crate) waiting: AtomicU32,
    admitted: AtomicU64,
    refused: AtomicU64,
    /// Calls that used more than was held for them.
    breaches: AtomicU64,
    /// After how many final refusals in a row an agent is cut off, if ever.
    max_refusals: Option<u64>,
    agents: Mutex<Agents>,
}

/// What stopped a call for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limiting {
    /// The path of the budget.
    pub budget: String,
    /// The resource, or `None` for elapsed time.
    pub resource: Option<Resource>,
}

/// Why a call was refused for good.
#[derive(Debug, Clone)]
pub(crate) enum Final {
    /// A budget on its path has run out.
    RanOut(Box<RanOut>),
    /// It is larger than a whole budget, which may well serve others.
    TooLarge(Limiting),
    /// Something about the call itself, whatever is left: nobody knows what it costs, or it is
    /// larger than a single call may be.
    Unacceptable,
}

/// A budget that has run out, for one agent at least.
#[derive(Debug, Clone)]
pub(crate) struct RanOut {
    /// The budget.
    pub(crate) limiting: Limiting,
    /// What the caller's own root has run out of, if it has.
    pub(crate) root: Option<Limiting>,
    /// The room that the agent was left with.
    pub(crate) room: Headroom,
    /// What the caller was told.
    pub(crate) refusal: Refusal,
}

/// Every agent that ever called: no more than the tree has budgets.
#[derive(Debug, Default)]
struct Agents {
    by_budget: BTreeMap<BudgetId, Agent>,
    /// What a root was found to have run out of since the last call that was admitted.
    root: Option<Limiting>,
    /// Numbers final refusals.
    refusals: u64,
}

/// One agent's calls.
#[derive(Debug, Default)]
struct Agent {
    /// Calls that run.
    open: u32,
    /// Whether any call was ever admitted.
    admitted: bool,
    /// Final refusals since the last call that was admitted.
    refused_in_a_row: u64,
    /// When it last called, was refused, or had a call ended.
    last_seen: TimeUs,
    /// What stopped it since the last call that was admitted, and which refusal that was.
    limiting: Option<(u64, Limiting)>,
    /// The last time that it was found out of budget since then.
    ran_out: Option<Box<RanOut>>,
}

// === impl Traffic ===

impl Traffic {
    /// Starts to count. An agent is cut off after `max_refusals` final refusals in a row.
    pub(crate) fn new(max_refusals: Option<u64>) -> Traffic {
        Traffic {
            waiting: AtomicU32::new(0),
            admitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            breaches: AtomicU64::new(0),
            max_refusals,
            agents: Mutex::default(),
        }
    }

    /// Counts a call that was admitted: its agent is not stubborn, and nothing stops it.
    pub(crate) fn count_admitted(&self, agent: BudgetId, now: TimeUs) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
        let mut agents = self.agents();
        agents.root = None;
        let agent = agents.by_budget.entry(agent).or_default();
        agent.open += 1;
        agent.admitted = true;
        agent.refused_in_a_row = 0;
        agent.last_seen = now;
        agent.limiting = None;
        agent.ran_out = None;
    }

    /// Counts the end of a call that was admitted.
    pub(crate) fn count_ended(&self, agent: BudgetId, now: TimeUs) {
        if let Some(agent) = self.agents().by_budget.get_mut(&agent) {
            agent.open = agent.open.saturating_sub(1);
            agent.last_seen = now;
        }
    }

    /// Counts a call that was refused for good.
    pub(crate) fn count_refused(&self, agent: BudgetId, now: TimeUs, why: Final) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut agents = self.agents();
        agents.refusals += 1;
        let number = agents.refusals;
        if let Final::RanOut(ran_out) = &why
            && ran_out.root.is_some()
        {
            agents.root.clone_from(&ran_out.root);
        }
        let agent = agents.by_budget.entry(agent).or_default();
        agent.refused_in_a_row += 1;
        agent.last_seen = now;
        match why {
            Final::RanOut(ran_out) => {
                agent.limiting = Some((number, ran_out.limiting.clone()));
                agent.ran_out = Some(ran_out);
            }
            // A budget that nothing ever fitted into stopped its agent; one that served it
            // before refused this call alone.
            Final::TooLarge(limiting) if !agent.admitted => {
                agent.limiting = Some((number, limiting));
            }
            Final::TooLarge(_) | Final::Unacceptable => {}
        }
    }

    /// Returns what an agent was last told that went on after the most final refusals that it
    /// may get in a row. `None` when it is to be judged: it has not, its budget has not run out,
    /// or there is more `room` than when it was.
    pub(crate) fn cut_off(
        &self,
        agent: BudgetId,
        room: impl FnOnce() -> Headroom,
    ) -> Option<Box<RanOut>> {
        let max = self.max_refusals?;
        let ran_out = {
            let agents = self.agents();
            let agent = agents.by_budget.get(&agent)?;
            let stubborn = agent.refused_in_a_row >= max;
            agent.ran_out.as_ref().filter(|_| stubborn)?.clone()
        };
        (!is_more(&room(), &ran_out.room)).then_some(ran_out)
    }

    /// Says whether nothing goes on but refusals: no call runs or waits, and of the agents that
    /// still call, each was refused over and over, or one was while the root has run out.
    pub(crate) fn only_refuses(&self, now: TimeUs) -> bool {
        let Some(max) = self.max_refusals else {
            return false;
        };
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let agents = self.agents();
        let still_calls =
            |agent: &&Agent| agent.open > 0 || now.0 - agent.last_seen.0 < STILL_CALLS.0;
        let (mut stubborn, mut others) = (false, false);
        for agent in agents.by_budget.values().filter(still_calls) {
            if agent.open > 0 {
                return false;
            }
            let refused = agent.refused_in_a_row >= max;
            stubborn |= refused;
            others |= !refused;
        }
        stubborn && (!others || agents.root.is_some())
    }

    /// Returns what a root has run out of, as a call found that was refused for it; `None` when
    /// none was, or another call was admitted since.
    pub(crate) fn root_ran_out(&self) -> Option<Limiting> {
        self.agents().root.clone()
    }

    /// Returns what stopped the agent that was stopped last, of those that still are.
    pub(crate) fn limiting(&self) -> Option<Limiting> {
        let agents = self.agents();
        let stopped = agents
            .by_budget
            .values()
            .filter_map(|a| a.limiting.as_ref());
        let last = stopped.max_by_key(|(number, _)| *number);
        last.map(|(_, limiting)| limiting.clone())
    }

    /// Returns how many calls were admitted.
    pub(crate) fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Returns how many calls were refused for good.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a call that used more than was held for it.
    pub(crate) fn count_breach(&self) {
        self.breaches.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many calls used more than was held for them.
    pub(crate) fn breaches(&self) -> u64 {
        self.breaches.load(Ordering::Relaxed)
    }

    /// Returns how many calls wait for room now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn agents(&self) -> MutexGuard<'_, Agents> {
        // Nothing can panic in the middle of a change.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether there is more room than before in anything: a limit was raised, a charge
/// corrected, a window opened.
fn is_more(room: &Headroom, before: &Headroom) -> bool {
    let deadline = |room: &Headroom| room.deadline.map_or(i64::MAX, |at| at.0);
    let more = |resource: Resource| {
        room.idle.get(resource) > before.idle.get(resource)
            || room.per_call.get(resource) > before.per_call.get(resource)
    };
    Resource::ALL.into_iter().any(more) || deadline(room) > deadline(before)
}

#[cfg(test)]
mod tests;
