//! Sharing at work: release, loans, predictions, and the loop that divides anew.

use fisc_core::{
    Amount, BudgetId, BudgetView, Freezer, Limits, Loan, State, Terms, TimeUs, Timestamp,
};
use fisc_ledger::{Entry, Note, Ticket};

use crate::engine::{Engine, Written};
use crate::error::Error;
use crate::handle::Fisc;

/// How often shares are divided anew when nothing else causes it.
const ROUND: TimeUs = TimeUs(5_000_000);

// === impl Fisc ===

impl Fisc {
    /// Ends a budget: nothing is admitted there and below any more, and what it did not use is
    /// its parent's again. Refused while calls run. Durable when it returns; again is no change.
    pub async fn release(&self, id: BudgetId) -> Result<(), Error> {
        self.end(id, true).await
    }

    /// As [`Fisc::release`], of a budget whose agent is gone before its work was done: it teaches
    /// nothing about its kind.
    pub async fn abandon(&self, id: BudgetId) -> Result<(), Error> {
        self.end(id, false).await
    }

    async fn end(&self, id: BudgetId, teaches: bool) -> Result<(), Error> {
        let ((), ticket) = self.shared.engine().release(self.now(), id, teaches)?;
        self.shared.made_room();
        match ticket {
            Some(ticket) => Ok(ticket.durable().await?),
            None => Ok(()),
        }
    }

    /// Stops a budget for now, or lets it go on: calls that run end as they would. Durable when
    /// it returns.
    pub async fn set_frozen(&self, id: BudgetId, frozen: bool) -> Result<(), Error> {
        // Whoever embeds a tree is its owner, and may undo what anybody did.
        let change = |terms: &mut Terms| {
            terms.set_frozen(frozen, Freezer::OWNER);
        };
        self.change_terms(id, change).await
    }

    /// Lets calls here and below spend at most `rate` a minute, however much is left; no limit for
    /// [`Limits::NONE`]. Who would be faster waits its turn. Durable when it returns.
    pub async fn throttle(&self, id: BudgetId, rate: Limits) -> Result<(), Error> {
        self.change_terms(id, |terms| terms.rate = rate).await
    }

    /// Raises limits by `more`, where there are any; what is gained repays debts first. Durable
    /// when it returns.
    pub async fn top_up(&self, id: BudgetId, more: Amount) -> Result<(), Error> {
        self.top_up_noted(id, more, Vec::new).await
    }

    /// As [`Fisc::top_up`], with notes that are durable if and only if it is; they are asked for
    /// once it is sure that it is done.
    pub async fn top_up_noted(
        &self,
        id: BudgetId,
        more: Amount,
        notes: impl FnOnce() -> Vec<Note>,
    ) -> Result<(), Error> {
        let change = |terms: &mut Terms| {
            for resource in fisc_core::Resource::ALL {
                if let Some(limit) = terms.limits.get(resource) {
                    let raised = limit.saturating_add(more.get(resource));
                    terms.limits = terms.limits.with(resource, Some(raised));
                }
            }
        };
        self.change_noted(id, change, notes).await
    }

    /// Changes a budget's terms from what they are, with nothing in between. Durable when it
    /// returns.
    pub async fn change_terms(
        &self,
        id: BudgetId,
        change: impl FnOnce(&mut Terms),
    ) -> Result<(), Error> {
        self.change_noted(id, change, Vec::new).await
    }

    async fn change_noted(
        &self,
        id: BudgetId,
        change: impl FnOnce(&mut Terms),
        notes: impl FnOnce() -> Vec<Note>,
    ) -> Result<(), Error> {
        let ticket = {
            let mut engine = self.shared.engine();
            let view = engine.tree.budget(id);
            let mut terms = *view.ok_or(fisc_core::TreeError::UnknownBudget(id))?.terms;
            change(&mut terms);
            engine.set_terms(self.now(), id, terms, notes)?.1
        };
        self.shared.made_room();
        match ticket {
            Some(ticket) => Ok(ticket.durable().await?),
            None => Ok(()),
        }
    }

    /// Lends up to `amount` of one budget's unheld surplus to its sibling and returns what was
    /// lent. Durable when it returns.
    pub async fn lend(
        &self,
        lender: BudgetId,
        borrower: BudgetId,
        amount: Amount,
    ) -> Result<Amount, Error> {
        self.lend_noted(lender, borrower, amount, |_| Vec::new())
            .await
    }

    /// As [`Fisc::lend`], with notes on what was lent that are durable if and only if it is.
    pub async fn lend_noted(
        &self,
        lender: BudgetId,
        borrower: BudgetId,
        amount: Amount,
        notes: impl FnOnce(Amount) -> Vec<Note>,
    ) -> Result<Amount, Error> {
        let (lent, ticket) = {
            let mut engine = self.shared.engine();
            engine.lend(self.now(), lender, borrower, amount, notes)?
        };
        self.shared.made_room();
        if let Some(ticket) = ticket {
            ticket.durable().await?;
        }
        Ok(lent)
    }

    /// Takes a new prediction of what a budget will have spent in total when it is done.
    pub fn expect(&self, id: BudgetId, need: Limits) -> Result<(), Error> {
        Ok(self.shared.engine().tree.expect(id, need)?)
    }

    /// Returns the loans that are not repaid yet.
    pub fn loans(&self) -> Vec<Loan> {
        self.shared.engine().tree.loans().to_vec()
    }
}

// === impl Engine ===

impl Engine {
    fn release(
        &mut self,
        now: Timestamp,
        id: BudgetId,
        teaches: bool,
    ) -> Result<Written<()>, Error> {
        self.admits()?;
        // As it stood: at its end nothing is left of its level.
        let ends = |view: &BudgetView<'_>| view.terms.state != State::Released && view.open == 0;
        if self.tree.budget(id).is_some_and(|view| ends(&view)) {
            self.finish(id, teaches);
        }
        self.tree.release(now, id, &mut self.events)?;
        let terms = self.standing_text(id);
        let ticket = self.append(now, Entry::Terms { budget: id, terms });
        Ok(((), self.append_touched(now).or(ticket)))
    }

    fn lend(
        &mut self,
        now: Timestamp,
        lender: BudgetId,
        borrower: BudgetId,
        amount: Amount,
        notes: impl FnOnce(Amount) -> Vec<Note>,
    ) -> Result<Written<Amount>, Error> {
        self.admits()?;
        let lent = self.tree.lend(lender, borrower, amount, &mut self.events)?;
        self.notes = notes(lent);
        let ticket: Option<Ticket> = self.append_touched(now);
        Ok((lent, ticket))
    }

    /// Divides anew what siblings share, when a round is over; says whether it did.
    pub(crate) fn divide(&mut self, now: Timestamp) -> bool {
        let over = |at: Timestamp| now.since(at) >= ROUND || now < at;
        if !self.divided.is_none_or(over) {
            return false;
        }
        self.divided = Some(now);
        let shared: Vec<BudgetId> = self.tree.shared_budgets().collect();
        for id in &shared {
            let divided = self.tree.rebalance(now, *id, &mut self.events);
            debug_assert!(divided.is_ok(), "it was listed a moment ago");
        }
        // Nobody waits for it: what is sold again after a crash was paid by the same credits.
        self.append_touched(now);
        !shared.is_empty()
    }
}
