//! What a journal knows when it is opened: budgets with their balances, and the holds that have
//! no end yet. Entries are not read, but for the last one, whatever their number.

use std::collections::HashMap;

use fisc_core::{Amount, BudgetId, HoldId, Timestamp};
use rusqlite::Connection;

use crate::chain::Hash;
use crate::entry::{CallLabel, decode_label};
use crate::error::Error;
use crate::row;

/// A budget as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetRow {
    /// Its id.
    pub id: BudgetId,
    /// The budget above.
    pub parent: Option<BudgetId>,
    /// Its name among its siblings.
    pub name: String,
    /// Its terms as last set.
    pub terms: String,
    /// When it was allocated.
    pub at: Timestamp,
    /// What it spent itself, charges in doubt included, its children's share not.
    pub spent: Amount,
    /// What it holds itself.
    pub held: Amount,
    /// What its own settlements exceeded limits by.
    pub overrun: Amount,
}

/// A hold without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHold {
    /// Its id.
    pub id: HoldId,
    /// The budget that pays.
    pub budget: BudgetId,
    /// What it holds, extensions included.
    pub amount: Amount,
    /// What the call is.
    pub call: CallLabel,
    /// When it was taken.
    pub at: Timestamp,
}

/// A hold that is charged because its end is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtfulHold {
    /// The hold as it was.
    pub hold: OpenHold,
    /// What it is charged.
    pub charged: Amount,
    /// Since when it is in doubt.
    pub at: Timestamp,
}

/// What a journal knows when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Every budget, parents before children.
    pub budgets: Vec<BudgetRow>,
    /// Holds of a previous life that have no end: to be charged in doubt before anything else.
    pub open: Vec<OpenHold>,
    /// Holds charged in doubt earlier.
    pub in_doubt: Vec<DoubtfulHold>,
    /// Whether the last writer closed the journal.
    pub clean: bool,
    /// Why the last writer stopped, if a storage error stopped it; the journal was verified since.
    pub stopped: Option<String>,
    /// The identity of this journal, made with the file.
    pub journal_id: String,
    /// How often it was opened for writing, this time included.
    pub epoch: u32,
    /// How many entries there are.
    pub entries: u64,
    /// The hash of the last one.
    pub head: Hash,
}

/// Reads all of it.
pub(crate) fn recover(connection: &Connection) -> Result<Recovered, Error> {
    let (journal_id, epoch, ended): (String, u32, String) =
        connection.query_row("SELECT id, epoch, ended FROM journal", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let (entries, head) = last_entry(connection, &journal_id)?;
    let (open, in_doubt) = holds(connection)?;
    let budgets = budgets(connection)?;
    check_held(&budgets, &open)?;
    Ok(Recovered {
        budgets,
        open,
        in_doubt,
        clean: ended == "closed",
        stopped: None,
        journal_id,
        epoch: epoch + 1,
        entries,
        head,
    })
}

/// Reads every budget, parents before children.
pub(crate) fn budgets(connection: &Connection) -> Result<Vec<BudgetRow>, Error> {
    let mut statement = connection.prepare(
        "SELECT id, parent, name, terms, at_us,
                spent_tokens, spent_cost_nanousd, spent_time_us,
                held_tokens, held_cost_nanousd, held_time_us,
                overrun_tokens, overrun_cost_nanousd, overrun_time_us
         FROM budgets LEFT JOIN balances ON balances.budget = budgets.id ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(BudgetRow {
            id: BudgetId(row.get(0)?),
            parent: row.get::<_, Option<u32>>(1)?.map(BudgetId),
            name: row.get(2)?,
            terms: row.get(3)?,
            at: Timestamp(row.get(4)?),
            spent: row::amount(row, 5)?,
            held: row::amount(row, 8)?,
            overrun: row::amount(row, 11)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Reads the holds without an end: open, and in doubt.
pub(crate) fn holds(connection: &Connection) -> Result<(Vec<OpenHold>, Vec<DoubtfulHold>), Error> {
    let mut statement = connection.prepare(
        "SELECT id, budget, at_us, tokens, cost_nanousd, time_us, call, doubted_at_us,
                charged_tokens, charged_cost_nanousd, charged_time_us
         FROM holds ORDER BY at_us, id",
    )?;
    let (mut open, mut in_doubt) = (Vec::new(), Vec::new());
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let label = row
            .get_ref(6)?
            .as_str()
            .map_err(|error| row::malformed(6, error.to_string()))?;
        let hold = OpenHold {
            id: row::hold_id(row, 0)?,
            budget: BudgetId(row.get(1)?),
            amount: row::amount(row, 3)?,
            call: decode_label(label).map_err(|problem| row::malformed(6, problem))?,
            at: Timestamp(row.get(2)?),
        };
        match row.get::<_, Option<i64>>(7)? {
            None => open.push(hold),
            Some(at) => in_doubt.push(DoubtfulHold {
                hold,
                charged: row::amount(row, 8)?,
                at: Timestamp(at),
            }),
        }
    }
    Ok((open, in_doubt))
}

fn last_entry(connection: &Connection, journal_id: &str) -> Result<(u64, Hash), Error> {
    let last = connection.query_row(
        "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1",
        [],
        |row| Ok((row::count(row, 0)?, Hash(row.get(1)?))),
    );
    match last {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok((0, Hash::genesis(journal_id))),
        other => Ok(other?),
    }
}

/// What budgets hold must be the sum of their open holds: the part of the fold that can be checked
/// at every start.
fn check_held(budgets: &[BudgetRow], open: &[OpenHold]) -> Result<(), Error> {
    let mut sums: HashMap<BudgetId, Amount> = HashMap::new();
    for hold in open {
        let sum = sums.entry(hold.budget).or_default();
        *sum = sum
            .checked_add(hold.amount)
            .map_err(|error| Error::Inconsistent(error.to_string()))?;
    }
    for budget in budgets {
        let sum = sums.remove(&budget.id).unwrap_or_default();
        if sum != budget.held {
            return Err(Error::Inconsistent(format!(
                "budget {} holds {:?}, its open holds are {sum:?}",
                budget.name, budget.held
            )));
        }
    }
    match sums.keys().next() {
        Some(stray) => Err(Error::Inconsistent(format!(
            "a hold of no budget {}",
            stray.0
        ))),
        None => Ok(()),
    }
}
