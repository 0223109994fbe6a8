//! The ends of holds: settled, voided, charged in doubt; and corrections that come later.

use super::grow::{contribution, over};
use super::{Hold, Tree};
use crate::amount::{Amount, OutOfRange, Timestamp};
use crate::event::Event;
use crate::id::{BudgetId, HoldId};
use crate::level::Level;
use crate::refusal::TreeError;

/// Each call lets the most that ever ran at once fade by one part of this many.
const MOST_OPEN_FADES: u32 = 8;

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The budget it was taken at.
    pub budget: BudgetId,
    /// What was held.
    pub held: Amount,
    /// What was charged; nothing for a voided hold.
    pub charged: Amount,
    /// Whether it was voided.
    pub voided: bool,
    /// By how much the charge took the budget or an ancestor over its limit, where that was
    /// most.
    pub overrun: Amount,
}

// === impl Tree ===

impl Tree {
    /// Ends a hold with what its call did cost, which may be more than was held: a fact is
    /// never refused. The rest returns to every budget on the path.
    ///
    /// The same settlement again returns the same receipt; a different one is a conflict and
    /// changes nothing.
    pub fn settle(
        &mut self,
        id: HoldId,
        actual: Amount,
        events: &mut Vec<Event>,
    ) -> Result<Receipt, TreeError> {
        if !actual.is_non_negative() {
            return Err(TreeError::Negative);
        }
        let Some(hold) = self.holds.get(&id).copied() else {
            let repeated = |receipt: &Receipt| !receipt.voided && receipt.charged == actual;
            return self.ended_receipt(id, repeated);
        };
        // The hold is in every sum already: only what exceeds it is new.
        let more = actual.checked_sub(hold.amount)?.max(Amount::ZERO);
        self.check_range(Some(hold.budget), more)?;
        let early = self.binding_level(hold.budget).0 < Level::Red;
        let overrun = if actual.fits(&hold.amount) {
            self.end(id, hold, actual)?;
            Amount::ZERO
        } else {
            let before = self.path_over(hold.budget);
            self.end(id, hold, actual)?;
            self.record_overrun(hold.budget, &before, events)
        };
        self.node_mut(hold.budget).spent_before_red |= early;
        self.refresh_path_levels(hold.budget, events);
        let receipt = Receipt {
            budget: hold.budget,
            held: hold.amount,
            charged: actual,
            voided: false,
            overrun,
        };
        self.ended.remember(id, receipt);
        Ok(receipt)
    }

    /// Ends a hold whose call certainly never reached the provider: all of it returns.
    pub fn void(&mut self, id: HoldId, events: &mut Vec<Event>) -> Result<Receipt, TreeError> {
        let Some(hold) = self.holds.get(&id).copied() else {
            return self.ended_receipt(id, |receipt| receipt.voided);
        };
        self.end(id, hold, Amount::ZERO)?;
        self.refresh_path_levels(hold.budget, events);
        let receipt = Receipt {
            budget: hold.budget,
            held: hold.amount,
            charged: Amount::ZERO,
            voided: true,
            overrun: Amount::ZERO,
        };
        self.ended.remember(id, receipt);
        Ok(receipt)
    }

    /// Moves what a running call has used so far from held to spent; committed is unchanged.
    /// `so_far` is cumulative, never moves back, and counts at most up to the hold.
    pub fn meter(
        &mut self,
        id: HoldId,
        so_far: Amount,
        events: &mut Vec<Event>,
    ) -> Result<(), TreeError> {
        let hold = *self.holds.get(&id).ok_or(TreeError::UnknownHold(id))?;
        let metered = so_far.min(hold.amount).max(hold.metered);
        let moved = metered.checked_sub(hold.metered)?;
        self.holds.insert(id, Hold { metered, ..hold });
        let returned = Amount::ZERO.checked_sub(moved)?;
        self.book(hold.budget, hold.opened, moved, returned);
        self.refresh_path_levels(hold.budget, events);
        Ok(())
    }

    /// Books a later fact about a call that has ended: `by` may be negative, but never takes
    /// what the budget's own ended calls spent below nothing.
    ///
    /// It counts in the window in which the call `opened`.
    pub fn correct(
        &mut self,
        opened: Timestamp,
        budget: BudgetId,
        by: Amount,
        events: &mut Vec<Event>,
    ) -> Result<(), TreeError> {
        let node = self
            .nodes
            .get(budget.0 as usize)
            .ok_or(TreeError::UnknownBudget(budget))?;
        let ended = node.own_spent.checked_sub(self.own_metered(budget)?)?;
        if !ended.checked_add(by)?.is_non_negative() {
            return Err(TreeError::Negative);
        }
        self.check_range(Some(budget), by.max(Amount::ZERO))?;
        let before = self.path_over(budget);
        self.book(budget, opened, by, Amount::ZERO);
        self.record_overrun(budget, &before, events);
        self.refresh_path_levels(budget, events);
        Ok(())
    }

    /// Makes sure that adding `amount` at `leaf` keeps every sum on its path in range: what
    /// counts in the window, and what was ever spent and is held.
    pub(super) fn check_range(
        &self,
        leaf: Option<BudgetId>,
        amount: Amount,
    ) -> Result<(), OutOfRange> {
        let mut next = leaf;
        while let Some(id) = next {
            let node = self.node(id);
            node.load.checked_add(amount)?;
            node.spent.checked_add(node.held)?.checked_add(amount)?;
            next = node.parent;
        }
        Ok(())
    }

