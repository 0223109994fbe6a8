//! Gathering a report from a ledger.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fisc_core::{Amount, BudgetId, Resource, Timestamp, Tree};
use fisc_ledger::{DoubtfulHold, Filter, GroupBy, OpenHold, Reader, RollupRow, Totals};

use super::life::{Life, State};
use super::outlook::ForecastRow;
use super::rows::{level_of, show_hour};
use super::since::Since;
use super::{
    AmountRow, BudgetRow, LimitingRow, OverheadRow, Report, ResourceRow, UsageRow, UseRow, tags,
};
use crate::failure::Failure;

/// The keys under which a run keeps what it is in its ledger.
#[derive(Debug)]
pub struct Names;

/// What a report is to tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// How the run ended, where that is known before the ledger knows.
    pub ended: Option<&'a Ended>,
    /// From when on calls are told of.
    pub since: Option<Since>,
    /// Whether to tell them apart by tag, which reads every entry.
    pub tags: bool,
}

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
    /// Of which command what it teaches is known: its name, and that of its script.
    pub const COMMAND: &'static str = "command";
    /// The version of its price book.
    pub const PRICES: &'static str = "prices";
    /// When it ended, in microseconds since 1970.
    pub const ENDED: &'static str = "ended_us";
    /// The processor time that Fisc took itself, in microseconds.
    pub const CPU: &'static str = "cpu_us";
}

/// Reads a report.
pub fn gather(ledger: &Path, scope: &Scope<'_>) -> Result<Report, Failure> {
    let reader = Reader::open(ledger)?;
    let life = Life::of(ledger, &reader, scope.ended.map(|ended| ended.at))?;
    let snapshot = reader.snapshot()?;
    let tree = tree(&reader, life.at)?;
    let filter = Filter {
        hour_from: scope.since.map(|since| since.hour),
        ..Filter::default()
    };
    let (open, doubtful) = reader.holds()?;
    let source = Source {
        reader: &reader,
        tree: &tree,
        filter,
        open,
        doubtful,
    };
    let report = source.report(ledger, scope, &life)?;
    drop(snapshot);
    Ok(report)
}

/// Reads a number that a run keeps in its ledger.
pub(super) fn number(reader: &Reader, key: &str) -> Result<Option<i64>, Failure> {
    Ok(reader.meta(key)?.and_then(|text| text.parse().ok()))
}

/// Rebuilds the tree that a ledger describes, with the holds that are open in it, as it stood or
/// stands at a time.
pub(crate) fn tree(reader: &Reader, at: Timestamp) -> Result<Tree, Failure> {
    let tree = fisc::read_tree(&reader.budgets()?, &reader.holds()?.0, at);
    tree.map_err(|error| Failure::internal(format!("the ledger's budgets: {error}")))
}

struct Source<'a> {
    reader: &'a Reader,
    tree: &'a Tree,
    filter: Filter,
    open: Vec<OpenHold>,
    doubtful: Vec<DoubtfulHold>,
}

