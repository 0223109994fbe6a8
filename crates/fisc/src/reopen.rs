//! After a storage error: the ledger is opened anew and the tree rebuilt from it.
//!
//! A journal that failed to commit writes nothing any more, so that nothing can rest on what may
//! not be there. What was acknowledged is in the file; what was applied after that is known only
//! here. Calls that still run keep their holds, calls that ended are settled again with what
//! they were charged, and holds that nobody knows are in doubt, as after a crash.

use fisc_core::{Receipt, Timestamp, Tree, Usage};
use fisc_ledger::{Facts, Journal, OpenHold, Outcome, Recovered};

use crate::engine::Engine;
use crate::error::Error;
use crate::handle::Fisc;

// === impl Fisc ===

impl Fisc {
    /// Opens the ledger anew if it stopped at a storage error, verifying all of it. Returns
    /// whether it did; an error means that the storage still fails, and to try again later.
    pub async fn reopen(&self) -> Result<bool, Error> {
        let Some((path, durability)) = self.shared.file.clone() else {
            return Ok(false);
        };
        if self.trouble().is_none() {
            return Ok(false);
        }
        let options = fisc_ledger::Options::new(path, durability, self.now());
        let opened = tokio::task::spawn_blocking(move || Journal::open(options)).await;
        let (journal, recovered) = match opened {
            Ok(opened) => opened?,
            Err(panicked) => return Err(Error::Ledger(panicked.to_string())),
        };
        let now = self.now();
        self.shared.engine().rebuild(journal, recovered, now)?;
        self.shared.made_room();
        tracing::warn!("the ledger was opened anew after a storage error");
        Ok(true)
    }
}

// === impl Engine ===

impl Engine {
    /// Takes a ledger that was opened anew in place of one that stopped.
    fn rebuild(
        &mut self,
        journal: Journal,
        mut recovered: Recovered,
        now: Timestamp,
    ) -> Result<(), Error> {
        let open = std::mem::take(&mut recovered.open);
        let mut anew = Engine::recover(self.tree.thresholds(), journal, recovered, now)?;
        anew.allocate_missing(&self.tree, now)?;
        for hold in open {
            anew.take_over(&self.tree, hold, now)?;
        }
        anew.events.append(&mut self.events);
        *self = anew;
        Ok(())
    }

    /// Allocates budgets whose allocation was not written. Ids are given in order, so they come
    /// out the same and handles stay right.
    fn allocate_missing(&mut self, old: &Tree, now: Timestamp) -> Result<(), Error> {
        for view in old.budgets().skip(self.tree.len()) {
            self.allocate(now, view.parent, view.name, *view.terms)?;
        }
        Ok(())
    }

    /// Takes over a hold without an end in the file: it still runs, or it ended unwritten, or
    /// nobody knows.
    fn take_over(&mut self, old: &Tree, hold: OpenHold, now: Timestamp) -> Result<(), Error> {
        self.tree
            .restore_hold(hold.at, hold.id, hold.budget, hold.amount)?;
        if old.open_hold(hold.id).is_some() {
            return Ok(());
        }
        match old.receipt(hold.id) {
            Some(Receipt { voided: true, .. }) => {
                self.void(now, hold.id, "ended while the ledger could not write")?;
            }
            Some(Receipt { charged, .. }) => {
                let facts = Facts {
                    call: hold.call,
                    usage: Usage::default(),
                    // The amount is exact; the classes it is made of are not known any more.
                    estimated: true,
                    outcome: Outcome::Broken,
                    duration: charged.time(),
                    tags: Vec::new(),
                };
                self.settle(now, hold.id, charged, Box::new(facts))?;
            }
            None => self.doubt(hold, now)?,
        }
        Ok(())
    }
}
