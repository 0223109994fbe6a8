//! Waiting for room: a hold that does not fit now is judged again whenever a call ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fisc_core::{Amount, BudgetId, Headroom, Refusal, Resource, Shortfall, Timestamp};
use fisc_ledger::{CallLabel, Ticket};
use tokio::sync::Notify;

use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::handle::{Budget, Shared};
use crate::hold::Hold;
use crate::id;
use crate::throttle::Restraint;

/// How long a call may wait for room before it is told to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

/// A call that asks for a hold.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What it is, for the books.
    pub call: CallLabel,
    /// How long it may wait.
    pub patience: Patience,
    /// Whether it wraps up, so that it may use the reserve and is not slowed.
    pub finalize: bool,
}

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
    /// There is not enough room now, and may be when other calls end.
    Wait {
        /// The least that the call can do with.
        least: Amount,
        /// What it waits for: at least that, and more than there is room for.
        wanted: Amount,
    },
    /// The least the call needs would not fit even if nothing were held.
    Never {
        /// The least.
        least: Amount,
    },
}

/// How often who waits looks again without being told to.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A call's place among those that wait, once it has one.
struct Place {
    shared: Arc<Shared>,
    number: Option<u64>,
    budget: BudgetId,
    /// Whether it waited, and nothing came of it.
    in_vain: bool,
    wake: Arc<Notify>,
}

/// What came of one look at the room.
enum Verdict {
    Granted(Hold, Option<Ticket>),
    /// Why, and at which time to look again at the latest.
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
        call: CallLabel,
        patience: Patience,
        plan: impl FnMut(&Headroom) -> Plan,
    ) -> Result<Hold, Error> {
        let asking = Asking {
            call,
            patience,
            finalize: false,
        };
        self.hold_restrained(asking, |_| None, plan).await
    }

    /// As [`Budget::hold_planned`], for calls that may wrap up, and that are slowed as `restrain`
    /// says at every look: what is slowed waits its turn as what finds no room does.
    pub async fn hold_restrained(
        &self,
        mut asking: Asking,
        restrain: impl Fn(&Headroom) -> Option<Restraint>,
        mut plan: impl FnMut(&Headroom) -> Plan,
    ) -> Result<Hold, Error> {
        let shared = &self.shared;
        let patience = clock::span(asking.patience.0);
        let give_up = shared.clock.ticks().0.saturating_add(patience.0);
        let mut place = Place::new(shared, self.id);
        loop {
            let wake = Arc::clone(&place.wake);
            let verdict = self.attempt(&mut asking, &restrain, &mut plan, &mut place)?;
            let (refusal, until) = match verdict {
                Verdict::Granted(hold, ticket) => {
                    drop(place);
                    if let Some(ticket) = ticket {
                        ticket.durable().await?;
                    }
                    return Ok(hold);
                }
                Verdict::Wait(refusal, until) => (refusal, until),
            };
            let left = give_up.saturating_sub(shared.clock.ticks().0);
            if left <= 0 {
                return Err(shared.engine().refused(refusal));
            }
            place.in_vain = true;
            let until = until.map_or(i64::MAX, |at| at.since(shared.clock.now()).0);
            let pause = Duration::from_micros(left.min(until.max(0)).unsigned_abs());
            // Time is up, room was made, or another look is due (who stands behind another may
            // have become hopeless meanwhile): either way the next look decides.
            let _ = tokio::time::timeout(pause.min(LOOK_AGAIN), wake.notified()).await;
        }
    }

    fn attempt(
        &self,
        asking: &mut Asking,
        restrain: &impl Fn(&Headroom) -> Option<Restraint>,
        plan: &mut impl FnMut(&Headroom) -> Plan,
        place: &mut Place,
    ) -> Result<Verdict, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let mut guard = shared.engine();
        let engine = &mut *guard;
        let finalize = asking.finalize;
        let mut chosen = choose(engine, self.id, finalize, plan);
        if let Plan::Wait { least, .. } = chosen
            && (engine.tree).want(now, self.id, least, &mut engine.events)
        {
            chosen = choose(engine, self.id, finalize, plan);
        }
        let refusal = match chosen {
            Plan::Hold { .. }
                if let Err(slowed) = self.restrained(engine, now, asking, restrain) =>
            {
                slowed
            }
            Plan::Hold { amount, .. } if let Some(at) = place.behind(engine, self.id, amount) => {
                Refusal::NotNow(taken(engine, at, amount))
            }
            Plan::Hold { amount, bounded } => {
                asking.call.bounded = bounded;
                let id = id::new(now)?;
                match engine.hold(now, id, self.id, amount, asking)? {
                    Ok(ticket) => {
                        place.in_vain = false;
                        if !engine.queue.is_idle() {
                            engine.queue.count(&engine.tree, self.id, amount);
                        }
                        let call = asking.call.clone();
                        let hold = Hold::new(shared.clone(), id, self.id, amount, call);
                        return Ok(Verdict::Granted(hold, ticket));
                    }
                    Err(refusal) => refusal,
                }
            }
            Plan::Wait { least, wanted } => what_is_short(engine, now, self.id, least, wanted),
            Plan::Never { least } => match engine.tree.judge(now, self.id, least, finalize) {
                Err(Refusal::NotNow(short)) => Refusal::Never(short),
                Err(refusal) => refusal,
                Ok(()) => Refusal::Never(nothing_short(self.id, least)),
            },
        };
        if !refusal.is_temporary() {
            place.in_vain = false;
            return Err(engine.refused(refusal));
        }
        let wanted = match chosen {
            Plan::Hold { amount, .. } => amount,
            Plan::Wait { least, .. } | Plan::Never { least } => least,
        };
        place.take(engine, (self.id, wanted), refusal.budget());
        let deadline = engine.tree.budget(self.id).and_then(|view| view.deadline);
        let due = match refusal {
            Refusal::Throttled(_, due) => due,
            _ => None,
        };
        Ok(Verdict::Wait(
            refusal,
            deadline.into_iter().chain(due).min(),
        ))
    }

    /// Says whether a call that has room is slowed all the same. Who wraps up is not, nor who is
    /// at a budget that cannot be used any more: that is not for waiting to mend.
    fn restrained(
        &self,
        engine: &mut Engine,
        now: Timestamp,
        asking: &Asking,
        restrain: &impl Fn(&Headroom) -> Option<Restraint>,
    ) -> Result<(), Refusal> {
        if asking.finalize {
            return Ok(());
        }
        let restraint = restrain(&engine.headroom(self.id, false));
        (engine.throttle).judge(&engine.tree, now, self.id, restraint)
    }
}

