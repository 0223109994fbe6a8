//! Budgets that are released once nobody uses them any more.
//!
//! Whoever allocates a budget may say how long its agent may be silent. A call or a request with
//! the token of that budget, or of one below it, is a sign of life; so is a call that runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{BudgetId, Fisc, State, TimeUs};

use crate::proxy::attempt::within;

/// The budgets with a lease.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Vec<Lease>>);

#[derive(Debug)]
struct Lease {
    budget: BudgetId,
    path: String,
    /// How long its agent may be silent.
    silence_max: TimeUs,
    last_seen: TimeUs,
}

// === impl Leases ===

impl Leases {
    /// Watches a budget from now on.
    pub(super) fn watch(&self, budget: BudgetId, path: &str, silence_max: TimeUs, now: TimeUs) {
        self.all().push(Lease {
            budget,
            path: path.to_owned(),
            silence_max,
            last_seen: now,
        });
    }

    /// Notes a sign of life of whoever stands for the budget `root`.
    pub(super) fn touch(&self, root: &str, now: TimeUs) {
        for lease in self.all().iter_mut() {
            if within(root, &lease.path) {
                lease.last_seen = now;
            }
        }
    }

    /// Releases the budgets whose agents have been silent for too long.
    pub(super) async fn expire(&self, fisc: &Fisc) {
        for budget in self.due(fisc) {
            match fisc.release(budget).await {
                Ok(()) => tracing::info!(budget = fisc.path(budget), "released: its lease ended"),
                // A call came in between, or the ledger cannot be written: next time.
                Err(error) => tracing::debug!(%error, "a budget was not released"),
            }
        }
    }

    /// Returns the budgets whose leases are over, and forgets those that were released.
    fn due(&self, fisc: &Fisc) -> Vec<BudgetId> {
        let mut leases = self.all();
        if leases.is_empty() {
            return Vec::new();
        }
        let now = fisc.ticks();
        let mut due = Vec::new();
        leases.retain_mut(|lease| {
            let Some(status) = fisc.status(lease.budget) else {
                return false;
            };
            if status.terms.state == State::Released {
                return false;
            }
            if status.open > 0 {
                lease.last_seen = now;
            } else if now.0 - lease.last_seen.0 >= lease.silence_max.0 {
                due.push(lease.budget);
            }
            true
        });
        // Those below first: what they owe is settled before their parent ends.
        due.reverse();
        due
    }

    fn all(&self) -> MutexGuard<'_, Vec<Lease>> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
