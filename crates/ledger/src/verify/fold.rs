//! The plain fold of entries, and its comparison with what the journal is served from: the tables,
//! and what `books` make of the entries since they were written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use fisc_core::{Amount, BudgetId, HoldId, Timestamp, Usage};
use rusqlite::Connection;

use crate::books::Books;
use crate::counters::{Totals, countable};
use crate::entry::{CallLabel, Entry, Facts};
use crate::error::VerifyError;
use crate::reader::{self, Filter, GroupBy};
use crate::recovery::{self, BudgetRow, DoubtfulHold, OpenHold};

/// What all entries so far add up to.
pub(super) struct Fold {
    budgets: BTreeMap<BudgetId, Folded>,
    open: HashMap<HoldId, OpenHold>,
    in_doubt: HashMap<HoldId, DoubtfulHold>,
    /// Ended holds that a correction names, with the usage as known; the others are forgotten.
    ended: HashMap<HoldId, (BudgetId, Usage)>,
    corrected: HashSet<HoldId>,
}

struct Folded {
    row: BudgetRow,
    totals: Signed,
}

/// The sums of a budget's roll-ups, as [`Counters`] but folded by name.
#[derive(Default)]
struct Signed {
    calls: i128,
    attempts: i128,
    voided: i128,
    estimated: i128,
    unbounded: i128,
    in_doubt: i128,
    corrected: i128,
    amount: [i128; 3],
    excess: [i128; 3],
    used: [i128; 5],
}

// === impl Fold ===

impl Fold {
    pub(super) fn new(corrected: Vec<HoldId>) -> Fold {
        Fold {
            budgets: BTreeMap::new(),
            open: HashMap::new(),
            in_doubt: HashMap::new(),
            ended: HashMap::new(),
            corrected: corrected.into_iter().collect(),
        }
    }

    /// Applies one entry, or says why it cannot follow.
    pub(super) fn apply(
        &mut self,
        budget: BudgetId,
        at: Timestamp,
        entry: Entry,
    ) -> Result<(), String> {
        if let Entry::Allocate {
            parent,
            name,
            terms,
            ..
        } = entry
        {
            return self.allocate(budget, parent, name, terms, at);
        }
        self.check_owner(budget, &entry)?;
        match entry {
            Entry::Allocate { .. } => Ok(()),
            Entry::Terms { terms, .. } => {
                self.budget(budget)?.row.terms = terms;
                Ok(())
            }
            Entry::Hold {
                id, amount, call, ..
            } => self.hold(OpenHold {
                id,
                budget,
                amount,
                call,
                at,
            }),
            Entry::Extend { id, by } => {
                let hold = self.open.get_mut(&id).ok_or("its hold is not open")?;
                hold.amount = sum(hold.amount, by)?;
                let row = &mut self.budget(budget)?.row;
                row.held = sum(row.held, by)?;
                Ok(())
            }
            Entry::Settle {
                id,
                amount,
                overrun,
                facts,
            } => self.settle(id, amount, overrun, &facts),
            Entry::Void { id, .. } => {
                let hold = self.end(id, Usage::default())?;
                let totals = &mut self.budget(budget)?.totals;
                totals.calls += i128::from(hold.call.attempt <= 1);
                totals.voided += 1;
                Ok(())
            }
            Entry::Doubt { id, charged } => {
                let hold = self.end(id, Usage::default())?;
                let folded = self.budget(budget)?;
                folded.row.spent = sum(folded.row.spent, charged)?;
                folded.totals.charge(&hold.call, charged);
                folded.totals.in_doubt += 1;
                self.in_doubt.insert(id, DoubtfulHold { hold, charged, at });
                Ok(())
            }
            Entry::Correct { id, by, usage, .. } => self.correct(id, by, usage),
        }
    }

    /// Compares with what the journal is served from.
    pub(super) fn compare(
        mut self,
        connection: &Connection,
        books: &Books,
    ) -> Result<(), VerifyError> {
        let (open, in_doubt) = books.holds();
        self.compare_holds(open, in_doubt)?;
        self.compare_rollups(connection, books)?;
        for stored in recovery::budgets(connection, books)? {
            let budget = stored.id;
            let Some(Folded { row, .. }) = self.budgets.remove(&budget) else {
                return Err(differs(budget, "its row", "there", "there is none"));
            };
            differ(budget, "its parent", &stored.parent, &row.parent)?;
            differ(budget, "its name", &stored.name, &row.name)?;
            differ(budget, "its terms", &stored.terms, &row.terms)?;
            differ(budget, "its birth", &stored.at, &row.at)?;
            differ(budget, "what it spent", &stored.spent, &row.spent)?;
            differ(budget, "what it holds", &stored.held, &row.held)?;
            differ(budget, "its overrun", &stored.overrun, &row.overrun)?;
        }
        match self.budgets.keys().next() {
            Some(budget) => Err(differs(*budget, "its row", "missing", "there is one")),
            None => Ok(()),
        }
    }

