//! The engine: the tree and its journal behind one lock.
//!
//! Every change is applied to the tree first and handed to the journal under the same lock, so
//! the journal's order is the tree's order; it is acted upon only when the journal has committed
//! it. Nothing here waits.

use std::collections::HashMap;

use fisc_core::{
    Acting, Amount, BudgetId, Event, Headroom, HoldId, Loan, Receipt, Refusal, Restored, State,
    Terms, Thresholds, Timestamp, Tree,
};
use fisc_ledger::{BudgetRow, CallLabel, Entry, Facts, Journal, Note, OpenHold, Recovered, Ticket};

use crate::calendar::Zones;
use crate::error::Error;
use crate::events::Ring;
use crate::foresight::Foresight;
use crate::queue::Queue;
use crate::runaway::Raised;
use crate::terms_text::{self, Standing};
use crate::throttle::Throttle;
use crate::wait::Asking;

/// How many entries may wait to be written before nothing new is admitted.
const BACKLOG_MAX: usize = 65_536;

/// A hold whose end is unknown after a crash: charged at the hold until somebody knows better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// The hold.
    pub id: HoldId,
    /// The budget it was taken at.
    pub budget: BudgetId,
    /// When it was taken.
    pub opened: Timestamp,
    /// What is charged for it.
    pub charged: Amount,
    /// What its call was.
    pub call: CallLabel,
}

/// A change that was applied: its journal ticket, or `None` without a journal.
pub(crate) type Written<T> = (T, Option<Ticket>);

pub(crate) struct Engine {
    pub(crate) tree: Tree,
    pub(crate) journal: Option<Journal>,
    /// Nothing is admitted any more: what came would not be written.
    pub(crate) closed: bool,
    /// What the last changes caused, until it is noted.
    pub(crate) events: Vec<Event>,
    pub(crate) ring: Ring,
    /// Budgets that are acted upon as if their level were one higher.
    pub(crate) raised: HashMap<BudgetId, Raised>,
    pub(crate) in_doubt: HashMap<HoldId, InDoubt>,
    /// Calls that wait for room.
    pub(crate) queue: Queue,
    /// When calls are due where they are slowed.
    pub(crate) throttle: Throttle,
    /// Where spending leads.
    pub(crate) foresight: Foresight,
    /// When what siblings share was last divided in a round.
    pub(crate) divided: Option<Timestamp>,
    /// What is to be noted with the next entry.
    pub(crate) notes: Vec<Note>,
}

/// Rebuilds the tree that a journal's rows describe, as it stood or stands at `now`, for whoever
/// reads a ledger beside its writer.
///
/// # Errors
/// When the rows are not of a tree that this version knows.
pub fn read_tree(budgets: &[BudgetRow], open: &[OpenHold], now: Timestamp) -> Result<Tree, Error> {
    let mut engine = Engine::new(Thresholds::default());
    engine.restore(budgets)?;
    for hold in open {
        engine
            .tree
            .restore_hold(hold.at, hold.id, hold.budget, hold.amount)?;
    }
    engine.bring_to(now);
    engine.tree.tick(now, &mut Vec::new());
    Ok(engine.tree)
}

// === impl Engine ===

impl Engine {
    pub(crate) fn new(thresholds: Thresholds) -> Engine {
        let tree = Tree::new(thresholds);
        Engine {
            tree,
            journal: None,
            closed: false,
            events: Vec::new(),
            ring: Ring::default(),
            raised: HashMap::new(),
            in_doubt: HashMap::new(),
            queue: Queue::default(),
            throttle: Throttle::default(),
            foresight: Foresight::new(Timestamp(i64::MIN)),
            divided: None,
            notes: Vec::new(),
        }
    }

    /// Rebuilds the tree from what a journal recovered. Holds that were open are in doubt:
    /// charged at what was held, listed, and never released by time.
    pub(crate) fn recover(
        thresholds: Thresholds,
        journal: Journal,
        recovered: Recovered,
        now: Timestamp,
    ) -> Result<Engine, Error> {
        let mut engine = Engine::new(thresholds);
        engine.restore(&recovered.budgets)?;
        for doubtful in recovered.in_doubt {
            engine.remember_doubt(doubtful.hold, doubtful.charged);
        }
        engine.journal = Some(journal);
        for hold in recovered.open {
            engine
                .tree
                .restore_hold(hold.at, hold.id, hold.budget, hold.amount)?;
            engine.doubt(hold, now)?;
        }
        engine.events.clear();
        engine.foresight = Foresight::new(now);
        Ok(engine)
    }

    pub(crate) fn allocate(
        &mut self,
        now: Timestamp,
        parent: Option<BudgetId>,
        name: &str,
        terms: Terms,
        notes: impl FnOnce(BudgetId) -> Vec<Note>,
    ) -> Result<Written<BudgetId>, Error> {
        self.admits()?;
        let budget = self
            .tree
            .allocate(now, parent, name, terms, &mut self.events)?;
        self.expect_newcomer(budget);
        // As the tree fixed them: an automatic guarantee, an inherited window.
        let (name, terms) = (name.to_owned(), self.standing_text(budget));
        self.notes = notes(budget);
        let ticket = self.append(
            now,
            Entry::Allocate {
                budget,
                parent,
                name,
                terms,
            },
        );
        // A newcomer may cause a sale.
        Ok((budget, self.append_touched(now).or(ticket)))
    }

