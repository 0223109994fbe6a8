//! The writer's picture of balances, open holds and pending roll-ups.
//!
//! For each entry it first says what the entry would change ([`Books::plan`], which changes
//! nothing), then, once the entry is in the database, changes it ([`Books::book`]). What became
//! dirty is written once per batch. An entry that cannot follow from those before is refused: the
//! engine above and the journal disagree, and no guess is right.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, OutOfRange, Timestamp, Usage};

use crate::counters::Counters;
use crate::entry::{CallLabel, Entry};
use crate::recovery::Recovered;

const HOUR_US: i64 = 3_600_000_000;

/// The state of all budgets and holds after the entries so far.
pub(super) struct Books {
    balances: HashMap<BudgetId, Balance>,
    holds: HashMap<HoldId, HeldCall>,
    dirty: Dirty,
}

/// What one budget itself spent and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Balance {
    pub(super) spent: Amount,
    pub(super) held: Amount,
    pub(super) overrun: Amount,
}

/// A hold without an end.
pub(super) struct HeldCall {
    pub(super) budget: BudgetId,
    pub(super) amount: Amount,
    pub(super) call: CallLabel,
    pub(super) at: Timestamp,
    pub(super) doubt: Option<DoubtCharge>,
}

#[derive(Clone, Copy)]
pub(super) struct DoubtCharge {
    pub(super) charged: Amount,
    pub(super) at: Timestamp,
}

/// What the entries say about a hold that has ended, for correcting it.
#[derive(Clone)]
pub(super) struct Ended {
    pub(super) budget: BudgetId,
    pub(super) call: CallLabel,
    /// When it was settled, voided or charged in doubt.
    pub(super) at: Timestamp,
    /// The usage as known before the correction.
    pub(super) usage: Usage,
}

/// What an entry would change.
pub(super) struct Plan {
    pub(super) budget: BudgetId,
    balance: Balance,
}

/// What a roll-up is kept by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RollupKey {
    pub(super) budget: BudgetId,
    pub(super) operation: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) provider: Arc<str>,
    pub(super) hour: i64,
}

/// What changed since the last commit.
#[derive(Default)]
pub(super) struct Dirty {
    pub(super) budgets: HashSet<BudgetId>,
    pub(super) holds: HashSet<HoldId>,
    pub(super) rollups: HashMap<RollupKey, Counters>,
}

/// Returns the hour that reports count a moment to.
pub(super) fn hour(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR_US)
}

// === impl Books ===

impl Books {
    pub(super) fn new(recovered: &Recovered) -> Books {
        let balance = |row: &crate::recovery::BudgetRow| {
            (
                row.id,
                Balance {
                    spent: row.spent,
                    held: row.held,
                    overrun: row.overrun,
                },
            )
        };
        let open = recovered.open.iter().map(|hold| (hold, None));
        let in_doubt = recovered.in_doubt.iter().map(|doubtful| {
            let charge = DoubtCharge {
                charged: doubtful.charged,
                at: doubtful.at,
            };
            (&doubtful.hold, Some(charge))
        });
        let held = open.chain(in_doubt).map(|(hold, doubt)| {
            let (amount, at, call) = (hold.amount, hold.at, hold.call.clone());
            (
                hold.id,
                HeldCall {
                    budget: hold.budget,
                    amount,
                    call,
                    at,
                    doubt,
                },
            )
        });
        Books {
            balances: recovered.budgets.iter().map(balance).collect(),
            holds: held.collect(),
            dirty: Dirty::default(),
        }
    }

    /// Says what the entry would change, or why it cannot follow. `ended` is what a correction
    /// corrects, where that hold is not open or in doubt.
    pub(super) fn plan(&self, entry: &Entry, ended: Option<&Ended>) -> Result<Plan, String> {
        let budget = self.budget_of(entry, ended)?;
        if let Entry::Allocate { parent, .. } = entry {
            return self.plan_allocation(budget, *parent);
        }
        let balance = *self
            .balances
            .get(&budget)
            .ok_or_else(|| format!("there is no budget {}", budget.0))?;
        let balance = self
            .next_balance(balance, entry)
            .map_err(|OutOfRange| format!("the balance of budget {} leaves its range", budget.0))?;
        if !(balance.spent.is_non_negative() && balance.held.is_non_negative()) {
            return Err(format!(
                "the balance of budget {} would be negative",
                budget.0
            ));
        }
        Ok(Plan { budget, balance })
    }

    /// Books an entry that was planned and is in the database.
    pub(super) fn book(&mut self, at: Timestamp, entry: Entry, plan: &Plan, ended: Option<Ended>) {
        let budget = plan.budget;
        if !matches!(entry, Entry::Terms { .. }) {
            self.balances.insert(budget, plan.balance);
            self.dirty.budgets.insert(budget);
        }
        match entry {
            Entry::Allocate { .. } | Entry::Terms { .. } => {}
            Entry::Hold {
                id, amount, call, ..
            } => {
                self.holds.insert(
                    id,
                    HeldCall {
                        budget,
                        amount,
                        call,
                        at,
                        doubt: None,
                    },
                );
                self.dirty.holds.insert(id);
            }
            Entry::Extend { id, by } => {
                let held = self.holds.get_mut(&id).expect("planned: the hold is open");
                held.amount = held.amount.checked_add(by).expect("planned: the sum fits");
                self.dirty.holds.insert(id);
            }
            Entry::Settle {
                id,
                amount,
                overrun,
                facts,
            } => {
                let held = self.remove(id);
                let counters = Counters::settled(held.amount, amount, overrun, &facts);
                self.roll_up(budget, &facts.call, at, &counters);
            }
            Entry::Void { id, .. } => {
                let held = self.remove(id);
                self.roll_up(budget, &held.call, at, &Counters::voided(&held.call));
            }
            Entry::Doubt { id, charged } => {
                let held = self.holds.get_mut(&id).expect("planned: the hold is open");
                held.doubt = Some(DoubtCharge { charged, at });
                let call = held.call.clone();
                self.dirty.holds.insert(id);
                self.roll_up(budget, &call, at, &Counters::doubted(&call, charged));
            }
            Entry::Correct { id, by, usage, .. } => self.book_correction(id, by, usage, ended),
        }
    }