    fn allocate(
        &mut self,
        id: BudgetId,
        parent: Option<BudgetId>,
        name: String,
        terms: String,
        at: Timestamp,
    ) -> Result<(), String> {
        if parent.is_some_and(|parent| !self.budgets.contains_key(&parent)) {
            return Err("its parent does not exist".to_owned());
        }
        let (spent, held, overrun) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
        let row = BudgetRow {
            id,
            parent,
            name,
            terms,
            at,
            spent,
            held,
            overrun,
        };
        match self.budgets.insert(
            id,
            Folded {
                row,
                totals: Signed::default(),
            },
        ) {
            Some(_) => Err("its budget exists already".to_owned()),
            None => Ok(()),
        }
    }

    fn budget(&mut self, budget: BudgetId) -> Result<&mut Folded, String> {
        self.budgets
            .get_mut(&budget)
            .ok_or_else(|| format!("there is no budget {}", budget.0))
    }

    /// An entry names the budget of its hold.
    fn check_owner(&self, budget: BudgetId, entry: &Entry) -> Result<(), String> {
        let owner = match (entry, entry.hold()) {
            (_, None) => None,
            (Entry::Correct { .. }, Some(id)) => self.ended.get(&id).map(|(owner, _)| *owner),
            (_, Some(id)) => self.open.get(&id).map(|hold| hold.budget),
        };
        match owner {
            Some(owner) if owner != budget => Err(format!(
                "it names budget {}, its hold is of {}",
                budget.0, owner.0
            )),
            _ => Ok(()),
        }
    }

    /// Takes an open hold away.
    fn end(&mut self, id: HoldId, usage: Usage) -> Result<OpenHold, String> {
        let hold = self.open.remove(&id).ok_or("its hold is not open")?;
        if self.corrected.contains(&id) {
            self.ended.insert(id, (hold.budget, usage));
        }
        let row = &mut self.budget(hold.budget)?.row;
        row.held = row
            .held
            .checked_sub(hold.amount)
            .map_err(|error| error.to_string())?;
        Ok(hold)
    }

    fn hold(&mut self, hold: OpenHold) -> Result<(), String> {
        let id = hold.id;
        let row = &mut self.budget(hold.budget)?.row;
        row.held = sum(row.held, hold.amount)?;
        let again = self.in_doubt.contains_key(&id) || self.ended.contains_key(&id);
        match self.open.insert(id, hold) {
            None if !again => Ok(()),
            _ => Err(format!("a second hold {id}")),
        }
    }

    fn settle(
        &mut self,
        id: HoldId,
        amount: Amount,
        overrun: Amount,
        facts: &Facts,
    ) -> Result<(), String> {
        let hold = self.end(id, facts.usage)?;
        let folded = self.budget(hold.budget)?;
        folded.row.spent = sum(folded.row.spent, amount)?;
        folded.row.overrun = sum(folded.row.overrun, overrun)?;
        folded.totals.charge(&facts.call, amount);
        folded.totals.estimated += i128::from(facts.estimated);
        folded.totals.use_more(&facts.usage, 1);
        for (index, excess) in folded.totals.excess.iter_mut().enumerate() {
            let more = amount.raw()[index].saturating_sub(hold.amount.raw()[index]);
            *excess += i128::from(more.max(0));
        }
        Ok(())
    }

    fn correct(&mut self, id: HoldId, by: Amount, usage: Option<Usage>) -> Result<(), String> {
        let (budget, before) = *self.ended.get(&id).ok_or("its hold has not ended")?;
        let ends_doubt = self.in_doubt.remove(&id).is_some();
        if let Some(now) = usage {
            self.ended.insert(id, (budget, now));
        }
        let folded = self.budget(budget)?;
        folded.row.spent = sum(folded.row.spent, by)?;
        folded.totals.corrected += 1;
        folded.totals.in_doubt -= i128::from(ends_doubt);
        folded.totals.add(by);
        if let Some(now) = usage {
            folded.totals.use_more(&before, -1);
            folded.totals.use_more(&now, 1);
        }
        Ok(())
    }

