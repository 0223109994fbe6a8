//! Reading a journal beside its writer: balances, roll-ups, holds and entries for reports.
//!
//! A reader has a read-only connection of its own and sees what is committed; it never waits for
//! the writer, nor the writer for it. What the writer has not written to the tables yet, it folds
//! of the entries itself. Rows are typed; no SQL enters or leaves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use fisc_core::{BudgetId, HoldId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::books::{Books, RollupKey};
use crate::chain::Hash;
use crate::counters::{COLUMNS, Counters, Totals, WIDTH};
use crate::entry::Entry;
use crate::error::Error;
use crate::lock;
use crate::recovery::{self, BudgetRow, DoubtfulHold, OpenHold};
use crate::row;
use crate::schema::{self, Access};

/// Every figure of a roll-up, summed.
static ROLLUP_SUMS: LazyLock<String> =
    LazyLock::new(|| COLUMNS.map(|column| format!("sum({column})")).join(", "));

/// Which rows of `rollups` and `refusals` are meant: parameters 1 to 3, see [`Filter`].
const WHERE: &str = "WHERE (?1 IS NULL OR hour >= ?1) AND (?2 IS NULL OR hour < ?2)
     AND (?3 IS NULL OR budget IN (SELECT value FROM json_each(?3)))";

/// A read-only view of a journal.
pub struct Reader {
    connection: Connection,
}

/// While it lives, everything its reader reads is of one moment. Keep it short: the log cannot
/// be emptied meanwhile.
pub struct Snapshot<'reader> {
    _transaction: Transaction<'reader>,
}

/// Which roll-ups a report is about; the default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only these budgets; `None` for all.
    pub budgets: Option<Vec<BudgetId>>,
    /// From this hour on, in hours since 1970.
    pub hour_from: Option<i64>,
    /// Before this hour.
    pub hour_before: Option<i64>,
}

/// What roll-ups are told apart by; what is not chosen is summed over. The default is one total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of independent choices"
)]
pub struct GroupBy {
    /// By budget, which is by agent.
    pub budget: bool,
    /// By operation name.
    pub operation: bool,
    /// By model.
    pub model: bool,
    /// By provider.
    pub provider: bool,
    /// By hour.
    pub hour: bool,
}

/// Sums over calls; what they were not told apart by is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupRow {
    /// The budget.
    pub budget: Option<BudgetId>,
    /// The operation's name.
    pub operation: Option<Arc<str>>,
    /// The model.
    pub model: Option<Arc<str>>,
    /// The provider.
    pub provider: Option<Arc<str>>,
    /// The hour in which the calls ended, in hours since 1970.
    pub hour: Option<i64>,
    /// The sums.
    pub totals: Totals,
}

/// How often calls were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalRow {
    /// The budget that the call was of.
    pub budget: BudgetId,
    /// The operation's name.
    pub operation: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// Why, as [`Journal::refuse`](crate::Journal::refuse) was told.
    pub reason: Arc<str>,
    /// The hour, in hours since 1970.
    pub hour: i64,
    /// How often.
    pub refused: u64,
}

/// What a sum is told apart by, in the order of reports: hour, budget, operation, model, provider.
type Group = (
    Option<i64>,
    Option<u32>,
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<Arc<str>>,
);

/// An entry with its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The budget it is about.
    pub budget: BudgetId,
    /// The entry.
    pub entry: Entry,
    /// The state of the journal after it.
    pub hash: Hash,
}

/// Something that a change caused, as the program above noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// When it happened.
    pub at: Timestamp,
    /// Its number in the process that noted it.
    pub number: u64,
    /// The budget it is about.
    pub budget: BudgetId,
    /// What happened, in one word.
    pub kind: Arc<str>,
    /// The rest, as text this crate does not read.
    pub detail: Arc<str>,
}

// === impl Reader ===

impl Reader {
    /// Opens a journal for reading; a writer may stand beside it, in any process.
    pub fn open(path: &Path) -> Result<Reader, Error> {
        Ok(Reader {
            connection: schema::connect(path, None, Access::Read)?,
        })
    }

    /// Says whether a process has the journal at `path` open for writing: holds that are open in
    /// one that nobody writes are of calls whose end nobody will tell.
    pub fn has_writer(path: &Path) -> Result<bool, Error> {
        lock::is_held(path)
    }

