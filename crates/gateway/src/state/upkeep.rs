//! The budget of Fisc itself, `<root>/fisc`: what it adds to calls of its own accord is paid from
//! there, and ends there. It is a hundredth of what the root is limited to.
//!
//! It is allocated when something is to be paid for the first time. Where nothing is left above
//! it but what is kept for wrapping up, the call that is told pays for itself.

use std::time::Duration;

use fisc::{
    Amount, Asking, Budget, CallLabel, Charge, Facts, Fisc, Hold, HoldId, Limits, Outcome,
    Patience, Permille, Plan, Resource, State, Terms, TimeUs, Usage,
};
use tokio::sync::OnceCell;

/// The name of the budget, below the root.
const NAME: &str = "fisc";

/// The part of each of the root's limits that it may spend.
const PART: Permille = Permille(10);

/// What notices cost.
const PAID: [Resource; 2] = [Resource::Tokens, Resource::Cost];

/// The active time that it may use.
const TIME: TimeUs = TimeUs(1_000_000);

/// What its calls are called: each stands for a notice in another call.
const OPERATION: &str = "notice";

/// The budget of Fisc itself.
#[derive(Default)]
pub(crate) struct Upkeep(OnceCell<Budget>);

/// A notice that is paid for by Fisc.
pub(crate) struct Paid {
    hold: Hold,
    amount: Amount,
}

// === impl Upkeep ===

impl Upkeep {
    /// Says whether so much may be added to a call.
    pub(crate) async fn has_room(&self, fisc: &Fisc, amount: Amount) -> bool {
        let Some(budget) = self.budget(fisc).await else {
            return false;
        };
        let status = budget.status();
        let fits = |resource: &Resource| {
            let limit = status.terms.limits.get(*resource);
            let used = status.window_spent.get(*resource) + status.held.get(*resource);
            limit.is_none_or(|limit| used + amount.get(*resource) <= limit)
        };
        let is_open = status.terms.state == State::Open && fisc.budget(&status.path).is_ok();
        is_open && PAID.iter().all(fits)
    }

    /// Holds what a notice in a call costs; `None` where the call itself has to pay.
    pub(crate) async fn pay(&self, fisc: &Fisc, call: &CallLabel, amount: Amount) -> Option<Paid> {
        let budget = self.budget(fisc).await?;
        let asking = Asking {
            call: CallLabel {
                operation: OPERATION.into(),
                bounded: false,
                ..call.clone()
            },
            patience: Patience(Duration::ZERO),
            finalize: false,
        };
        let plan = |_: &_| Plan::Hold {
            amount,
            bounded: false,
        };
        let held = budget.hold_restrained(asking, |_| None, plan).await;
        held.ok().map(|hold| Paid { hold, amount })
    }

    async fn budget(&self, fisc: &Fisc) -> Option<&Budget> {
        let found = self.0.get_or_try_init(|| async {
            let root = fisc.root().ok_or(())?;
            let path = format!("{}/{NAME}", root.path());
            if let Ok(known) = fisc.budget(&path) {
                return Ok(known);
            }
            let terms = terms(&root.status().terms);
            fisc.allocate(&path, terms).await.map_err(|error| {
                tracing::warn!(%error, "no budget for notices, so nobody is told");
            })
        });
        found.await.ok()
    }
}

/// What the budget of Fisc is allowed, by what the root is.
fn terms(root: &Terms) -> Terms {
    let part = |limits: Limits, resource: Resource| {
        let limit = root.limits.get(resource);
        limits.with(resource, limit.map(|limit| PART.of(limit)))
    };
    // It never uses time, so that it needs no share of it.
    let time = Limits::NONE.with(Resource::Time, Some(TIME.0));
    Terms {
        limits: PAID.into_iter().fold(time, part),
        reserve: Permille(0),
        window: root.window,
        ..Terms::default()
    }
}

// === impl Paid ===

impl Paid {
    /// Takes over what the notice costs of a call's charge, and returns what is left of that; the
    /// tags say whose call it is.
    pub(crate) fn take_over(self, mut charge: Charge, call: HoldId, agent: &str) -> Charge {
        let whole = charge.amount;
        let own = self.amount.min(whole);
        charge.amount = whole.checked_sub(own).unwrap_or(whole);
        let facts = Facts {
            call: self.hold.call().clone(),
            usage: Usage::default(),
            estimated: true,
            outcome: Outcome::Completed,
            duration: TimeUs(0),
            tags: vec![
                ("for".into(), agent.into()),
                ("call".into(), call.to_string().into()),
            ],
        };
        let settled = self.hold.settle(Charge {
            amount: own,
            facts: Box::new(facts),
        });
        // The settlement of the call comes after it in the ledger, and is waited for.
        if let Err(error) = settled {
            tracing::error!(%error, "a notice is not settled");
        }
        charge
    }
}