    fn compare_holds(
        &mut self,
        open: Vec<OpenHold>,
        in_doubt: Vec<DoubtfulHold>,
    ) -> Result<(), VerifyError> {
        let problem = |id, problem| VerifyError::Hold { id, problem };
        for hold in open {
            match self.open.remove(&hold.id) {
                Some(folded) if folded == hold => {}
                Some(_) => return Err(problem(hold.id, "is open, but not as the entries say")),
                None => return Err(problem(hold.id, "is open, but not by the entries")),
            }
        }
        for doubtful in in_doubt {
            let id = doubtful.hold.id;
            match self.in_doubt.remove(&id) {
                Some(folded) if folded == doubtful => {}
                Some(_) => return Err(problem(id, "is in doubt, but not as the entries say")),
                None => return Err(problem(id, "is in doubt, but not by the entries")),
            }
        }
        match self.open.keys().chain(self.in_doubt.keys()).next() {
            Some(id) => Err(problem(*id, "has no end by the entries, but is not listed")),
            None => Ok(()),
        }
    }

    fn compare_rollups(&self, connection: &Connection, books: &Books) -> Result<(), VerifyError> {
        let by = GroupBy {
            budget: true,
            ..GroupBy::default()
        };
        let rows = reader::rollups(connection, books, &Filter::default(), by)?;
        let mut stored: BTreeMap<BudgetId, Totals> = rows
            .into_iter()
            .filter_map(|row| row.budget.map(|budget| (budget, row.totals)))
            .collect();
        for (budget, folded) in &self.budgets {
            let totals = stored.remove(budget).unwrap_or_default();
            folded.totals.compare(*budget, &totals)?;
            differ(
                *budget,
                "its roll-ups' overrun",
                &totals.overrun,
                &folded.row.overrun,
            )?;
            differ(
                *budget,
                "its roll-ups' charge",
                &totals.amount,
                &folded.row.spent,
            )?;
        }
        match stored.keys().next() {
            Some(budget) => Err(differs(*budget, "its roll-up", "there", "no such budget")),
            None => Ok(()),
        }
    }
}

// === impl Signed ===

impl Signed {
    fn charge(&mut self, call: &CallLabel, amount: Amount) {
        self.calls += i128::from(call.attempt <= 1);
        self.attempts += 1;
        self.unbounded += i128::from(!call.bounded);
        self.add(amount);
    }

    fn add(&mut self, amount: Amount) {
        for (sum, units) in self.amount.iter_mut().zip(amount.raw()) {
            *sum += i128::from(units);
        }
    }

    fn use_more(&mut self, usage: &Usage, sign: i128) {
        for (sum, count) in self.used.iter_mut().zip(used(&countable(usage))) {
            *sum += sign * i128::from(count);
        }
    }

    fn compare(&self, budget: BudgetId, stored: &Totals) -> Result<(), VerifyError> {
        let counts = [
            ("its calls", stored.calls, self.calls),
            ("its attempts", stored.attempts, self.attempts),
            ("its voids", stored.voided, self.voided),
            ("its estimated calls", stored.estimated, self.estimated),
            ("its unbounded calls", stored.unbounded, self.unbounded),
            ("its calls in doubt", stored.in_doubt, self.in_doubt),
            ("its corrections", stored.corrected, self.corrected),
        ];
        for (what, stored, folded) in counts {
            differ(budget, what, &i128::from(stored), &folded)?;
        }
        let wide = |amount: Amount| amount.raw().map(i128::from);
        differ(budget, "its charges", &wide(stored.amount), &self.amount)?;
        differ(budget, "its excess", &wide(stored.excess), &self.excess)?;
        differ(
            budget,
            "its usage",
            &used(&stored.usage).map(i128::from),
            &self.used,
        )
    }
}

/// Usage by direction; the classes within are in the entries.
fn used(usage: &Usage) -> [u64; 5] {
    let cached = usage.get(fisc_core::TokenClass::CacheRead);
    [
        usage.input(),
        usage.output(),
        cached,
        usage.reasoning,
        usage.units.searches,
    ]
}

fn sum(left: Amount, right: Amount) -> Result<Amount, String> {
    left.checked_add(right).map_err(|error| error.to_string())
}

fn differ<T: Debug + PartialEq>(
    budget: BudgetId,
    what: &'static str,
    stored: &T,
    folded: &T,
) -> Result<(), VerifyError> {
    if stored == folded {
        return Ok(());
    }
    Err(differs(
        budget,
        what,
        &format!("{stored:?}"),
        &format!("{folded:?}"),
    ))
}

fn differs(budget: BudgetId, what: &'static str, stored: &str, folded: &str) -> VerifyError {
    let (stored, folded) = (stored.to_owned(), folded.to_owned());
    VerifyError::Budget {
        budget,
        what,
        stored,
        folded,
    }
}