    /// Freezes what this reader sees until the snapshot is dropped.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        let transaction = self.connection.unchecked_transaction()?;
        // A transaction begins to see at its first read.
        transaction.query_row("SELECT id FROM journal", [], |_| Ok(()))?;
        Ok(Snapshot {
            _transaction: transaction,
        })
    }

    /// Returns the journal's identity.
    pub fn journal_id(&self) -> Result<String, Error> {
        Ok(self
            .connection
            .query_row("SELECT id FROM journal", [], |row| row.get(0))?)
    }

    /// Returns a value that the program above keeps.
    pub fn meta(&self, key: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        Ok(self
            .connection
            .query_row(sql, [key], |row| row.get(0))
            .optional()?)
    }

    /// Returns the notes whose keys begin with `prefix`, without it, oldest first.
    pub fn notes(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT substr(key, length(?1) + 1), value FROM notes
             WHERE substr(key, 1, length(?1)) = ?1 ORDER BY age";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns when the first entry was made and when the last one was that tells of a call or a
    /// budget as it happened; doubts and corrections are booked when somebody looks. `None` while
    /// there is none.
    pub fn span(&self) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        let at = |sql: &str| -> Result<Option<i64>, Error> {
            let found = self.connection.query_row(sql, [], |row| row.get(0));
            Ok(found.optional()?)
        };
        let first = at("SELECT at_us FROM entries ORDER BY seq LIMIT 1")?;
        let last = at("SELECT at_us FROM entries
             WHERE kind <> 'doubt' AND kind <> 'correct' ORDER BY seq DESC LIMIT 1")?;
        let span = first.zip(last);
        Ok(span.map(|(first, last)| (Timestamp(first), Timestamp(last))))
    }

    /// Returns every budget with its own balances, parents before children.
    pub fn budgets(&self) -> Result<Vec<BudgetRow>, Error> {
        let _moment = self.moment()?;
        let folded = recovery::fold(&self.connection)?;
        recovery::budgets(&self.connection, &folded.books)
    }

    /// Returns the holds that are open, and those in doubt, oldest first.
    pub fn holds(&self) -> Result<(Vec<OpenHold>, Vec<DoubtfulHold>), Error> {
        let _moment = self.moment()?;
        Ok(recovery::fold(&self.connection)?.books.holds())
    }

    /// Returns sums over calls, in the order of what they are told apart by.
    pub fn rollups(&self, filter: &Filter, by: GroupBy) -> Result<Vec<RollupRow>, Error> {
        let _moment = self.moment()?;
        let books = recovery::fold(&self.connection)?.books;
        rollups(&self.connection, &books, filter, by)
    }

    /// Returns how often calls were refused, in each of the hours that the filter names.
    pub fn refusals(&self, filter: &Filter) -> Result<Vec<RefusalRow>, Error> {
        let sql = format!(
            "SELECT budget, operation, model, reason, hour, refused FROM refusals {WHERE}
             ORDER BY 1, 2, 3, 4, 5"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let parameters = params![filter.hour_from, filter.hour_before, filter.budgets_json()];
        let rows = statement.query_map(parameters, |row| {
            Ok(RefusalRow {
                budget: BudgetId(row.get(0)?),
                operation: row.get(1)?,
                model: row.get(2)?,
                reason: row.get(3)?,
                hour: row.get(4)?,
                refused: row::count(row, 5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns at most `limit` entries after number `seq`, in order.
    pub fn entries(&self, seq: u64, limit: usize) -> Result<Vec<EntryRow>, Error> {
        let sql = format!(
            "SELECT {} FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            row::ENTRY_COLUMNS
        );
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([seq, limit], entry)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns the last `limit` entries, in order.
    pub fn latest(&self, limit: usize) -> Result<Vec<EntryRow>, Error> {
        let sql = format!(
            "SELECT {} FROM entries ORDER BY seq DESC LIMIT ?1",
            row::ENTRY_COLUMNS
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([limit], entry)?;
        let mut rows: Vec<EntryRow> = rows.collect::<rusqlite::Result<_>>()?;
        rows.reverse();
        Ok(rows)
    }

    /// Returns at most `limit` of the events from some time on, oldest first; none of a ledger
    /// that was last written before there were any.
    pub fn events(&self, since: Timestamp, limit: usize) -> Result<Vec<EventRow>, Error> {
        if schema::user_version(&self.connection)? < schema::EVENTS_STEP {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(
            "SELECT at_us, number, budget, kind, detail FROM events WHERE at_us >= ?1
             ORDER BY at_us, number LIMIT ?2",
        )?;
        let rows = statement.query_map([since.0, limit], |row| {
            Ok(EventRow {
                at: Timestamp(row.get(0)?),
                number: row::count(row, 1)?,
                budget: BudgetId(row.get(2)?),
                kind: row.get(3)?,
                detail: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Returns all that the journal says about one hold, in order; nothing for an unknown one.
    pub fn history(&self, id: HoldId) -> Result<Vec<EntryRow>, Error> {
        let mut statement = self.connection.prepare_cached(&row::history_sql())?;
        let rows = statement.query_map([id.0.to_be_bytes().as_slice()], entry)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Freezes what is seen until it is dropped, unless a snapshot does so already.
    fn moment(&self) -> Result<Option<Transaction<'_>>, Error> {
        if self.connection.is_autocommit() {
            Ok(Some(self.connection.unchecked_transaction()?))
        } else {
            Ok(None)
        }
    }
}

// === impl Filter ===

impl Filter {
    fn takes(&self, key: &RollupKey) -> bool {
        let budgets = self.budgets.as_ref();
        self.hour_from.is_none_or(|hour| key.hour >= hour)
            && self.hour_before.is_none_or(|hour| key.hour < hour)
            && budgets.is_none_or(|budgets| budgets.contains(&key.budget))
    }

    /// The ids as a JSON array, which is one bound parameter however many there are.
    fn budgets_json(&self) -> Option<String> {
        let ids = self.budgets.as_ref()?;
        let ids: Vec<u32> = ids.iter().map(|id| id.0).collect();
        Some(serde_json::to_string(&ids).expect("integers always serialize"))
    }
}

/// Adds up roll-ups as asked: those in the table, and those of the entries since.
pub(crate) fn rollups(
    connection: &Connection,
    books: &Books,
    filter: &Filter,
    by: GroupBy,
) -> Result<Vec<RollupRow>, Error> {
    let sql = format!(
        "SELECT CASE WHEN ?8 THEN hour END, CASE WHEN ?4 THEN budget END,
                CASE WHEN ?5 THEN operation END, CASE WHEN ?6 THEN model END,
                CASE WHEN ?7 THEN provider END, {}
         FROM rollups {WHERE} GROUP BY 1, 2, 3, 4, 5",
        &*ROLLUP_SUMS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![
            filter.hour_from,
            filter.hour_before,
            filter.budgets_json(),
            by.budget,
            by.operation,
            by.model,
            by.provider,
            by.hour
        ],
        rollup,
    )?;
    let mut sums: BTreeMap<Group, Counters> = rows.collect::<rusqlite::Result<_>>()?;
    for (key, counters) in &books.dirty().rollups {
        if filter.takes(key) {
            let sum = sums.entry(group(key, by)).or_insert(Counters::ZERO);
            sum.add(counters);
        }
    }
    let row = |((hour, budget, operation, model, provider), counters): (Group, _)| RollupRow {
        budget: budget.map(BudgetId),
        operation,
        model,
        provider,
        hour,
        totals: Totals::from(counters),
    };
    Ok(sums.into_iter().map(row).collect())
}

fn rollup(row: &Row<'_>) -> rusqlite::Result<(Group, Counters)> {
    let mut figures = [0; WIDTH];
    for (index, figure) in figures.iter_mut().enumerate() {
        *figure = row.get(5 + index)?;
    }
    let (hour, budget) = (row.get(0)?, row.get(1)?);
    let group = (hour, budget, row.get(2)?, row.get(3)?, row.get(4)?);
    Ok((group, Counters(figures)))
}

fn group(key: &RollupKey, by: GroupBy) -> Group {
    (
        by.hour.then_some(key.hour),
        by.budget.then_some(key.budget.0),
        by.operation.then(|| key.operation.clone()),
        by.model.then(|| key.model.clone()),
        by.provider.then(|| key.provider.clone()),
    )
}

fn entry(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
    let raw = row::read_raw(row)?;
    let (budget, at, entry) =
        row::interpret(&raw.stored).map_err(|problem| row::malformed(11, problem))?;
    Ok(EntryRow {
        seq: raw.stored.seq,
        at,
        budget,
        entry,
        hash: raw.hash,
    })
}
