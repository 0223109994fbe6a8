//! Budgets that are released once nobody uses them any more.
//!
//! Whoever allocates a budget may say how long its agent may be silent. A call or a request with
//! the token of that budget, or of one below it, is a sign of life; so is a call that runs. Leases
//! outlive the process: after a restart everybody has their whole silence anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{BudgetId, Fisc, Note, State, TimeUs};

use crate::proxy::attempt::within;

/// What the keys of notes on leases begin with.
const NOTES: &str = "lease/";

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
    /// Takes up what the ledger keeps of an earlier life.
    pub(super) fn restore(&self, fisc: &Fisc) -> Result<(), fisc::Error> {
        let now = fisc.ticks();
        let mut kept: Vec<(BudgetId, TimeUs)> = (fisc.notes(NOTES)?.iter())
            .filter_map(|(budget, silence)| {
                let budget = BudgetId(budget.parse().ok()?);
                Some((budget, TimeUs(silence.parse().ok()?)))
            })
            .collect();
        kept.sort_unstable();
        for (budget, silence) in kept {
            let path = fisc.path(budget);
            // What is noted is what is kept already.
            let _ = self.watch(budget, &path, silence, now);
        }
        Ok(())
    }

    /// Watches a budget from now on, and returns what is to be noted.
    #[must_use]
    pub(super) fn watch(
        &self,
        budget: BudgetId,
        path: &str,
        silence_max: TimeUs,
        now: TimeUs,
    ) -> Note {
        self.all().push(Lease {
            budget,
            path: path.to_owned(),
            silence_max,
            last_seen: now,
        });
        note(budget, Some(silence_max.0.to_string()))
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
            match fisc.abandon(budget).await {
                Ok(()) => tracing::info!(budget = fisc.path(budget), "released: its lease ended"),
                // A call came in between, or the ledger cannot be written: next time.
                Err(error) => tracing::debug!(%error, "a budget was not released"),
            }
        }
    }

    /// Returns the budgets whose leases are over, and forgets those that were released.
    fn due(&self, fisc: &Fisc) -> Vec<BudgetId> {
        let now = fisc.ticks();
        // Not under the lock of the leases while that of the books is waited for: a lease begins
        // under the latter.
        let watched: Vec<BudgetId> = self.all().iter().map(|lease| lease.budget).collect();
        let statuses = watched.iter().map(|budget| fisc.status(*budget));
        let statuses: Vec<_> = statuses.collect();
        let mut leases = self.all();
        let (mut due, mut ended) = (Vec::new(), Vec::new());
        // Leases begin at the end of the list and end here alone, so these are the same ones.
        for (lease, status) in leases.iter_mut().zip(statuses) {
            match status {
                Some(status) if status.terms.state != State::Released => {
                    if status.open > 0 {
                        lease.last_seen = now;
                    } else if now.0 - lease.last_seen.0 >= lease.silence_max.0 {
                        due.push(lease.budget);
                    }
                }
                _ => ended.push(lease.budget),
            }
        }
        leases.retain(|lease| !ended.contains(&lease.budget));
        drop(leases);
        for budget in ended {
            fisc.note(note(budget, None));
        }
        // Those below first: what they owe is settled before their parent ends.
        due.reverse();
        due
    }

    fn all(&self) -> MutexGuard<'_, Vec<Lease>> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(budget: BudgetId, value: Option<String>) -> Note {
    let key = format!("{NOTES}{}", budget.0);
    Note { key, value }
}