/// Asks for a plan within ordinary room, and when that has run out for good, within the wrap-up
/// reserve if the budget may still use it.
fn choose(
    engine: &Engine,
    budget: BudgetId,
    finalize: bool,
    plan: &mut impl FnMut(&Headroom) -> Plan,
) -> Plan {
    let ordinary = engine.headroom(budget, finalize);
    match plan(&ordinary) {
        Plan::Never { .. } if ordinary.may_finalize => plan(&engine.headroom(budget, true)),
        chosen => chosen,
    }
}

/// Says which budget and resource a call waits for: where its least does not fit, else where what
/// it wants does not.
fn what_is_short(
    engine: &Engine,
    now: Timestamp,
    budget: BudgetId,
    least: Amount,
    wanted: Amount,
) -> Refusal {
    if let Err(refusal) = engine.tree.judge(now, budget, least, false) {
        return refusal;
    }
    match engine.tree.judge(now, budget, wanted, false) {
        // What it wants may never fit, but the least will.
        Err(Refusal::NotNow(short) | Refusal::Never(short) | Refusal::PerCall(short)) => {
            Refusal::NotNow(short)
        }
        Err(refusal) => refusal,
        Ok(()) => Refusal::NotNow(nothing_short(budget, wanted)),
    }
}

/// What a plan is told that finds no room where there is some: its own need, and nobody's limit.
fn nothing_short(budget: BudgetId, needed: Amount) -> Shortfall {
    let resource = Resource::Tokens;
    Shortfall {
        budget,
        resource,
        limit: i64::MAX,
        spent: 0,
        held: 0,
        needed: needed.get(resource),
    }
}

/// What stands in the way of a call that would fit but is not first: the budget where others wait.
fn taken(engine: &Engine, at: BudgetId, needed: Amount) -> Shortfall {
    let Some(view) = engine.tree.budget(at) else {
        return nothing_short(at, needed);
    };
    // The resource of which least is left is the one that the others wait for.
    let used = |resource: Resource| {
        let limit = view.terms.limits.get(resource)?;
        let used = i128::from(view.load.get(resource)) * 1_000_000 / i128::from(limit.max(1));
        Some((used, resource, limit))
    };
    let scarce = Resource::ALL.into_iter().filter_map(used).max();
    let Some((_, resource, limit)) = scarce else {
        return nothing_short(at, needed);
    };
    let spent = view.window_spent.get(resource);
    Shortfall {
        budget: at,
        resource,
        limit,
        spent,
        held: view.load.get(resource) - spent,
        needed: needed.get(resource),
    }
}

// === impl Place ===

impl Place {
    fn new(shared: &Arc<Shared>, budget: BudgetId) -> Place {
        Place {
            shared: Arc::clone(shared),
            number: None,
            budget,
            in_vain: false,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Returns the budget at which another call goes first.
    fn behind(&self, engine: &Engine, budget: BudgetId, amount: Amount) -> Option<BudgetId> {
        if engine.queue.is_empty() {
            return None;
        }
        engine
            .queue
            .stands_behind(&engine.tree, self.number, budget, amount)
    }

    /// Queues for room at `contended`.
    fn take(&mut self, engine: &mut Engine, call: (BudgetId, Amount), contended: BudgetId) {
        let Engine { queue, tree, .. } = engine;
        let number = queue.join(tree, self.number, call, contended, &self.wake);
        if self.number.replace(number).is_none() {
            self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Place {
    /// Whatever came of it, and also when the caller is gone: the next one's turn.
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        {
            let mut guard = self.shared.engine();
            let engine = &mut *guard;
            if self.in_vain {
                engine.queue.give_up(&engine.tree, number);
            } else {
                engine.queue.leave(number);
            }
            // Others who wait at this budget say so again when they look again.
            engine.tree.stop_waiting(self.budget);
        }
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        self.shared.made_room();
    }
}

// === impl Shared ===

impl Shared {
    /// Tells who is first of those who wait, wherever some do, that there may be room.
    pub(crate) fn made_room(&self) {
        self.room.notify_waiters();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let firsts = self.engine().queue.firsts();
        for wake in firsts {
            wake.notify_one();
        }
    }
}
