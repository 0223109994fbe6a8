//! Gathering a report from a ledger.

use std::path::Path;

use fisc::clock::{Clock, SystemClock};
use fisc_core::{
    BudgetId, Level, Money, Resource, Restored, Thresholds, Timestamp, TokenClass, Tree, Usage,
};
use fisc_ledger::{Filter, GroupBy, Reader, RollupRow, Totals};

use super::{BudgetRow, LimitingRow, Report, ResourceRow, UsageRow, UseRow};
use crate::failure::Failure;

/// The keys under which a run keeps what it is in its ledger.
#[derive(Debug)]
pub struct Names;

/// How a run ended, for a report that is written before the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The outcome's name.
    pub outcome: String,
    /// The exit code.
    pub exit_code: u8,
    /// What stopped the last call that was refused for good.
    pub limiting: Option<LimitingRow>,
    /// When it ended.
    pub at: Timestamp,
}

/// The outcome, the exit code and what limited; nothing of a run that has not ended.
type Ending = (Option<String>, Option<u8>, Option<LimitingRow>);

// === impl Ended ===

impl Ended {
    fn parts(&self) -> Ending {
        let outcome = Some(self.outcome.clone());
        (outcome, Some(self.exit_code), self.limiting.clone())
    }
}

// === impl Names ===

impl Names {
    /// The run's id.
    pub const RUN: &'static str = "run";
    /// When it started, in microseconds since 1970.
    pub const STARTED: &'static str = "started_us";
    /// How it ended.
    pub const OUTCOME: &'static str = "outcome";
    /// Its exit code.
    pub const EXIT_CODE: &'static str = "exit_code";
    /// The budget that stopped it.
    pub const LIMITING_BUDGET: &'static str = "limiting_budget";
    /// The resource that stopped it.
    pub const LIMITING_RESOURCE: &'static str = "limiting_resource";
    /// The version of its price book.
    pub const PRICES: &'static str = "prices";
    /// When it ended, in microseconds since 1970.
    pub const ENDED: &'static str = "ended_us";
}

/// Reads a report. `ended` goes before what the ledger says of the run's end.
pub fn gather(ledger: &Path, ended: Option<&Ended>) -> Result<Report, Failure> {
    let reader = Reader::open(ledger)?;
    let snapshot = reader.snapshot()?;
    let (tree, at) = tree(&reader)?;
    let source = Source {
        reader: &reader,
        tree: &tree,
    };
    let started = source.number(Names::STARTED)?.map(Timestamp);
    let over = match ended {
        Some(ended) => Some(ended.at),
        None => source.number(Names::ENDED)?.map(Timestamp),
    };
    let (outcome, exit_code, limiting) = match ended {
        Some(ended) => ended.parts(),
        None => source.ending()?,
    };
    let total = source.uses(GroupBy::default())?.pop().unwrap_or_default();
    let (_, in_doubt) = reader.holds()?;
    let report = Report {
        is_run: started.is_some(),
        run: reader
            .meta(Names::RUN)?
            .unwrap_or_else(|| ledger.display().to_string()),
        outcome,
        exit_code,
        limiting,
        elapsed_ms: started
            .zip(over)
            .map(|(start, end)| end.since(start).0 / 1000),
        budgets: source.budgets(over.unwrap_or(at)),
        agents: source.uses(GroupBy {
            budget: true,
            ..GroupBy::default()
        })?,
        operations: source.uses(GroupBy {
            budget: true,
            operation: true,
            ..GroupBy::default()
        })?,
        models: source.uses(GroupBy {
            provider: true,
            model: true,
            ..GroupBy::default()
        })?,
        hours: source.uses(GroupBy {
            hour: true,
            ..GroupBy::default()
        })?,
        refused: reader
            .refusals(&Filter::default())?
            .iter()
            .map(|row| row.refused)
            .sum(),
        estimated: total.estimated,
        in_doubt: in_doubt.len() as u64,
        counting: reader
            .meta("token_counting")?
            .unwrap_or_else(|| "fresh".to_owned()),
        prices: reader.meta(Names::PRICES)?,
    };
    drop(snapshot);
    Ok(report)
}

/// Rebuilds the tree that a ledger describes, with the holds that are open in it, as it stood
/// when its run ended, or stands now; returns it with that time.
pub(crate) fn tree(reader: &Reader) -> Result<(Tree, Timestamp), Failure> {
    let mut tree = Tree::new(Thresholds::default());
    let broken = |why: String| Failure::internal(format!("the ledger's budgets: {why}"));
    for row in reader.budgets()? {
        let terms = fisc::read_terms(&row.terms).map_err(broken)?;
        let restored = Restored {
            id: row.id,
            parent: row.parent,
            name: &row.name,
            terms,
            allocated: row.at,
            own_spent: row.spent,
            overrun: row.overrun,
        };
        tree.restore(&restored)
            .map_err(|error| broken(error.to_string()))?;
    }
    for hold in reader.holds()?.0 {
        let restored = tree.restore_hold(hold.at, hold.id, hold.budget, hold.amount);
        restored.map_err(|error| broken(error.to_string()))?;
    }
    let ended = reader
        .meta(Names::ENDED)?
        .and_then(|text| text.parse().ok());
    let at = ended.map_or_else(|| SystemClock::default().now(), Timestamp);
    // Only levels are looked at; what changed them is of no interest here.
    tree.tick(at, &mut Vec::new());
    Ok((tree, at))
}