    /// Adds to spent and held of a budget's own calls, and to every sum above: in the windows
    /// in which the call `opened`. The caller has checked the range.
    pub(super) fn book(&mut self, leaf: BudgetId, opened: Timestamp, spent: Amount, held: Amount) {
        let node = self.node_mut(leaf);
        node.own_spent = plus(node.own_spent, spent);
        node.own_held = plus(node.own_held, held);
        self.shift(leaf, opened, spent, held, plus(spent, held), spent);
    }

    /// Moves the sums of a path: `spent` and `held` by the same amounts everywhere, load and
    /// floor by what each claim on the way lets through. Where windows differ, a claim is of no
    /// meaning above, and what is of an earlier window moves no load.
    pub(super) fn shift(
        &mut self,
        leaf: BudgetId,
        opened: Timestamp,
        spent: Amount,
        held: Amount,
        load: Amount,
        floor: Amount,
    ) {
        let (mut load, mut floor) = (load, floor);
        // What is booked into several windows at once is rare: all is summed up anew then.
        let mut split = false;
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            next = node.parent;
            // Without a window, all of it counts.
            if node.window.span.is_some() {
                let counted = node.window.book(opened, spent, held, node.spent);
                if counted != (spent, held) {
                    // What is past has changed, and a journal must know.
                    self.touched.push(id);
                    let node = &mut self.nodes[id.0 as usize];
                    node.spent = plus(node.spent, spent);
                    node.held = plus(node.held, held);
                    split = true;
                    continue;
                }
            }
            node.spent = plus(node.spent, spent);
            node.held = plus(node.held, held);
            let (load_before, floor_before) = (node.load, node.floor);
            node.load = plus(load_before, load);
            node.floor = plus(floor_before, floor);
            if node.window.apart {
                (load, floor) = (plus(spent, held), spent);
                continue;
            }
            load = minus(node.load.max(node.claim), load_before.max(node.claim));
            floor = minus(node.floor.max(node.claim), floor_before.max(node.claim));
        }
        if split {
            self.recompute_path(leaf);
        }
    }

    /// Moves the loads above a budget by what its own contribution changed since `before`.
    pub(super) fn pass_up(&mut self, id: BudgetId, before: (Amount, Amount)) {
        let node = self.node(id);
        let Some(parent) = node.parent else { return };
        if node.window.apart {
            return;
        }
        let load = minus(contribution(node), before.0);
        let floor = minus(self.floor_contribution(id), before.1);
        // Claims are of every window.
        let always = Timestamp(i64::MAX);
        self.shift(parent, always, Amount::ZERO, Amount::ZERO, load, floor);
    }

    pub(super) fn count_open(&mut self, leaf: BudgetId, by: i32) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            node.open = node
                .open
                .checked_add_signed(by)
                .expect("every hold ends exactly once");
            // What calls had before they are throttled is remembered while they are, and a burst
            // of long ago fades.
            if by > 0 && node.level() < Level::Orange {
                let faded = node.most_open - node.most_open / MOST_OPEN_FADES;
                node.most_open = node.open.max(faded);
            }
            next = node.parent;
        }
    }

    /// Sums what the running calls of one budget have metered: theirs to settle or to void.
    fn own_metered(&self, budget: BudgetId) -> Result<Amount, OutOfRange> {
        let mut metered = Amount::ZERO;
        for hold in self.holds.values().filter(|hold| hold.budget == budget) {
            metered = metered.checked_add(hold.metered)?;
        }
        Ok(metered)
    }

    /// Takes an open hold out of the tree and books what its call did cost.
    fn end(&mut self, id: HoldId, hold: Hold, actual: Amount) -> Result<(), OutOfRange> {
        let spent = actual.checked_sub(hold.metered)?;
        let held = hold.metered.checked_sub(hold.amount)?;
        self.holds.remove(&id);
        self.book(hold.budget, hold.opened, spent, held);
        self.count_open(hold.budget, -1);
        Ok(())
    }

    fn ended_receipt(
        &self,
        id: HoldId,
        same: impl Fn(&Receipt) -> bool,
    ) -> Result<Receipt, TreeError> {
        match self.ended.get(id) {
            Some(receipt) if same(receipt) => Ok(*receipt),
            Some(_) => Err(TreeError::Conflict(id)),
            None => Err(TreeError::UnknownHold(id)),
        }
    }

    /// By how much each budget on the path is over its limit, from the leaf up.
    fn path_over(&self, leaf: BudgetId) -> [Amount; super::MAX_DEPTH] {
        let mut result = [Amount::ZERO; super::MAX_DEPTH];
        let mut next = Some(leaf);
        for slot in &mut result {
            let Some(id) = next else { break };
            *slot = over(self.node(id));
            next = self.node(id).parent;
        }
        result
    }

    fn record_overrun(
        &mut self,
        leaf: BudgetId,
        before: &[Amount; super::MAX_DEPTH],
        events: &mut Vec<Event>,
    ) -> Amount {
        let mut most = Amount::ZERO;
        let mut next = Some(leaf);
        for was in before {
            let Some(id) = next else { break };
            let node = self.node_mut(id);
            let by = minus(over(node), *was).max(Amount::ZERO);
            if by != Amount::ZERO {
                // It adds up over a lifetime of corrections up and down, beyond any one sum.
                node.overrun = node.overrun.saturating_add(by);
                events.push(Event::Overrun { budget: id, by });
                most = most.max(by);
            }
            next = node.parent;
        }
        most
    }
}

fn plus(left: Amount, right: Amount) -> Amount {
    left.checked_add(right)
        .expect("every sum of the path was checked before anything was booked")
}

fn minus(left: Amount, right: Amount) -> Amount {
    left.checked_sub(right)
        .expect("both are sums of the same budget, within range")
}
