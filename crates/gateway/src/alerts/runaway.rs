//! What the guard against runaways is shown of a call, and what follows when it finds a sign.

use std::sync::PoisonError;

use fisc::{Asked, BudgetId, Event, TimeUs};
use fisc_llm::InputShape;

use super::Alerts;
use crate::policy::OnRunaway;
use crate::state::State;

/// How many messages must come before the last one for them to say that it is the same task.
const STEM_MESSAGES_MIN: u64 = 2;

/// For how long a level is raised by a sign.
const RAISED_FOR: TimeUs = TimeUs(600_000_000);

// === impl Alerts ===

impl Alerts {
    /// Shows the guard a call that was admitted.
    pub(crate) fn called(&self, state: &State, agent: BudgetId, input: &InputShape) {
        if self.on_runaway == OnRunaway::Off {
            return;
        }
        let Some(asked) = asked(state.fisc.ticks(), input) else {
            return;
        };
        let mut runaways = self.runaways.lock().unwrap_or_else(PoisonError::into_inner);
        let found = runaways.observe(agent, asked);
        drop(runaways);
        let Some(sign) = found else {
            return;
        };
        let budget = agent;
        state.fisc.tell(Event::Runaway { budget, sign });
        if self.on_runaway == OnRunaway::Raise {
            let until = state.fisc.now().after(RAISED_FOR);
            state.fisc.raise_level(agent, sign, until);
        }
    }
}

fn asked(at: TimeUs, input: &InputShape) -> Option<Asked> {
    let (last, before) = input.prefixes.split_last()?;
    let stem = before.last().filter(|_| input.messages > STEM_MESSAGES_MIN);
    Some(Asked {
        at,
        prompt: last.hash,
        stem: stem.map(|stem| stem.hash),
        bytes: input.body_bytes,
    })
}
