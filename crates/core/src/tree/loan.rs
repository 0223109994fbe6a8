//! Loans between siblings: limits move, never what is spent, and the sum of the limits stays.
//!
//! Only unheld surplus is lent. The lender's limit falls first, then the borrower's rises; the
//! debt is repaid first from the borrower's next raise or leftover, and ends with the lender's
//! window. What is not repaid when the borrower is released is a transfer on record.

use super::node::same_window;
use super::{Node, Tree};
use crate::amount::{Amount, Resource};
use crate::event::Event;
use crate::id::BudgetId;
use crate::level::Level;
use crate::refusal::TreeError;
use crate::sharing::lend::{Lender, Lending};
use crate::terms::{Claim, State};
use crate::window::Window;

/// What one budget lent to a sibling and did not get back yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loan {
    /// Whose limit fell.
    pub lender: BudgetId,
    /// Whose limit rose.
    pub borrower: BudgetId,
    /// What is still owed.
    pub amount: Amount,
}

// === impl Tree ===

impl Tree {
    /// Lends up to `amount` of the lender's surplus to its sibling and returns what was lent, at
    /// most the lendable share of what the lender neither committed, nor keeps for its children,
    /// nor is predicted to need. Resources that either does not limit are not lent.
    pub fn lend(
        &mut self,
        lender: BudgetId,
        borrower: BudgetId,
        amount: Amount,
        events: &mut Vec<Event>,
    ) -> Result<Amount, TreeError> {
        if !amount.is_non_negative() {
            return Err(TreeError::Negative);
        }
        self.check_siblings(lender, borrower)?;
        if self.owes(lender, borrower) {
            return Err(TreeError::LoanCycle);
        }
        if self.acting(lender).level >= Level::Red {
            return Err(TreeError::NothingToLend);
        }
        let lent = amount.min(self.surplus(lender, borrower));
        if lent == Amount::ZERO {
            return Err(TreeError::NothingToLend);
        }
        self.move_limit(lender, borrower, lent)?;
        match self.debt_mut(lender, borrower) {
            Some(loan) => loan.amount = loan.amount.saturating_add(lent),
            None => self.loans.push(Loan {
                lender,
                borrower,
                amount: lent,
            }),
        }
        events.push(Event::Lent {
            lender,
            borrower,
            amount: lent,
        });
        self.refresh_caps(lender, events);
        self.refresh_caps(borrower, events);
        Ok(lent)
    }

    /// Returns the loans that are not repaid yet.
    pub fn loans(&self) -> &[Loan] {
        &self.loans
    }

    /// Puts back a debt that a journal remembers; the limits of both were restored as moved.
    pub fn restore_loan(&mut self, loan: Loan) {
        self.loans.push(loan);
    }

    /// Repays from `available`, what the borrower just gained or will not use any more, the
    /// oldest debts first.
    pub(super) fn repay(&mut self, borrower: BudgetId, available: Amount) {
        let mut left = available;
        for at in 0..self.loans.len() {
            let loan = self.loans[at];
            let part = loan.amount.min(left).max(Amount::ZERO);
            if loan.borrower != borrower || part == Amount::ZERO {
                continue;
            }
            let (Ok(rest), Ok(owed)) = (left.checked_sub(part), loan.amount.checked_sub(part))
            else {
                continue;
            };
            if self.move_limit(borrower, loan.lender, part).is_ok() {
                self.loans[at].amount = owed;
                left = rest;
            }
        }
        self.loans.retain(|loan| loan.amount != Amount::ZERO);
    }

    /// Repays what a budget that ends leaves unused; what it still owes then is a transfer.
    pub(super) fn repay_all(&mut self, borrower: BudgetId) {
        let node = self.node(borrower);
        let unused = node
            .cap
            .checked_sub(node.load)
            .map_or(Amount::ZERO, |rest| rest.max(Amount::ZERO));
        self.repay(borrower, unused);
        self.loans.retain(|loan| loan.borrower != borrower);
        self.touched.push(borrower);
    }

