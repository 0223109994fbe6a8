//! Holds taken over HTTP: what a program spends that the gateway does not forward.
//!
//! A hold's id is its client's, so that the same request sent twice is one hold, one settlement,
//! one end. What nobody ends in time is charged at the hold, as an estimate: its call may have
//! been billed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fisc::{Amount, Charge, Fisc, Hold, HoldId, Patience, TimeUs};
use fisc_core::Receipt;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::wire::{AmountText, CostText, Figures, TimeText, TokensText};
use super::{Call, Reply};
use crate::policy::PATIENCE_MAX;

/// How many holds are remembered, open and ended.
const REMEMBERED_MAX: usize = 10_000;

/// How many of the oldest are looked at when one has to be forgotten.
const LOOKS_MAX: usize = 32;

/// When a hold is charged that nobody ended, where its client does not say.
const EXPIRES_DEFAULT: TimeUs = TimeUs(600_000_000);

/// The operation of a hold that names none.
const OPERATION_DEFAULT: &str = "call";

/// What a call may cost at most, to be set aside before it runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldRequest {
    /// A UUID of version 7 that you make; the same again is the same hold.
    #[schema(example = "019ab54d-7a38-7bb2-a1b2-32d1d42b4b4f")]
    id: String,
    /// At most so many dollars.
    cost: Option<CostText>,
    /// At most so many tokens.
    tokens: Option<TokensText>,
    /// At most so long.
    active_time: Option<TimeText>,
    /// What the call is, in reports.
    operation: Option<String>,
    /// How long to wait for room, at most a minute; not at all when left out.
    wait: Option<TimeText>,
    /// When it is charged in full if nobody ended it: 10m when left out.
    expires: Option<TimeText>,
}

/// What to add to a running hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendRequest {
    /// Makes the request idempotent, as the header `Idempotency-Key` does.
    pub(super) id: Option<String>,
    /// So many dollars more.
    cost: Option<CostText>,
    /// So many tokens more.
    tokens: Option<TokensText>,
    /// So much time more.
    active_time: Option<TimeText>,
}

/// Why a hold is void: its call certainly never reached a provider.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoidRequest {
    /// The reason, for the books.
    reason: Option<String>,
}

/// How a hold stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Hold)]
pub(super) struct HoldView {
    /// Its id.
    id: String,
    /// The budget it was taken at.
    budget: String,
    /// `open`, `settled`, `voided`, or `expired`: charged in full because nobody ended it.
    state: &'static str,
    /// What is or was held.
    held: Figures,
    /// What was charged, once it has ended.
    charged: Option<Figures>,
    /// By how much the charge took a budget over its limit.
    overrun: Option<Figures>,
}

/// The holds that are remembered.
#[derive(Default)]
pub(super) struct Held(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_id: HashMap<HoldId, Arc<Entry>>,
    order: VecDeque<HoldId>,
}

struct Entry {
    /// The whole path of its budget.
    path: String,
    asked: Amount,
    /// Held while anything is done about it, so that each hold is done one thing at a time.
    life: tokio::sync::Mutex<Life>,
}

enum Life {
    /// Asked for, and not granted.
    Wanted,
    Open {
        hold: Box<Hold>,
        until: TimeUs,
    },
    Ended(End),
}

#[derive(Clone, Copy)]
struct End {
    state: &'static str,
    held: Amount,
    charged: Amount,
    overrun: Amount,
}

// === impl Held ===

impl Held {
    /// Takes a hold, unless it was taken already.
    pub(super) async fn hold(&self, call: &Call, shown: &str) -> Result<Reply, Problem> {
        let path = call.caller.path(shown)?;
        let request: HoldRequest = call.read()?;
        let (fisc, id) = (&call.state.fisc, hold_id(&request.id)?);
        let budget = fisc.budget(&path).map_err(|error| call.problem(&error))?;
        let given = AmountText {
            cost: request.cost,
            tokens: request.tokens,
            active_time: request.active_time,
        };
        let asked = given.amount(fisc.counting())?;
        let entry = self.entry(id, &path, asked)?;
        if entry.path != path || entry.asked != asked {
            let detail = "a hold of this id was asked for with another budget or amount";
            return Err(Problem::new(Kind::IdReused, detail));
        }
        let mut life = entry.life.lock().await;
        if let Life::Wanted = *life {
            let wait = request.wait.map_or(Duration::ZERO, duration);
            let patience = Patience(wait.min(PATIENCE_MAX));
            let operation = request.operation.as_deref().unwrap_or(OPERATION_DEFAULT);
            let held = budget.hold(operation, asked, patience).await;
            let mut hold = held.map_err(|error| call.problem(&error))?;
            // From the answer on its call may be made.
            hold.begin();
            let expires = request
                .expires
                .map_or(EXPIRES_DEFAULT, |TimeText(time)| time);
            *life = Life::Open {
                hold: Box::new(hold),
                until: TimeUs(fisc.ticks().0.saturating_add(expires.0)),
            };
        }
        let view = life.view(id, shown);
        Ok(Reply::new(StatusCode::CREATED, &view))
    }

