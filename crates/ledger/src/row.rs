//! From rows of the database to values, for recovery, readers and verification alike.

use fisc_core::{Amount, BudgetId, HoldId, Timestamp};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::chain::{Hash, Stored};
use crate::entry::{self, Entry, Kind};

/// The columns of an entry in the order in which [`read_stored`] expects them.
pub(crate) const ENTRY_COLUMNS: &str = "seq, at_us, kind, budget, hold, tokens, cost_nanousd, \
     time_us, overrun_tokens, overrun_cost_nanousd, overrun_time_us, body, hash";

/// An entry as stored, and the hash stored beside it.
pub(crate) struct Raw<'row> {
    pub(crate) stored: Stored<'row>,
    pub(crate) hash: Hash,
}

/// Reads the amount in three columns from `at` on.
pub(crate) fn amount(row: &Row<'_>, at: usize) -> rusqlite::Result<Amount> {
    Ok(Amount::from_raw([
        row.get(at)?,
        row.get(at + 1)?,
        row.get(at + 2)?,
    ]))
}

/// Reads a hold's id.
pub(crate) fn hold_id(row: &Row<'_>, at: usize) -> rusqlite::Result<HoldId> {
    Ok(HoldId(u128::from_be_bytes(row.get(at)?)))
}

/// Reads a count that is never negative.
pub(crate) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let units: i64 = row.get(at)?;
    u64::try_from(units).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, units))
}

/// Says that a column holds text that is not what it should be.
pub(crate) fn malformed(at: usize, problem: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, problem.into())
}

/// Reads a row of [`ENTRY_COLUMNS`] without interpreting it.
pub(crate) fn read_raw<'row>(row: &'row Row<'_>) -> rusqlite::Result<Raw<'row>> {
    let hold = match row.get_ref(4)? {
        ValueRef::Null => None,
        value => Some(value.as_blob()?),
    };
    let mut amounts = [[0; 3]; 2];
    for (index, units) in amounts.as_flattened_mut().iter_mut().enumerate() {
        *units = row.get(5 + index)?;
    }
    let stored = Stored {
        seq: count(row, 0)?,
        at_us: row.get(1)?,
        kind: text(row, 2)?,
        budget: row.get(3)?,
        hold,
        amounts,
        body: text(row, 11)?,
    };
    Ok(Raw {
        stored,
        hash: Hash(row.get(12)?),
    })
}

/// Interprets an entry, or says what is wrong with it.
pub(crate) fn interpret(stored: &Stored<'_>) -> Result<(BudgetId, Timestamp, Entry), String> {
    let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|error| error.to_string());
    let name = utf8(stored.kind)?;
    let kind = Kind::parse(name).ok_or_else(|| format!("unknown kind {name:?}"))?;
    let budget = u32::try_from(stored.budget).map_err(|_| "budget out of range")?;
    let hold = match stored.hold {
        None => None,
        Some(bytes) => {
            let bytes: [u8; 16] = bytes
                .try_into()
                .map_err(|_| "a hold id of the wrong length")?;
            Some(HoldId(u128::from_be_bytes(bytes)))
        }
    };
    let columns = entry::Columns {
        budget: BudgetId(budget),
        hold,
        amount: Amount::from_raw(stored.amounts[0]),
        overrun: Amount::from_raw(stored.amounts[1]),
    };
    let entry = entry::decode(kind, &columns, utf8(stored.body)?)?;
    Ok((columns.budget, Timestamp(stored.at_us), entry))
}

/// Selects all entries of hold `?1`: those that table `steps` knows, and those since.
pub(crate) fn history_sql() -> String {
    let columns = ENTRY_COLUMNS;
    format!(
        "SELECT {columns} FROM entries WHERE seq IN (SELECT seq FROM steps WHERE hold = ?1)
         UNION ALL
         SELECT {columns} FROM entries WHERE seq > (SELECT folded FROM journal) AND hold = ?1
         ORDER BY seq"
    )
}

fn text<'row>(row: &'row Row<'_>, at: usize) -> rusqlite::Result<&'row [u8]> {
    match row.get_ref(at)? {
        ValueRef::Text(bytes) => Ok(bytes),
        other => Err(malformed(
            at,
            format!("{} instead of text", other.data_type()),
        )),
    }
}
