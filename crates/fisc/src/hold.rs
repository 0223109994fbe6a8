//! A hold as a value: settled, voided, or ended by its drop; never forgotten.

use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, Receipt, TimeUs, Usage};
use fisc_ledger::{CallLabel, Facts, Outcome, Ticket};

use crate::error::Error;
use crate::handle::Shared;

/// What a call may cost, held at its budget and every budget above.
///
/// Dropped before [`Hold::begin`], all of it returns. Dropped after, the call may have been
/// billed: it is charged at the hold and marked as an estimate.
#[must_use = "a dropped hold releases, or charges, what it holds"]
pub struct Hold {
    shared: Arc<Shared>,
    id: HoldId,
    budget: BudgetId,
    amount: Amount,
    call: CallLabel,
    begun: Option<TimeUs>,
    ended: bool,
}

/// What a call did cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The amount.
    pub amount: Amount,
    /// What is known of the call.
    pub facts: Box<Facts>,
}

/// A settlement that is applied; [`Settled::durable`] waits until it is written.
#[must_use = "wait for durable() before telling anybody that the call is over"]
pub struct Settled {
    /// The receipt.
    pub receipt: Receipt,
    ticket: Option<Ticket>,
}

// === impl Hold ===

impl Hold {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: HoldId,
        budget: BudgetId,
        amount: Amount,
        call: CallLabel,
    ) -> Hold {
        Hold {
            shared,
            id,
            budget,
            amount,
            call,
            begun: None,
            ended: false,
        }
    }

    /// Returns the hold's id.
    pub fn id(&self) -> HoldId {
        self.id
    }

    /// Returns the id of the budget it was taken at.
    pub fn budget(&self) -> BudgetId {
        self.budget
    }

    /// Returns what is held, extensions included.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// Returns what its call is.
    pub fn call(&self) -> &CallLabel {
        &self.call
    }

    /// Marks that the call is about to happen: from now on it may cost something.
    pub fn begin(&mut self) {
        self.begun.get_or_insert_with(|| self.shared.clock.ticks());
    }

    /// Returns the time since [`Hold::begin`].
    pub fn running(&self) -> TimeUs {
        let begun = self.begun.unwrap_or_else(|| self.shared.clock.ticks());
        TimeUs(self.shared.clock.ticks().0 - begun.0)
    }

    /// Tells what the running call has used so far, cumulatively; levels move by it.
    pub fn meter(&self, so_far: Amount) {
        let mut engine = self.shared.engine();
        let crate::engine::Engine { tree, events, .. } = &mut *engine;
        // A reading is for levels alone: one that comes too late changes no charge.
        if let Err(error) = tree.meter(self.id, so_far, events) {
            tracing::warn!(hold = %self.id, %error, "a running call was not metered");
        }
    }

    /// Adds to a running hold, or refuses and leaves it as it is. Durable when it returns.
    pub async fn extend(&mut self, by: Amount) -> Result<(), Error> {
        let ticket = {
            let mut engine = self.shared.engine();
            let now = self.shared.clock.now();
            match engine.extend(now, self.id, by)? {
                Ok(ticket) => ticket,
                Err(refusal) => return Err(engine.refused(refusal)),
            }
        };
        self.amount = self
            .amount
            .checked_add(by)
            .map_err(fisc_core::TreeError::from)?;
        match ticket {
            Some(ticket) => Ok(ticket.durable().await?),
            None => Ok(()),
        }
    }

    /// Ends the hold with what the call did cost. Applied when this returns, written when
    /// [`Settled::durable`] does.
    pub fn settle(mut self, charge: Charge) -> Result<Settled, Error> {
        let settled = self.end(charge)?;
        // Not before: a settlement that was refused (out of range) leaves it to the drop.
        self.ended = true;
        Ok(settled)
    }

    /// Ends the hold with what the call did cost, when nothing else is known of it.
    pub fn settle_amount(self, amount: Amount) -> Result<Settled, Error> {
        let charge = Charge::of(&self, amount);
        self.settle(charge)
    }

    /// Ends the hold with nothing charged: the call certainly never reached its provider.
    pub fn void(mut self, reason: &str) -> Result<Settled, Error> {
        let now = self.shared.clock.now();
        let (receipt, ticket) = self.shared.engine().void(now, self.id, reason)?;
        self.ended = true;
        self.shared.made_room();
        Ok(Settled { receipt, ticket })
    }

    fn end(&self, charge: Charge) -> Result<Settled, Error> {
        let now = self.shared.clock.now();
        let settled = self
            .shared
            .engine()
            .settle(now, self.id, charge.amount, charge.facts);
        self.shared.made_room();
        let (receipt, ticket) = settled?;
        Ok(Settled { receipt, ticket })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let ended = if self.begun.is_some() {
            let facts = Facts {
                call: self.call.clone(),
                usage: Usage::default(),
                estimated: true,
                outcome: Outcome::Broken,
                duration: self.running(),
                tags: Vec::new(),
            };
            self.end(Charge {
                amount: self.amount,
                facts: Box::new(facts),
            })
            .map(|_| ())
        } else {
            let now = self.shared.clock.now();
            let voided = self
                .shared
                .engine()
                .void(now, self.id, "dropped before it began");
            self.shared.made_room();
            voided.map(|_| ())
        };
        if let Err(error) = ended {
            tracing::error!(hold = %self.id, %error, "a dropped hold could not be ended");
        }
    }
}

// === impl Charge ===

impl Charge {
    /// Charges an amount of a call that completed and about which nothing else is known.
    pub fn of(hold: &Hold, amount: Amount) -> Charge {
        let facts = Facts {
            call: hold.call.clone(),
            usage: Usage::default(),
            estimated: false,
            outcome: Outcome::Completed,
            duration: hold.running(),
            tags: Vec::new(),
        };
        Charge {
            amount,
            facts: Box::new(facts),
        }
    }
}

// === impl Settled ===

impl Settled {
    /// Waits until the settlement is written as durably as the ledger promises.
    pub async fn durable(self) -> Result<Receipt, Error> {
        match self.ticket {
            Some(ticket) => {
                ticket.durable().await?;
                Ok(self.receipt)
            }
            None => Ok(self.receipt),
        }
    }
}