    /// Ends a hold with what its call did cost.
    pub(super) async fn settle(
        &self,
        call: &Call,
        shown: &str,
        id: &str,
    ) -> Result<Reply, Problem> {
        let request: AmountText = call.read()?;
        let actual = request.amount(call.state.fisc.counting())?;
        let (id, entry) = self.find(call, shown, id)?;
        let mut life = entry.life.lock().await;
        match std::mem::replace(&mut *life, Life::Wanted) {
            Life::Open { hold, .. } => {
                let held = hold.amount();
                // Whatever becomes of it: the hold is gone, and charged in full if this fails.
                *life = Life::Ended(End::expired(held));
                let mut charge = Charge::of(&hold, actual);
                charge
                    .facts
                    .tags
                    .push(("hold".into(), id.to_string().into()));
                let settled = hold.settle(charge).map_err(|error| call.problem(&error))?;
                *life = Life::Ended(End::of("settled", &settled.receipt));
                settled
                    .durable()
                    .await
                    .map_err(|error| call.problem(&error))?;
            }
            Life::Ended(end) if end.state == "settled" && end.charged == actual => {
                *life = Life::Ended(end);
            }
            other => return Err(ended_otherwise(&mut life, other)),
        }
        Ok(Reply::new(StatusCode::OK, &life.view(id, shown)))
    }

    /// Ends a hold with nothing charged.
    pub(super) async fn void(&self, call: &Call, shown: &str, id: &str) -> Result<Reply, Problem> {
        let request: VoidRequest = call.read_or_default()?;
        let (id, entry) = self.find(call, shown, id)?;
        let mut life = entry.life.lock().await;
        match std::mem::replace(&mut *life, Life::Wanted) {
            Life::Open { hold, .. } => {
                *life = Life::Ended(End::expired(hold.amount()));
                let reason = request.reason.as_deref().unwrap_or("voided by its client");
                let voided = hold.void(reason).map_err(|error| call.problem(&error))?;
                *life = Life::Ended(End::of("voided", &voided.receipt));
                voided
                    .durable()
                    .await
                    .map_err(|error| call.problem(&error))?;
            }
            Life::Ended(end) if end.state == "voided" => *life = Life::Ended(end),
            other => return Err(ended_otherwise(&mut life, other)),
        }
        Ok(Reply::new(StatusCode::OK, &life.view(id, shown)))
    }

    /// Adds to a running hold, or refuses and leaves it as it is.
    pub(super) async fn extend(
        &self,
        call: &Call,
        shown: &str,
        id: &str,
        request: &ExtendRequest,
    ) -> Result<Reply, Problem> {
        let given = AmountText {
            cost: request.cost,
            tokens: request.tokens,
            active_time: request.active_time,
        };
        let by = given.amount(call.state.fisc.counting())?;
        let (id, entry) = self.find(call, shown, id)?;
        let mut life = entry.life.lock().await;
        match &mut *life {
            Life::Open { hold, .. } => {
                let extended = hold.extend(by).await;
                extended.map_err(|error| call.problem(&error))?;
            }
            Life::Wanted | Life::Ended(_) => {
                return Err(Problem::new(Kind::HoldEnded, "the hold is not open"));
            }
        }
        Ok(Reply::new(StatusCode::OK, &life.view(id, shown)))
    }

    /// Charges what nobody ended in time.
    pub(super) fn expire(&self, fisc: &Fisc) {
        let now = fisc.ticks();
        self.end_where(|until| until <= now);
    }

    /// Charges all that are open: nobody can end them any more.
    pub(super) fn end_all(&self) {
        self.end_where(|_| true);
    }