struct Source<'a> {
    reader: &'a Reader,
    tree: &'a Tree,
}

// === impl Source ===

impl Source<'_> {
    fn number(&self, key: &str) -> Result<Option<i64>, Failure> {
        Ok(self.reader.meta(key)?.and_then(|text| text.parse().ok()))
    }

    fn ending(&self) -> Result<Ending, Failure> {
        let code = self.number(Names::EXIT_CODE)?;
        let code = code.and_then(|code| u8::try_from(code).ok());
        Ok((self.reader.meta(Names::OUTCOME)?, code, self.limiting()?))
    }

    fn limiting(&self) -> Result<Option<LimitingRow>, Failure> {
        let budget = self.reader.meta(Names::LIMITING_BUDGET)?;
        let resource = self.reader.meta(Names::LIMITING_RESOURCE)?;
        Ok(budget
            .zip(resource)
            .map(|(budget, resource)| LimitingRow { budget, resource }))
    }

    fn budgets(&self, at: Timestamp) -> Vec<BudgetRow> {
        let rows = self.tree.budgets().map(|view| {
            let row = |resource: Resource| ResourceRow {
                limit: view.terms.limits.get(resource),
                spent: view.spent.get(resource),
                held: view.held.get(resource),
                level: view.levels[resource.index()].name(),
            };
            let time = view.terms.elapsed.map(|limit| {
                let spent = at.since(view.allocated).0;
                let level = level_of(spent, limit.0).name();
                ResourceRow {
                    limit: Some(limit.0),
                    spent,
                    held: 0,
                    level,
                }
            });
            BudgetRow {
                path: self.tree.path(view.id),
                tokens: row(Resource::Tokens),
                cost: row(Resource::Cost),
                active_time: row(Resource::Time),
                time,
                level: self.tree.binding_level(view.id).0.name(),
            }
        });
        rows.collect()
    }

    fn uses(&self, by: GroupBy) -> Result<Vec<UseRow>, Failure> {
        let rows = self.reader.rollups(&Filter::default(), by)?;
        let mut uses: Vec<UseRow> = rows.iter().map(|row| self.row(row)).collect();
        if by.hour || by.provider {
            return Ok(uses);
        }
        for refusal in self.reader.refusals(&Filter::default())? {
            let agent = by.budget.then(|| self.path(refusal.budget));
            let operation = by.operation.then(|| refusal.operation.to_string());
            let same = |row: &&mut UseRow| row.agent == agent && row.operation == operation;
            if let Some(row) = uses.iter_mut().find(same) {
                row.refused += refusal.refused;
                continue;
            }
            uses.push(UseRow {
                agent,
                operation,
                refused: refusal.refused,
                cost_usd: Money::ZERO.to_decimal(),
                ..UseRow::default()
            });
        }
        Ok(uses)
    }

    fn row(&self, row: &RollupRow) -> UseRow {
        let Totals {
            calls,
            attempts,
            completed,
            estimated,
            amount,
            ..
        } = row.totals;
        let text = |name: &Option<std::sync::Arc<str>>| name.as_deref().map(str::to_owned);
        UseRow {
            agent: row.budget.map(|id| self.path(id)),
            operation: text(&row.operation),
            provider: text(&row.provider),
            model: text(&row.model),
            hour: row.hour.map(show_hour),
            calls,
            attempts,
            completed,
            refused: 0,
            estimated,
            tokens: amount.tokens().0,
            usage: UsageRow::from(&row.totals.usage),
            cost_nanousd: amount.cost().nanos(),
            cost_usd: amount.cost().to_decimal(),
            time_us: amount.time().0,
        }
    }

    fn path(&self, id: BudgetId) -> String {
        self.tree.path(id)
    }
}

// === impl UsageRow ===

impl From<&Usage> for UsageRow {
    fn from(usage: &Usage) -> UsageRow {
        UsageRow {
            input: usage.get(TokenClass::UncachedInput),
            cache_read: usage.get(TokenClass::CacheRead),
            cache_write_5m: usage.get(TokenClass::CacheWrite5m),
            cache_write_1h: usage.get(TokenClass::CacheWrite1h),
            audio_input: usage.get(TokenClass::AudioInput),
            image_input: usage.get(TokenClass::ImageInput),
            output: usage.get(TokenClass::Output),
            audio_output: usage.get(TokenClass::AudioOutput),
            image_output: usage.get(TokenClass::ImageOutput),
            reasoning: usage.reasoning,
            searches: usage.units.searches,
        }
    }
}

fn level_of(spent: i64, limit: i64) -> Level {
    let mut level = Level::Green;
    while let Some(next) = Thresholds::default().step(level, spent, limit) {
        level = next;
    }
    level
}

fn show_hour(hours: i64) -> String {
    match jiff::Timestamp::from_second(hours.saturating_mul(3600)) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:00Z").to_string(),
        Err(_) => hours.to_string(),
    }
}