/// What tells refusals apart: agent, operation, model and hour, as far as asked for.
type RefusalKey = (
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

// === impl Source ===

impl Source<'_> {
    fn report(&self, ledger: &Path, scope: &Scope<'_>, life: &Life) -> Result<Report, Failure> {
        let Source { reader, .. } = self;
        let (outcome, exit_code, limiting) = match scope.ended {
            Some(ended) => ended.parts(),
            None => self.ending()?,
        };
        let elapsed = life.elapsed(reader)?;
        let total = self.uses(GroupBy::default())?.pop().unwrap_or_default();
        let (in_doubt, amount) = self.in_doubt(life);
        let agent = GroupBy {
            budget: true,
            ..GroupBy::default()
        };
        let operation = GroupBy {
            operation: true,
            ..agent
        };
        let model = GroupBy {
            provider: true,
            model: true,
            ..GroupBy::default()
        };
        let hour = GroupBy {
            hour: true,
            ..GroupBy::default()
        };
        Ok(Report {
            is_run: life.started.is_some(),
            runs: life.state == State::Runs,
            run: reader
                .meta(Names::RUN)?
                .unwrap_or_else(|| ledger.display().to_string()),
            outcome,
            exit_code,
            limiting,
            elapsed_ms: elapsed.map(|(time, _)| time.0 / 1000),
            elapsed_from: elapsed.map(|(_, from)| from.name()),
            since: scope.since.map(|since| show_hour(since.hour)),
            budgets: self.budgets(life.at),
            agents: self.uses(agent)?,
            operations: self.uses(operation)?,
            models: self.uses(model)?,
            hours: self.uses(hour)?,
            tags: scope
                .tags
                .then(|| tags::gather(reader, scope.since))
                .transpose()?,
            no_metered_call: self.no_metered_call()?,
            refused: total.refused.unwrap_or(0),
            estimated: total.estimated,
            in_doubt,
            in_doubt_amount: AmountRow::from(amount),
            forecast: match life.state {
                State::Runs => Some(ForecastRow::read(reader, self.tree, life.at)?),
                State::Ended | State::Left => None,
            },
            overhead: self.overhead()?,
            counting: reader
                .meta(fisc::COUNTING_KEY)?
                .unwrap_or_else(|| "fresh".to_owned()),
            prices: reader.meta(Names::PRICES)?,
        })
    }

    fn ending(&self) -> Result<Ending, Failure> {
        let code = number(self.reader, Names::EXIT_CODE)?;
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

    /// Counts the holds whose end nobody knows, and sums up what they are charged or hold.
    fn in_doubt(&self, life: &Life) -> (u64, Amount) {
        // What a dead process left open is in doubt, whether or not somebody booked that.
        let left: &[OpenHold] = match life.state {
            State::Left => &self.open,
            State::Runs | State::Ended => &[],
        };
        let held = left.iter().map(|hold| hold.amount);
        let charged = self.doubtful.iter().map(|doubt| doubt.charged);
        let all: Vec<Amount> = held.chain(charged).collect();
        let sum = all
            .iter()
            .copied()
            .fold(Amount::ZERO, Amount::saturating_add);
        (all.len() as u64, sum)
    }

    /// Says whether the whole ledger knows of no call: none ended, is open or was refused.
    fn no_metered_call(&self) -> Result<bool, Failure> {
        let ended = self.all(GroupBy::default())?;
        let refused = self.reader.refusals(&Filter::default())?;
        let attempts = |row: &RollupRow| row.totals.attempts + row.totals.voided;
        let known = ended.iter().map(attempts).sum::<u64>() + self.open.len() as u64;
        Ok(known == 0 && refused.is_empty())
    }

    fn overhead(&self) -> Result<Option<OverheadRow>, Failure> {
        let Some(cpu_us) = number(self.reader, Names::CPU)? else {
            return Ok(None);
        };
        let all = self.all(GroupBy::default())?;
        let calls_us = all.iter().map(|row| row.totals.duration.0).sum();
        Ok(Some(OverheadRow { cpu_us, calls_us }))
    }

    /// Returns sums over all hours, whatever the report is about.
    fn all(&self, by: GroupBy) -> Result<Vec<RollupRow>, Failure> {
        Ok(self.reader.rollups(&Filter::default(), by)?)
    }

    fn uses(&self, by: GroupBy) -> Result<Vec<UseRow>, Failure> {
        let rows = self.reader.rollups(&self.filter, by)?;
        let mut uses: Vec<UseRow> = rows.iter().map(|row| self.row(row)).collect();
        for (key, refused) in self.refusals(by)? {
            let (agent, operation, model, hour) = key;
            let mut same = uses.iter_mut().filter(|row| {
                row.agent == agent
                    && row.operation == operation
                    && row.model == model
                    && row.hour == hour
            });
            // Of a refused call only the model is known: where two providers sold it, the
            // refusals are a row of their own.
            if let (Some(row), None) = (same.next(), same.next()) {
                row.refused = Some(refused);
                continue;
            }
            uses.push(UseRow {
                agent,
                operation,
                model,
                hour,
                refused: Some(refused),
                ..UseRow::default().with_cost_shown()
            });
        }
        if by.hour {
            uses.sort_by(|one, other| one.hour.cmp(&other.hour));
        }
        Ok(uses)
    }

    fn refusals(&self, by: GroupBy) -> Result<BTreeMap<RefusalKey, u64>, Failure> {
        let mut sums = BTreeMap::new();
        for row in self.reader.refusals(&self.filter)? {
            let key = (
                by.budget.then(|| self.path(row.budget)),
                by.operation.then(|| row.operation.to_string()),
                by.model.then(|| row.model.to_string()),
                by.hour.then(|| show_hour(row.hour)),
            );
            *sums.entry(key).or_default() += row.refused;
        }
        Ok(sums)
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
        let text = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
        UseRow {
            agent: row.budget.map(|id| self.path(id)),
            operation: text(&row.operation),
            provider: text(&row.provider),
            model: text(&row.model),
            hour: row.hour.map(show_hour),
            tag: None,
            calls,
            attempts,
            completed,
            refused: Some(0),
            estimated,
            tokens: amount.tokens().0,
            usage: UsageRow::from(&row.totals.usage),
            cost_nanousd: amount.cost().nanos(),
            cost_usd: String::new(),
            time_us: amount.time().0,
        }
        .with_cost_shown()
    }

    fn path(&self, id: BudgetId) -> String {
        self.tree.path(id)
    }
}