    fn end_where(&self, over: impl Fn(TimeUs) -> bool) {
        let all: Vec<Arc<Entry>> = self.entries().by_id.values().cloned().collect();
        for entry in all {
            // One that is locked is being ended, or extended: next time.
            let Ok(mut life) = entry.life.try_lock() else {
                continue;
            };
            if let Life::Open { hold, until } = &*life
                && over(*until)
            {
                // Dropping the hold charges it.
                let end = End::expired(hold.amount());
                *life = Life::Ended(end);
            }
        }
    }

    /// Finds a hold that was granted, by the path of its budget and its id.
    fn find(&self, call: &Call, shown: &str, id: &str) -> Result<(HoldId, Arc<Entry>), Problem> {
        let path = call.caller.path(shown)?;
        let found = hold_id(id).ok().and_then(|id| {
            let entry = self.entries().by_id.get(&id).map(Arc::clone)?;
            (entry.path == path).then_some((id, entry))
        });
        found.ok_or_else(|| {
            let detail = format!("no hold of this budget has the id {id:?}");
            Problem::new(Kind::UnknownHold, detail)
        })
    }

    fn entry(&self, id: HoldId, path: &str, asked: Amount) -> Result<Arc<Entry>, Problem> {
        let mut entries = self.entries();
        if let Some(entry) = entries.by_id.get(&id) {
            return Ok(Arc::clone(entry));
        }
        entries.make_room()?;
        let entry = Arc::new(Entry {
            path: path.to_owned(),
            asked,
            life: tokio::sync::Mutex::new(Life::Wanted),
        });
        entries.by_id.insert(id, Arc::clone(&entry));
        entries.order.push_back(id);
        Ok(entry)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entries ===

impl Entries {
    /// Forgets the oldest hold that is not open, when there are too many.
    fn make_room(&mut self) -> Result<(), Problem> {
        if self.order.len() < REMEMBERED_MAX {
            return Ok(());
        }
        for _ in 0..LOOKS_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return Ok(());
            };
            let entry = self.by_id.get(&oldest);
            let open = entry.is_some_and(|entry| match entry.life.try_lock() {
                Ok(life) => matches!(*life, Life::Open { .. }) || Arc::strong_count(entry) > 1,
                Err(_) => true,
            });
            if !open {
                self.by_id.remove(&oldest);
                return Ok(());
            }
            self.order.push_back(oldest);
        }
        Err(Problem::new(
            Kind::StoreUnavailable,
            "too many holds are open",
        ))
    }
}

// === impl Life ===

impl Life {
    fn view(&self, id: HoldId, shown: &str) -> HoldView {
        let (state, held, end) = match self {
            Life::Wanted => ("wanted", Amount::ZERO, None),
            Life::Open { hold, .. } => ("open", hold.amount(), None),
            Life::Ended(end) => (end.state, end.held, Some(end)),
        };
        HoldView {
            id: id.to_string(),
            budget: shown.to_owned(),
            state,
            held: held.into(),
            charged: end.map(|end| end.charged.into()),
            overrun: end.map(|end| end.overrun.into()),
        }
    }
}

// === impl End ===

impl End {
    fn of(state: &'static str, receipt: &Receipt) -> End {
        End {
            state,
            held: receipt.held,
            charged: receipt.charged,
            overrun: receipt.overrun,
        }
    }

    /// The end of a hold that was charged in full.
    fn expired(held: Amount) -> End {
        End {
            state: "expired",
            held,
            charged: held,
            overrun: Amount::ZERO,
        }
    }
}

/// Puts back how a hold stands and says that it cannot be ended as asked.
fn ended_otherwise(life: &mut Life, stands: Life) -> Problem {
    let detail = match &stands {
        Life::Ended(end) => format!("the hold is {} already", end.state),
        Life::Wanted | Life::Open { .. } => "the hold was never granted".to_owned(),
    };
    *life = stands;
    Problem::new(Kind::HoldEnded, detail)
}

fn hold_id(text: &str) -> Result<HoldId, Problem> {
    // The version stands in the 13th digit of a UUID.
    let version = |id: &HoldId| (id.0 >> 76) & 0xF == 7;
    HoldId::parse(text).filter(version).ok_or_else(|| {
        let detail = format!("{text:?} is no UUID of version 7");
        Problem::new(Kind::BadRequest, detail)
    })
}

fn duration(TimeText(TimeUs(micros)): TimeText) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