    pub(crate) fn set_terms(
        &mut self,
        now: Timestamp,
        budget: BudgetId,
        terms: Terms,
        notes: impl FnOnce() -> Vec<Note>,
    ) -> Result<Written<()>, Error> {
        self.admits()?;
        let old = self.tree.budget(budget).map(|view| *view.terms);
        let sharing = old.map(|old| old.sharing);
        self.tree.set_terms(budget, terms, &mut self.events)?;
        let frozen = terms.state == State::Frozen;
        if old.is_some_and(|old| (old.state == State::Frozen) != frozen) {
            self.events.push(Event::Frozen { budget, frozen });
        }
        if sharing != Some(terms.sharing) {
            // The old shares hold no more, and nobody else would say so.
            self.tree.rebalance(now, budget, &mut self.events)?;
        }
        let terms = self.standing_text(budget);
        self.notes = notes();
        let ticket = self.append(now, Entry::Terms { budget, terms });
        Ok(((), self.append_touched(now).or(ticket)))
    }

    pub(crate) fn headroom(&self, budget: BudgetId, finalize: bool) -> Headroom {
        let room = self.tree.headroom(budget, finalize);
        let acting = self.lift(budget, room.acting);
        Headroom { acting, ..room }
    }

    /// Returns the level that acts on calls of a budget.
    pub(crate) fn acting(&self, budget: BudgetId) -> Acting {
        self.lift(budget, self.tree.acting(budget))
    }

    /// Returns the level that acts on calls of a budget, one above its own where a sign or a
    /// forecast raised it, given the one that acts otherwise.
    fn lift(&self, budget: BudgetId, mut acting: Acting) -> Acting {
        if self.raised.is_empty() {
            return self.foresight.raise(&self.tree, budget, acting);
        }
        let mut next = self.tree.budget(budget);
        while let Some(view) = next {
            next = view.parent.and_then(|parent| self.tree.budget(parent));
            let Some(raised) = self.raised.get(&view.id).filter(|_| !view.terms.observed) else {
                continue;
            };
            let level = raised.lift(view.level());
            if level > acting.level {
                acting = Acting {
                    level,
                    budget: view.id,
                    resource: view.worst(),
                };
            }
        }
        self.foresight.raise(&self.tree, budget, acting)
    }

    pub(crate) fn hold(
        &mut self,
        now: Timestamp,
        id: HoldId,
        budget: BudgetId,
        amount: Amount,
        asking: &Asking,
    ) -> Result<Result<Option<Ticket>, Refusal>, Error> {
        self.admits()?;
        let finalize = asking.finalize;
        if let Err(refusal) = self
            .tree
            .hold(now, id, budget, amount, finalize, &mut self.events)?
        {
            return Ok(Err(refusal));
        }
        self.append_touched(now);
        let call = asking.call.clone();
        Ok(Ok(self.append(
            now,
            Entry::Hold {
                id,
                budget,
                amount,
                call,
            },
        )))
    }

    pub(crate) fn extend(
        &mut self,
        now: Timestamp,
        id: HoldId,
        by: Amount,
    ) -> Result<Result<Option<Ticket>, Refusal>, Error> {
        self.admits()?;
        if let Err(refusal) = self.tree.extend(now, id, by)? {
            return Ok(Err(refusal));
        }
        Ok(Ok(self.append(now, Entry::Extend { id, by })))
    }

    /// Settles; a fact is taken whatever the journal's backlog.
    pub(crate) fn settle(
        &mut self,
        now: Timestamp,
        id: HoldId,
        amount: Amount,
        facts: Box<Facts>,
    ) -> Result<Written<Receipt>, Error> {
        let open = self.tree.open_hold(id);
        let receipt = self.tree.settle(id, amount, &mut self.events)?;
        let Some(hold) = open else {
            return Ok((receipt, None));
        };
        (self.throttle).spent(&self.tree, now, hold.budget, hold.opened, amount);
        self.foresight.spent(&self.tree, now, hold.budget, amount);
        let overrun = receipt.overrun;
        let settled = Entry::Settle {
            id,
            amount,
            overrun,
            facts,
        };
        let ticket = self.append(now, settled);
        // What is past is written after what made it so: a crash between the two leaves too much
        // in the present window, not too little.
        self.append_touched(now);
        Ok((receipt, ticket))
    }

    pub(crate) fn void(
        &mut self,
        now: Timestamp,
        id: HoldId,
        reason: &str,
    ) -> Result<Written<Receipt>, Error> {
        let was_open = self.tree.open_hold(id).is_some();
        let receipt = self.tree.void(id, &mut self.events)?;
        if !was_open {
            return Ok((receipt, None));
        }
        let reason = reason.to_owned();
        let ticket = self.append(now, Entry::Void { id, reason });
        self.append_touched(now);
        Ok((receipt, ticket))
    }

