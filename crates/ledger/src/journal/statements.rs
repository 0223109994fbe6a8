//! The writer's SQL, prepared once, and what each statement does.

use fisc_core::{BudgetId, HoldId, Timestamp};
use rusqlite::{Connection, Params, Statement, params};

use super::queue::{Note, RefusalKey};
use crate::books::{Balance, HeldCall, Past, RollupKey};
use crate::chain::{Hash, Stored};
use crate::counters::{COLUMNS, Counters};
use crate::entry::{Entry, encode_label};
use crate::reader::EventRow;
use crate::row;

/// Every statement that the writer runs while it writes batches.
pub(super) struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    insert_entry: Statement<'c>,
    insert_budget: Statement<'c>,
    change_terms: Statement<'c>,
    put_balance: Statement<'c>,
    put_hold: Statement<'c>,
    delete_hold: Statement<'c>,
    add_rollup: Statement<'c>,
    add_refusal: Statement<'c>,
    put_meta: Statement<'c>,
    put_note: Statement<'c>,
    delete_note: Statement<'c>,
    put_event: Statement<'c>,
    put_step: Statement<'c>,
    put_folded: Statement<'c>,
    pub(super) past: Past<'c>,
    scratch: Vec<u8>,
}

// === impl Statements ===

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        let sql = |text: &str| connection.prepare(text);
        Ok(Statements {
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            insert_entry: sql(&format!(
                "INSERT INTO entries ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
                 ?12, ?13)",
                row::ENTRY_COLUMNS
            ))?,
            insert_budget: sql(
                "INSERT INTO budgets (id, parent, name, terms, at_us) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            change_terms: sql("UPDATE budgets SET terms = ?2 WHERE id = ?1")?,
            put_balance: sql(
                "INSERT OR REPLACE INTO balances VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            put_hold: sql("INSERT OR REPLACE INTO holds
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?,
            delete_hold: sql("DELETE FROM holds WHERE id = ?1")?,
            add_rollup: sql(&add_rollup_sql())?,
            add_refusal: sql("INSERT INTO refusals VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET refused = refused + excluded.refused")?,
            put_meta: sql("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?,
            put_note: sql("INSERT INTO notes (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value")?,
            delete_note: sql("DELETE FROM notes WHERE key = ?1")?,
            put_event: sql("INSERT OR IGNORE INTO events VALUES (?1, ?2, ?3, ?4, ?5)")?,
            put_step: sql("INSERT INTO steps VALUES (?1, ?2, ?3)")?,
            put_folded: sql("UPDATE journal SET folded = ?1")?,
            past: Past::prepare(connection)?,
            scratch: Vec::new(),
        })
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        run(&mut self.begin, [])
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        run(&mut self.commit, [])
    }

    /// Inserts an entry as stored, with its hash.
    pub(super) fn insert_entry(&mut self, entry: &Stored<'_>, hash: Hash) -> rusqlite::Result<()> {
        let [amount, overrun] = entry.amounts;
        let seq = number(entry.seq);
        let text = |bytes| std::str::from_utf8(bytes).expect("kinds and JSON are UTF-8");
        let (kind, body) = (text(entry.kind), text(entry.body));
        let (at_us, budget, hold) = (entry.at_us, entry.budget, entry.hold);
        run(
            &mut self.insert_entry,
            params![
                seq,
                at_us,
                kind,
                budget,
                hold,
                amount[0],
                amount[1],
                amount[2],
                overrun[0],
                overrun[1],
                overrun[2],
                body,
                hash.0.as_slice()
            ],
        )
    }

    /// Writes what an entry changes in the table of budgets.
    pub(super) fn change_budget(&mut self, at: Timestamp, entry: &Entry) -> rusqlite::Result<()> {
        match entry {
            Entry::Allocate {
                budget,
                parent,
                name,
                terms,
            } => run(
                &mut self.insert_budget,
                params![budget.0, parent.map(|id| id.0), name, terms, at.0],
            ),
            Entry::Terms { budget, terms } => run(&mut self.change_terms, params![budget.0, terms]),
            _ => Ok(()),
        }
    }

    pub(super) fn put_balance(
        &mut self,
        budget: BudgetId,
        balance: &Balance,
    ) -> rusqlite::Result<()> {
        let statement = &mut self.put_balance;
        statement.raw_bind_parameter(1, budget.0)?;
        let amounts = [
            balance.spent.raw(),
            balance.held.raw(),
            balance.overrun.raw(),
        ];
        for (index, units) in amounts.as_flattened().iter().enumerate() {
            statement.raw_bind_parameter(2 + index, units)?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    /// Writes a hold that has no end yet.
    pub(super) fn put_hold(&mut self, id: HoldId, held: &HeldCall) -> rusqlite::Result<()> {
        let amount = held.amount.raw();
        let charged = held.doubt.map(|doubt| doubt.charged.raw());
        let charged = charged.map_or([None; 3], |raw| raw.map(Some));
        let doubted_at = held.doubt.map(|doubt| doubt.at.0);
        self.scratch.clear();
        encode_label(&held.call, &mut self.scratch);
        let call = std::str::from_utf8(&self.scratch).expect("JSON is UTF-8");
        let (id, budget, at) = (id.0.to_be_bytes(), held.budget.0, held.at.0);
        run(
            &mut self.put_hold,
            params![
                id.as_slice(),
                budget,
                at,
                amount[0],
                amount[1],
                amount[2],
                call,
                doubted_at,
                charged[0],
                charged[1],
                charged[2]
            ],
        )
    }

    /// Deletes a hold that has ended, if it ever was written.
    pub(super) fn delete_hold(&mut self, id: HoldId) -> rusqlite::Result<()> {
        run(&mut self.delete_hold, [id.0.to_be_bytes().as_slice()])
    }

    pub(super) fn add_rollup(
        &mut self,
        key: &RollupKey,
        Counters(figures): &Counters,
    ) -> rusqlite::Result<()> {
        let statement = &mut self.add_rollup;
        statement.raw_bind_parameter(1, key.budget.0)?;
        statement.raw_bind_parameter(2, &*key.operation)?;
        statement.raw_bind_parameter(3, &*key.model)?;
        statement.raw_bind_parameter(4, &*key.provider)?;
        statement.raw_bind_parameter(5, key.hour)?;
        for (index, figure) in figures.iter().enumerate() {
            statement.raw_bind_parameter(6 + index, figure)?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    pub(super) fn add_refusal(&mut self, key: &RefusalKey, count: u64) -> rusqlite::Result<()> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        run(
            &mut self.add_refusal,
            params![
                key.budget.0,
                key.operation,
                key.model,
                key.reason,
                key.hour,
                count
            ],
        )
    }

    pub(super) fn put_meta(&mut self, key: &str, value: &str) -> rusqlite::Result<()> {
        run(&mut self.put_meta, [key, value])
    }

    /// Keeps what is noted, and forgets what is taken back.
    pub(super) fn put_notes(&mut self, notes: &[Note]) -> rusqlite::Result<()> {
        for Note { key, value } in notes {
            match value {
                Some(value) => run(&mut self.put_note, [key, value])?,
                None => run(&mut self.delete_note, [key])?,
            }
        }
        Ok(())
    }

    /// Writes an event, unless it was written before.
    pub(super) fn put_event(&mut self, event: &EventRow) -> rusqlite::Result<()> {
        let EventRow {
            at,
            number: own,
            budget,
            kind,
            detail,
        } = event;
        run(
            &mut self.put_event,
            params![at.0, number(*own), budget.0, kind, detail],
        )
    }

    /// Writes where an entry of a hold is.
    pub(super) fn put_step(&mut self, id: HoldId, step: u64, seq: u64) -> rusqlite::Result<()> {
        let (step, seq) = (number(step), number(seq));
        let id = id.0.to_be_bytes();
        run(&mut self.put_step, params![id.as_slice(), step, seq])
    }

    /// Says that the tables are the fold of the entries up to this one.
    pub(super) fn put_folded(&mut self, seq: u64) -> rusqlite::Result<()> {
        run(&mut self.put_folded, [number(seq)])
    }
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).expect("no disk holds 2^63 entries")
}

/// Executes a statement that returns no rows.
fn run(statement: &mut Statement<'_>, parameters: impl Params) -> rusqlite::Result<()> {
    statement.execute(parameters).map(|_| ())
}

fn add_rollup_sql() -> String {
    let places: Vec<_> = (1..=5 + COLUMNS.len())
        .map(|place| format!("?{place}"))
        .collect();
    let sums = COLUMNS.map(|column| format!("{column} = {column} + excluded.{column}"));
    format!(
        "INSERT INTO rollups (budget, operation, model, provider, hour, {}) VALUES ({})
         ON CONFLICT DO UPDATE SET {}",
        COLUMNS.join(", "),
        places.join(", "),
        sums.join(", ")
    )
}