    /// Ends every loan that a budget gave, because its window ends.
    pub(super) fn end_loans_of(&mut self, lender: BudgetId) {
        let (ending, rest) = (self.loans.iter().copied()).partition(|loan| loan.lender == lender);
        self.loans = rest;
        let ending: Vec<Loan> = ending;
        for loan in ending {
            // The borrower's own window ends at the same instant; what it spent is past.
            let moved = self.move_limit(loan.borrower, lender, loan.amount);
            debug_assert!(moved.is_ok(), "the loan was within range when it was made");
        }
    }

    fn check_siblings(&self, lender: BudgetId, borrower: BudgetId) -> Result<(), TreeError> {
        for id in [lender, borrower] {
            let node = self
                .nodes
                .get(id.0 as usize)
                .ok_or(TreeError::UnknownBudget(id))?;
            if let Some((shut, State::Released)) = node.shut {
                return Err(TreeError::Released(shut));
            }
        }
        let (one, other) = (self.node(lender), self.node(borrower));
        if lender == borrower || one.parent.is_none() || one.parent != other.parent {
            return Err(TreeError::NotSiblings);
        }
        let lasting = |window: Window| !matches!(window, Window::Rolling(_));
        let (window, to) = (one.terms.window, other.terms.window);
        // Lent once, it would come back to the borrower in each of its windows.
        let windows = same_window(window, to) && lasting(window);
        // Else what is carved out for the lender would be anybody's.
        let claims = one.terms.claim != Claim::Limit || other.terms.claim == Claim::Limit;
        if !windows || !claims {
            return Err(TreeError::UnlikeTerms);
        }
        Ok(())
    }

    /// Says whether `debtor` owes to `creditor`, directly or through others.
    fn owes(&self, debtor: BudgetId, creditor: BudgetId) -> bool {
        let mut queue = vec![debtor];
        let mut seen = Vec::new();
        while let Some(id) = queue.pop() {
            if id == creditor {
                return true;
            }
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let to = self.loans.iter().filter(|loan| loan.borrower == id);
            queue.extend(to.map(|loan| loan.lender));
        }
        false
    }

    /// What `lender` may lend to `borrower` now.
    fn surplus(&self, lender: BudgetId, borrower: BudgetId) -> Amount {
        let (node, to) = (self.node(lender), self.node(borrower));
        let raw = Resource::ALL.map(|resource| {
            let limited = |node: &Node| node.terms.limits.get(resource).is_some();
            if !limited(node) || !limited(to) {
                return 0;
            }
            let predicted = node.need.get(resource).or(node.terms.need.get(resource));
            let guarantee = match node.terms.claim {
                Claim::Guarantee(amount) => amount.get(resource),
                _ => 0,
            };
            let lender = Lender {
                limit: node.cap.get(resource),
                committed: node.load.get(resource),
                // Who lends without a prediction says that nothing more is needed.
                upper_need: Some(predicted.unwrap_or(0)),
                guarantee,
            };
            lender.offer(&Lending {
                lendable: node.terms.lendable.0,
                borrowing: None,
            })
        });
        Amount::from_raw(raw)
    }

    fn debt_mut(&mut self, lender: BudgetId, borrower: BudgetId) -> Option<&mut Loan> {
        self.loans
            .iter_mut()
            .find(|loan| loan.lender == lender && loan.borrower == borrower)
    }

    /// Moves a part of one budget's limit to its sibling: it falls there before it rises here,
    /// so that the sum is never larger than it was.
    fn move_limit(&mut self, from: BudgetId, to: BudgetId, by: Amount) -> Result<(), TreeError> {
        let less = self.node(from).loaned.checked_sub(by)?;
        let more = self.node(to).loaned.checked_add(by)?;
        for (id, loaned) in [(from, less), (to, more)] {
            self.node_mut(id).loaned = loaned;
            self.touched.push(id);
            self.put_terms(id, self.node(id).terms);
        }
        Ok(())
    }
}
