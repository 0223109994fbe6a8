//! What a journal knows when it is opened: budgets with their balances, and the holds that have
//! no end yet. Read from the tables and the few entries since those were written, whatever the
//! number of entries before.

use std::collections::HashMap;

use fisc_core::{Amount, BudgetId, HoldId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::books::{Balance, Books, DoubtCharge, HeldCall, Past};
use crate::chain::Hash;
use crate::entry::{CallLabel, Entry, decode_label};
use crate::error::{Error, VerifyError};
use crate::row::{self, Raw};

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

/// The fold of all entries.
pub(crate) struct Folded {
    pub(crate) books: Books,
    /// How many entries there are.
    pub(crate) entries: u64,
    /// The hash of the last one.
    pub(crate) head: Hash,
}

/// Reads all of it. The connection must be in a transaction, or the only one that writes.
pub(crate) fn recover(connection: &Connection) -> Result<(Recovered, Books), Error> {
    let (journal_id, epoch, ended): (String, u32, String) =
        connection.query_row("SELECT id, epoch, ended FROM journal", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let Folded {
        books,
        entries,
        head,
    } = fold(connection)?;
    let (open, in_doubt) = books.holds();
    let budgets = budgets(connection, &books)?;
    check_held(&budgets, &open)?;
    let recovered = Recovered {
        budgets,
        open,
        in_doubt,
        clean: ended == "closed",
        stopped: None,
        journal_id,
        epoch: epoch + 1,
        entries,
        head,
    };
    Ok((recovered, books))
}

/// Reads the tables and folds the entries since they were written onto them. The connection must
/// be in a transaction, or the only one that writes.
pub(crate) fn fold(connection: &Connection) -> Result<Folded, Error> {
    let (journal_id, entries): (String, u64) =
        connection.query_row("SELECT id, folded FROM journal", [], |row| {
            Ok((row.get(0)?, row::count(row, 1)?))
        })?;
    let mut folded = Folded {
        books: tables(connection)?,
        entries,
        head: hash_of(connection, entries, &journal_id)?,
    };
    let sql = format!(
        "SELECT {} FROM entries WHERE seq > (SELECT folded FROM journal) ORDER BY seq",
        row::ENTRY_COLUMNS
    );
    let mut past = Past::prepare(connection)?;
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut scratch = Vec::new();
    while let Some(row) = rows.next()? {
        folded.follow(&row::read_raw(row)?, &mut past, &mut scratch)?;
    }
    Ok(folded)
}

/// Reads every budget, parents before children, with its balance.
pub(crate) fn budgets(connection: &Connection, books: &Books) -> Result<Vec<BudgetRow>, Error> {
    let mut statement =
        connection.prepare("SELECT id, parent, name, terms, at_us FROM budgets ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        let id = BudgetId(row.get(0)?);
        // One without a balance is noticed below.
        let balance = books.balance(id).copied().unwrap_or_default();
        let row = BudgetRow {
            id,
            parent: row.get::<_, Option<u32>>(1)?.map(BudgetId),
            name: row.get(2)?,
            terms: row.get(3)?,
            at: Timestamp(row.get(4)?),
            spent: balance.spent,
            held: balance.held,
            overrun: balance.overrun,
        };
        Ok((row, books.balance(id).is_some()))
    })?;
    let rows: Vec<(BudgetRow, bool)> = rows.collect::<rusqlite::Result<_>>()?;
    if let Some((row, _)) = rows.iter().find(|(_, has_balance)| !has_balance) {
        return Err(Error::Inconsistent(format!(
            "budget {} has no balance",
            row.id.0
        )));
    }
    if rows.len() != books.budgets() {
        return Err(Error::Inconsistent("a balance of no budget".to_owned()));
    }
    Ok(rows.into_iter().map(|(row, _)| row).collect())
}

/// Reads balances and holds as they were last written.
fn tables(connection: &Connection) -> Result<Books, Error> {
    let mut statement = connection.prepare("SELECT * FROM balances")?;
    let balances = statement.query_map([], |row| {
        let balance = Balance {
            spent: row::amount(row, 1)?,
            held: row::amount(row, 4)?,
            overrun: row::amount(row, 7)?,
        };
        Ok((BudgetId(row.get(0)?), balance))
    })?;
    let balances = balances.collect::<rusqlite::Result<_>>()?;
    let newest = connection
        .query_row(
            "SELECT hold FROM steps ORDER BY hold DESC LIMIT 1",
            [],
            |row| row::hold_id(row, 0),
        )
        .optional()?;
    Ok(Books::new(balances, holds(connection)?, newest))
}

fn holds(connection: &Connection) -> Result<HashMap<HoldId, HeldCall>, Error> {
    let mut statement = connection.prepare(
        "SELECT id, budget, at_us, tokens, cost_nanousd, time_us, call, doubted_at_us,
                charged_tokens, charged_cost_nanousd, charged_time_us
         FROM holds",
    )?;
    let rows = statement.query_map([], |row| {
        let label = row
            .get_ref(6)?
            .as_str()
            .map_err(|error| row::malformed(6, error.to_string()))?;
        let doubt = match row.get::<_, Option<i64>>(7)? {
            None => None,
            Some(at) => Some(DoubtCharge {
                charged: row::amount(row, 8)?,
                at: Timestamp(at),
            }),
        };
        let held = HeldCall {
            budget: BudgetId(row.get(1)?),
            amount: row::amount(row, 3)?,
            call: decode_label(label).map_err(|problem| row::malformed(6, problem))?,
            at: Timestamp(row.get(2)?),
            doubt,
        };
        Ok((row::hold_id(row, 0)?, held))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn hash_of(connection: &Connection, seq: u64, journal_id: &str) -> Result<Hash, Error> {
    if seq == 0 {
        return Ok(Hash::genesis(journal_id));
    }
    let sql = "SELECT hash FROM entries WHERE seq = (SELECT folded FROM journal)";
    let hash = connection.query_row(sql, [], |row| Ok(Hash(row.get(0)?)));
    hash.optional()?
        .ok_or_else(|| Error::Inconsistent(format!("entry {seq} is missing")))
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

// === impl Folded ===

impl Folded {
    /// Folds the next entry, if it is that.
    fn follow(
        &mut self,
        raw: &Raw<'_>,
        past: &mut Past<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let seq = self.entries + 1;
        let hash = self.head.next(&raw.stored, scratch);
        if raw.stored.seq != seq || raw.hash != hash {
            return Err(VerifyError::Chain { seq }.into());
        }
        let malformed = |problem| VerifyError::Malformed { seq, problem };
        let impossible = |problem| VerifyError::Impossible { seq, problem };
        let (_, at, entry) = row::interpret(&raw.stored).map_err(malformed)?;
        let ended = match &entry {
            Entry::Correct { id, .. } if self.books.hold(*id).is_none() => past.ended(*id, seq)?,
            _ => None,
        };
        let plan = self.books.plan(&entry, ended.as_ref());
        let plan = plan.map_err(impossible)?;
        self.books.book((seq, at), &entry, &plan, ended);
        (self.entries, self.head) = (seq, hash);
        Ok(())
    }
}
