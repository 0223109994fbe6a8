//! Balances, open holds and roll-ups in memory: the fold of all entries so far.
//!
//! For each entry they first say what the entry would change ([`Books::plan`], which changes
//! nothing), then, once the entry is in the database, change it ([`Books::book`]). What became
//! dirty is written every so many entries; until then it follows from the entries. An entry that
//! cannot follow from those before is refused: the engine above and the journal disagree, and no
//! guess is right. `past` looks up what is no longer in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, OutOfRange, Timestamp, Usage};

use crate::counters::Counters;
use crate::entry::{CallLabel, Entry};
use crate::recovery::{DoubtfulHold, OpenHold};

mod past;

pub(crate) use past::Past;

/// The step of a hold's first entry in table `steps`.
pub(crate) const BEGIN: u64 = 0;
/// The step of a hold's end there. Between them are the entries' own numbers, which are larger.
pub(crate) const END: u64 = 1;

const HOUR_US: i64 = 3_600_000_000;

/// The state of all budgets and holds after the entries so far.
pub(crate) struct Books {
    balances: HashMap<BudgetId, Balance>,
    holds: HashMap<HoldId, HeldCall>,
    /// The greatest id of a hold in table `steps`.
    newest: Option<HoldId>,
    dirty: Dirty,
}

/// What one budget itself spent and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Balance {
    pub(crate) spent: Amount,
    pub(crate) held: Amount,
    pub(crate) overrun: Amount,
}

/// A hold without an end.
pub(crate) struct HeldCall {
    pub(crate) budget: BudgetId,
    pub(crate) amount: Amount,
    pub(crate) call: CallLabel,
    pub(crate) at: Timestamp,
    pub(crate) doubt: Option<DoubtCharge>,
}

#[derive(Clone, Copy)]
pub(crate) struct DoubtCharge {
    pub(crate) charged: Amount,
    pub(crate) at: Timestamp,
}

/// What the entries say about a hold that has ended, for correcting it.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) budget: BudgetId,
    pub(crate) call: CallLabel,
    /// When it was settled, voided or charged in doubt.
    pub(crate) at: Timestamp,
    /// The usage as known before the correction.
    pub(crate) usage: Usage,
}

/// What an entry would change.
pub(crate) struct Plan {
    pub(crate) budget: BudgetId,
    balance: Balance,
}

/// What a roll-up is kept by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RollupKey {
    pub(crate) budget: BudgetId,
    pub(crate) operation: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) provider: Arc<str>,
    pub(crate) hour: i64,
}

/// What changed since the tables were written.
#[derive(Default)]
pub(crate) struct Dirty {
    /// How many entries made it.
    pub(crate) entries: usize,
    pub(crate) budgets: HashSet<BudgetId>,
    pub(crate) holds: HashSet<HoldId>,
    pub(crate) rollups: HashMap<RollupKey, Counters>,
    /// The entries about holds, by hold and step.
    pub(crate) steps: BTreeMap<(HoldId, u64), u64>,
}

/// Returns the hour that reports count a moment to.
pub(crate) fn hour(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR_US)
}

// === impl Books ===

impl Books {
    /// Takes up what the tables say; `newest` is the greatest id of a hold that they know.
    pub(crate) fn new(
        balances: HashMap<BudgetId, Balance>,
        holds: HashMap<HoldId, HeldCall>,
        newest: Option<HoldId>,
    ) -> Books {
        Books {
            balances,
            holds,
            newest,
            dirty: Dirty::default(),
        }
    }

