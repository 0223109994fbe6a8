//! Waiting for room: a hold that does not fit now is judged again whenever a call ends.

use std::time::Duration;

use fisc_core::{Amount, BudgetId, Headroom, Refusal, Timestamp};
use fisc_ledger::{CallLabel, Ticket};

use crate::engine::Engine;
use crate::error::Error;
use crate::handle::{Budget, Shared};
use crate::hold::Hold;
use crate::id;

/// How long a call may wait for room before it is told to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

/// What to hold, given the room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Hold this much.
    Hold {
        /// How much.
        amount: Amount,
        /// Whether the call surely cannot cost more.
        bounded: bool,
    },
    /// Not even the least the call needs fits now.
    Wait {
        /// The least.
        least: Amount,
    },
    /// The least the call needs would not fit even if nothing were held.
    Never {
        /// The least.
        least: Amount,
    },
}

/// What came of one look at the room.
enum Verdict {
    Granted(Hold, Option<Ticket>),
    Wait(Refusal, Option<Timestamp>),
}

// === impl Budget ===

impl Budget {
    /// Holds exactly `amount` for an operation, here and at every budget above, or waits for it.
    pub async fn hold(
        &self,
        operation: &str,
        amount: Amount,
        patience: Patience,
    ) -> Result<Hold, Error> {
        let call = CallLabel {
            operation: operation.into(),
            model: "".into(),
            provider: "".into(),
            price_version: "".into(),
            attempt: 1,
            bounded: true,
        };
        let fixed = |_: &Headroom| Plan::Hold {
            amount,
            bounded: true,
        };
        self.hold_planned(call, patience, fixed).await
    }

    /// Holds what `plan` chooses for the room there is. `plan` is asked anew after every wait,
    /// under the engine's lock: it must not block. Durable when it returns; when the returned
    /// future is dropped, nothing stays held.
    pub async fn hold_planned(
        &self,
        mut call: CallLabel,
        patience: Patience,
        mut plan: impl FnMut(&Headroom) -> Plan,
    ) -> Result<Hold, Error> {
        let shared = &self.shared;
        let give_up = shared.clock.ticks().0.saturating_add(micros(patience.0));
        loop {
            let room = shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let (refusal, deadline) = match self.attempt(&mut call, &mut plan)? {
                Verdict::Granted(hold, ticket) => {
                    if let Some(ticket) = ticket {
                        ticket.durable().await?;
                    }
                    return Ok(hold);
                }
                Verdict::Wait(refusal, deadline) => (refusal, deadline),
            };
            let left = give_up.saturating_sub(shared.clock.ticks().0);
            if left <= 0 {
                return Err(shared.engine().refused(refusal));
            }
            let until_deadline = deadline.map_or(i64::MAX, |at| at.since(shared.clock.now()).0);
            let pause = Duration::from_micros(left.min(until_deadline).unsigned_abs());
            // Time is up or room was made: either way the next look decides.
            let _ = tokio::time::timeout(pause, room).await;
        }
    }

    fn attempt(
        &self,
        call: &mut CallLabel,
        plan: &mut impl FnMut(&Headroom) -> Plan,
    ) -> Result<Verdict, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut engine = shared.engine();
        let refusal = match choose(&engine, self.id, plan) {
            Plan::Hold { amount, bounded } => {
                call.bounded = bounded;
                let id = id::new(now)?;
                match engine.hold(now, id, self.id, amount, call)? {
                    Ok(ticket) => {
                        let hold = Hold::new(shared.clone(), id, self.id, amount, call.clone());
                        return Ok(Verdict::Granted(hold, ticket));
                    }
                    Err(refusal) => refusal,
                }
            }
            Plan::Wait { least } => explain(&engine, now, self.id, least, false),
            Plan::Never { least } => explain(&engine, now, self.id, least, true),
        };
        if !refusal.is_temporary() {
            return Err(engine.refused(refusal));
        }
        let deadline = engine.tree.budget(self.id).and_then(|view| view.deadline);
        Ok(Verdict::Wait(refusal, deadline))
    }
}

/// Asks for a plan within ordinary room, and when that has run out for good, within the wrap-up
/// reserve if the budget may still use it.
fn choose(engine: &Engine, budget: BudgetId, plan: &mut impl FnMut(&Headroom) -> Plan) -> Plan {
    let ordinary = engine.headroom(budget, false);
    match plan(&ordinary) {
        Plan::Never { .. } if ordinary.may_finalize => plan(&engine.headroom(budget, true)),
        chosen => chosen,
    }
}

/// Says which budget and resource stand in the way of the least a call needs.
fn explain(
    engine: &Engine,
    now: Timestamp,
    budget: BudgetId,
    least: Amount,
    never: bool,
) -> Refusal {
    match engine.tree.judge(now, budget, least, false) {
        Err(Refusal::NotNow(short)) if never => Refusal::Never(short),
        Err(refusal) => refusal,
        // The plan asks for more room than its least: it waits for that.
        Ok(()) => Refusal::NotNow(fisc_core::Shortfall {
            budget,
            resource: fisc_core::Resource::Tokens,
            limit: 0,
            spent: 0,
            held: 0,
            needed: least.tokens().0,
        }),
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

// === impl Shared ===

impl Shared {
    /// Tells everybody who waits that there may be room.
    pub(crate) fn made_room(&self) {
        self.room.notify_waiters();
    }
}