    /// Returns what changed since the last time, to be written now.
    pub(super) fn take_dirty(&mut self) -> Dirty {
        mem::take(&mut self.dirty)
    }

    pub(super) fn balance(&self, budget: BudgetId) -> Option<&Balance> {
        self.balances.get(&budget)
    }

    pub(super) fn hold(&self, id: HoldId) -> Option<&HeldCall> {
        self.holds.get(&id)
    }

    fn budget_of(&self, entry: &Entry, ended: Option<&Ended>) -> Result<BudgetId, String> {
        let open = |id: &HoldId| match self.holds.get(id) {
            Some(held) if held.doubt.is_none() => Ok(held.budget),
            Some(_) => Err(format!("hold {id} is in doubt")),
            None => Err(format!("hold {id} is not open")),
        };
        match entry {
            Entry::Hold { id, .. } if self.holds.contains_key(id) => {
                Err(format!("hold {id} was taken before"))
            }
            Entry::Allocate { budget, .. }
            | Entry::Terms { budget, .. }
            | Entry::Hold { budget, .. } => Ok(*budget),
            Entry::Extend { id, .. }
            | Entry::Settle { id, .. }
            | Entry::Void { id, .. }
            | Entry::Doubt { id, .. } => open(id),
            Entry::Correct { id, .. } => match (self.holds.get(id), ended) {
                (Some(held), _) if held.doubt.is_none() => Err(format!("hold {id} is still open")),
                (Some(held), _) => Ok(held.budget),
                (None, Some(ended)) => Ok(ended.budget),
                (None, None) => Err(format!("there never was a hold {id}")),
            },
        }
    }

    fn plan_allocation(&self, budget: BudgetId, parent: Option<BudgetId>) -> Result<Plan, String> {
        if self.balances.contains_key(&budget) {
            return Err(format!("budget {} was allocated before", budget.0));
        }
        match parent {
            Some(parent) if !self.balances.contains_key(&parent) => {
                Err(format!("there is no budget {}", parent.0))
            }
            Some(parent) if parent >= budget => Err(format!(
                "budget {} is older than its parent {}",
                budget.0, parent.0
            )),
            _ => Ok(Plan {
                budget,
                balance: Balance::default(),
            }),
        }
    }

    fn next_balance(&self, mut balance: Balance, entry: &Entry) -> Result<Balance, OutOfRange> {
        let held = |id: &HoldId| self.holds.get(id).map_or(Amount::ZERO, |held| held.amount);
        match entry {
            Entry::Allocate { .. } | Entry::Terms { .. } => {}
            Entry::Hold { amount, .. } => balance.held = balance.held.checked_add(*amount)?,
            Entry::Extend { id, by } => {
                held(id).checked_add(*by)?;
                balance.held = balance.held.checked_add(*by)?;
            }
            Entry::Settle {
                id,
                amount,
                overrun,
                ..
            } => {
                balance.held = balance.held.checked_sub(held(id))?;
                balance.spent = balance.spent.checked_add(*amount)?;
                balance.overrun = balance.overrun.checked_add(*overrun)?;
            }
            Entry::Void { id, .. } => balance.held = balance.held.checked_sub(held(id))?,
            Entry::Doubt { id, charged } => {
                balance.held = balance.held.checked_sub(held(id))?;
                balance.spent = balance.spent.checked_add(*charged)?;
            }
            Entry::Correct { by, .. } => balance.spent = balance.spent.checked_add(*by)?,
        }
        Ok(balance)
    }

    fn book_correction(
        &mut self,
        id: HoldId,
        by: Amount,
        usage: Option<Usage>,
        ended: Option<Ended>,
    ) {
        let ends_doubt = self.holds.contains_key(&id);
        let Ended {
            budget,
            call,
            at,
            usage: before,
        } = ended.unwrap_or_else(|| {
            let held = self.remove(id);
            let doubt = held.doubt.expect("planned: the hold is in doubt");
            Ended {
                budget: held.budget,
                call: held.call,
                at: doubt.at,
                usage: Usage::default(),
            }
        });
        let counters = Counters::corrected(by, ends_doubt, usage.map(|now| (before, now)));
        self.roll_up(budget, &call, at, &counters);
    }

    fn remove(&mut self, id: HoldId) -> HeldCall {
        self.dirty.holds.insert(id);
        self.holds
            .remove(&id)
            .expect("planned: the hold has no end yet")
    }

    fn roll_up(&mut self, budget: BudgetId, call: &CallLabel, at: Timestamp, counters: &Counters) {
        let key = RollupKey {
            budget,
            operation: call.operation.clone(),
            model: call.model.clone(),
            provider: call.provider.clone(),
            hour: hour(at),
        };
        self.dirty
            .rollups
            .entry(key)
            .or_insert(Counters::ZERO)
            .add(counters);
    }
}