    /// Says what the entry would change, or why it cannot follow. `ended` is what a correction
    /// corrects, where that hold is not open or in doubt.
    pub(crate) fn plan(&self, entry: &Entry, ended: Option<&Ended>) -> Result<Plan, String> {
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

    /// Books an entry that was planned and is in the database under number `seq`.
    pub(crate) fn book(
        &mut self,
        (seq, at): (u64, Timestamp),
        entry: &Entry,
        plan: &Plan,
        ended: Option<Ended>,
    ) {
        let budget = plan.budget;
        self.dirty.entries += 1;
        if let Some(id) = entry.hold() {
            self.dirty.steps.insert((id, step(entry, seq)), seq);
        }
        if !matches!(entry, Entry::Terms { .. }) {
            self.balances.insert(budget, plan.balance);
            self.dirty.budgets.insert(budget);
        }
        match entry {
            Entry::Allocate { .. } | Entry::Terms { .. } => {}
            Entry::Hold {
                id, amount, call, ..
            } => {
                let held = HeldCall {
                    budget,
                    amount: *amount,
                    call: call.clone(),
                    at,
                    doubt: None,
                };
                self.holds.insert(*id, held);
                self.dirty.holds.insert(*id);
            }
            Entry::Extend { id, by } => {
                let held = self.holds.get_mut(id).expect("planned: the hold is open");
                held.amount = held.amount.checked_add(*by).expect("planned: the sum fits");
                self.dirty.holds.insert(*id);
            }
            Entry::Settle {
                id,
                amount,
                overrun,
                facts,
            } => {
                let held = self.remove(*id);
                let counters = Counters::settled(held.amount, *amount, *overrun, facts);
                self.roll_up(budget, &facts.call, at, &counters);
            }
            Entry::Void { id, .. } => {
                let held = self.remove(*id);
                self.roll_up(budget, &held.call, at, &Counters::voided(&held.call));
            }
            Entry::Doubt { id, charged } => {
                let charged = *charged;
                let held = self.holds.get_mut(id).expect("planned: the hold is open");
                held.doubt = Some(DoubtCharge { charged, at });
                let call = held.call.clone();
                self.dirty.holds.insert(*id);
                self.roll_up(budget, &call, at, &Counters::doubted(&call, charged));
            }
            Entry::Correct { id, by, usage, .. } => self.book_correction(*id, *by, *usage, ended),
        }
    }

    /// Returns what changed since the last time, to be written now.
    pub(crate) fn take_dirty(&mut self) -> Dirty {
        let newest = self.dirty.steps.keys().map(|(id, _)| *id).next_back();
        self.newest = self.newest.max(newest);
        mem::take(&mut self.dirty)
    }

    /// Returns what changed since the tables were written.
    pub(crate) fn dirty(&self) -> &Dirty {
        &self.dirty
    }

    /// Says whether a new hold's id must be looked up in the tables: ids are ordered by time, so
    /// nearly all are newer than whatever is there.
    pub(crate) fn may_be_taken(&self, id: HoldId) -> bool {
        self.newest.is_some_and(|newest| id <= newest)
    }

    /// Returns the holds that are open and those in doubt, oldest first.
    pub(crate) fn holds(&self) -> (Vec<OpenHold>, Vec<DoubtfulHold>) {
        let (mut open, mut in_doubt) = (Vec::new(), Vec::new());
        for (id, held) in &self.holds {
            let hold = OpenHold {
                id: *id,
                budget: held.budget,
                amount: held.amount,
                call: held.call.clone(),
                at: held.at,
            };
            match held.doubt {
                None => open.push(hold),
                Some(DoubtCharge { charged, at }) => {
                    in_doubt.push(DoubtfulHold { hold, charged, at });
                }
            }
        }
        open.sort_by_key(|hold| (hold.at, hold.id));
        in_doubt.sort_by_key(|doubtful| (doubtful.hold.at, doubtful.hold.id));
        (open, in_doubt)
    }

    /// Returns how many budgets have a balance.
    pub(crate) fn budgets(&self) -> usize {
        self.balances.len()
    }

    pub(crate) fn balance(&self, budget: BudgetId) -> Option<&Balance> {
        self.balances.get(&budget)
    }

    pub(crate) fn hold(&self, id: HoldId) -> Option<&HeldCall> {
        self.holds.get(&id)
    }

    fn budget_of(&self, entry: &Entry, ended: Option<&Ended>) -> Result<BudgetId, String> {
        let open = |id: &HoldId| match self.holds.get(id) {
            Some(held) if held.doubt.is_none() => Ok(held.budget),
            Some(_) => Err(format!("hold {id} is in doubt")),
            None => Err(format!("hold {id} is not open")),
        };
        match entry {
            Entry::Hold { id, .. } if self.has_begun(*id) => {
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

    /// Says whether the hold was taken, as far as memory goes.
    fn has_begun(&self, id: HoldId) -> bool {
        self.holds.contains_key(&id) || self.dirty.steps.contains_key(&(id, BEGIN))
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

/// Returns which step of its hold an entry is: a hold begins once and ends once.
fn step(entry: &Entry, seq: u64) -> u64 {
    match entry {
        Entry::Hold { .. } => BEGIN,
        Entry::Settle { .. } | Entry::Void { .. } | Entry::Doubt { .. } => END,
        _ => seq,
    }
}