    /// Ends a doubt with what the call did cost after all.
    pub(crate) fn resolve(
        &mut self,
        now: Timestamp,
        id: HoldId,
        actual: Amount,
        reason: &str,
    ) -> Result<Written<InDoubt>, Error> {
        let doubt = self
            .in_doubt
            .get(&id)
            .ok_or(fisc_core::TreeError::UnknownHold(id))?;
        if !actual.is_non_negative() {
            return Err(fisc_core::TreeError::Negative.into());
        }
        let by = actual
            .checked_sub(doubt.charged)
            .map_err(fisc_core::TreeError::from)?;
        let (opened, budget) = (doubt.opened, doubt.budget);
        self.tree.correct(opened, budget, by, &mut self.events)?;
        let doubt = self.in_doubt.remove(&id).expect("it was found above");
        if !by.is_non_negative() {
            // What is taken back from the past is written before: see above.
            self.append_touched(now);
        }
        let corrected = Entry::Correct {
            id,
            by,
            usage: None,
            reason: reason.to_owned(),
        };
        let ticket = self.append(now, corrected);
        self.append_touched(now);
        Ok((doubt, ticket))
    }

    /// Charges a restored hold whose end nobody knows at what it holds, and lists it.
    fn doubt(&mut self, hold: OpenHold, now: Timestamp) -> Result<(), Error> {
        let (id, charged) = (hold.id, hold.amount);
        self.tree.settle(id, charged, &mut self.events)?;
        self.append(now, Entry::Doubt { id, charged });
        self.remember_doubt(hold, charged);
        Ok(())
    }

    fn remember_doubt(&mut self, hold: OpenHold, charged: Amount) {
        let OpenHold {
            id,
            budget,
            call,
            at,
            ..
        } = hold;
        self.in_doubt.insert(
            id,
            InDoubt {
                id,
                budget,
                opened: at,
                charged,
                call,
            },
        );
    }

    /// Makes the error that a refusal is for whoever asked.
    pub(crate) fn refused(&self, refusal: Refusal) -> Error {
        let path = self.tree.path(refusal.budget());
        Error::Refused { path, refusal }
    }

    /// Puts back the budgets that a journal remembers, with their windows and debts.
    fn restore(&mut self, budgets: &[BudgetRow]) -> Result<(), Error> {
        let mut standings = Vec::new();
        for row in budgets {
            let terms = terms_text::read(&row.terms).map_err(Error::UnreadableTerms)?;
            let standing = terms_text::read_standing(&row.terms).map_err(Error::UnreadableTerms)?;
            self.tree.restore(&Restored {
                id: row.id,
                parent: row.parent,
                name: &row.name,
                terms,
                allocated: row.at,
                own_spent: row.spent,
                overrun: row.overrun,
                kept: standing.kept,
            })?;
            standings.push((row.id, standing));
        }
        self.restore_standings(&standings);
        Ok(())
    }

    /// Puts back windows and debts, once every budget is there.
    fn restore_standings(&mut self, standings: &[(BudgetId, Standing)]) {
        let kept = standings.iter().map(|(id, standing)| (*id, standing.kept));
        self.tree.restore_windows(kept);
        for (borrower, standing) in standings {
            for (lender, amount) in &standing.debts {
                self.tree.restore_loan(Loan {
                    lender: *lender,
                    borrower: *borrower,
                    amount: *amount,
                });
            }
        }
    }

    /// Brings the tree to `now`: windows that are over make room for the next.
    pub(crate) fn bring_to(&mut self, now: Timestamp) {
        if self.tree.is_due(now) {
            self.tree.roll(now, &Zones, &mut self.events);
            self.append_touched(now);
        }
    }

    /// Writes what the tree decided by itself: windows that began, limits that loans moved.
    pub(crate) fn append_touched(&mut self, now: Timestamp) -> Option<Ticket> {
        let mut last = None;
        for budget in self.tree.take_touched() {
            let terms = self.standing_text(budget);
            last = self.append(now, Entry::Terms { budget, terms });
        }
        last
    }

    /// A budget's terms and what the tree decided beside them, as the journal keeps them.
    pub(crate) fn standing_text(&self, budget: BudgetId) -> String {
        let view = (self.tree.budget(budget)).expect("only budgets of the tree are written");
        let debts = (self.tree.loans().iter())
            .filter(|loan| loan.borrower == budget)
            .map(|loan| (loan.lender, loan.amount));
        let standing = Standing {
            kept: self.tree.kept(budget),
            debts: debts.collect(),
        };
        terms_text::write_standing(view.terms, &standing)
    }

    /// Says whether anything new may be admitted: the journal writes, and is not far behind.
    pub(crate) fn admits(&self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Ledger("it was closed".to_owned()));
        }
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        if let Some(why) = journal.poisoned() {
            return Err(Error::Ledger(why));
        }
        let backlog = journal.backlog();
        if backlog > BACKLOG_MAX {
            return Err(Error::Behind(backlog));
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, now: Timestamp, entry: Entry) -> Option<Ticket> {
        let notes = std::mem::take(&mut self.notes);
        self.journal
            .as_ref()
            .map(|journal| journal.append_noted(now, entry, notes))
    }
}
