//! The report: who spent what, read from a ledger beside its writer.
//!
//! Gathered once, shown as text for people or as JSON for programs; both say the same.

mod gather;
mod life;
mod outlook;
mod rows;
mod since;
mod tags;
mod text;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use fisc::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::args::{LedgerArgs, ReportArgs, ReportBy};
use crate::failure::Failure;
use crate::home::Home;

pub(crate) use self::gather::tree;
pub use self::gather::{Ended, Names, Scope, gather};
pub(crate) use self::life::Life;
pub use self::outlook::{BudgetForecast, ForecastRow, ProfileRow, ResourceForecast};
pub(crate) use self::outlook::{foresight, goes_on};
pub use self::since::Since;
pub use self::text::write_text;
pub(crate) use self::text::{NO_METERED_CALL, describe_resources, symbol};

/// Everything that a report says. Amounts are integers; costs also as a decimal of dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it is about a run and not about a ledger that is served.
    #[serde(skip)]
    pub is_run: bool,
    /// Whether a process has the ledger open.
    #[serde(skip)]
    pub runs: bool,
    /// The run's id, or the ledger's file.
    pub run: String,
    /// How the run ended; `None` while it runs, or where there is no run.
    pub outcome: Option<String>,
    /// The exit code of the run.
    pub exit_code: Option<u8>,
    /// What stopped the last call that was refused for good.
    pub limiting: Option<LimitingRow>,
    /// How long the run took, or takes so far, in milliseconds.
    pub elapsed_ms: Option<i64>,
    /// What tells so: `clock`; or `entries`, from the first to the last, where nobody saw the end.
    pub elapsed_from: Option<&'static str>,
    /// From which hour on calls are told of, where not of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Every budget.
    pub budgets: Vec<BudgetRow>,
    /// What the calls of each agent came to.
    pub agents: Vec<UseRow>,
    /// The same by agent and operation.
    pub operations: Vec<UseRow>,
    /// The same by model.
    pub models: Vec<UseRow>,
    /// The same by hour (UTC).
    pub hours: Vec<UseRow>,
    /// The same by tag, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<UseRow>>,
    /// Whether no call that costs anything was ever seen.
    pub no_metered_call: bool,
    /// Calls that were refused.
    pub refused: u64,
    /// Attempts that were charged by an estimate.
    pub estimated: u64,
    /// Holds whose end is unknown.
    pub in_doubt: u64,
    /// What those are charged, or hold still.
    pub in_doubt_amount: AmountRow,
    /// Where spending leads, while it goes on.
    pub forecast: Option<ForecastRow>,
    /// What Fisc took itself, where that was measured.
    pub overhead: Option<OverheadRow>,
    /// Which tokens count as `tokens`.
    pub counting: String,
    /// The version of the price book.
    pub prices: Option<String>,
}

/// What a budget counts, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AmountRow {
    /// Tokens as the budget counts them.
    pub tokens: i64,
    /// Cost in nano-dollars.
    pub cost_nanousd: i64,
    /// Cost in dollars, exact.
    pub cost_usd: String,
    /// Time in calls, in microseconds.
    pub time_us: i64,
}

/// What Fisc took itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OverheadRow {
    /// Processor time of its process, in microseconds; the program's is not in it.
    pub cpu_us: i64,
    /// The time that calls took, added up, to compare it with; in microseconds.
    pub calls_us: i64,
}

/// What stopped a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitingRow {
    /// The budget's path.
    pub budget: String,
    /// The resource.
    pub resource: String,
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BudgetRow {
    /// Its path.
    pub path: String,
    /// Its tokens.
    pub tokens: ResourceRow,
    /// Its cost, in nano-dollars.
    pub cost: ResourceRow,
    /// Its active time, in microseconds.
    pub active_time: ResourceRow,
    /// Its wall-clock time, where that is limited, in microseconds.
    pub time: Option<ResourceRow>,
    /// The worst level on its path, as `check` says it.
    pub level: &'static str,
}

/// One resource of one budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceRow {
    /// The limit; `None` is unlimited.
    pub limit: Option<i64>,
    /// What is spent, here and below.
    pub spent: i64,
    /// What is held, here and below.
    pub held: i64,
    /// Its level.
    pub level: &'static str,
}

/// What calls came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UseRow {
    /// The agent's budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The hour, `2026-11-23T18:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<String>,
    /// The tag, such as `task=write`; empty for calls without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Calls that ended.
    pub calls: u64,
    /// Attempts that were charged.
    pub attempts: u64,
    /// Attempts that the provider answered in full.
    pub completed: u64,
    /// Calls that were refused; by tag nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Attempts charged by an estimate.
    pub estimated: u64,
    /// Tokens as the budget counts them.
    pub tokens: i64,
    /// Tokens by class.
    pub usage: UsageRow,
    /// Cost in nano-dollars.
    pub cost_nanousd: i64,
    /// Cost in dollars, exact.
    pub cost_usd: String,
    /// Time in calls, in microseconds.
    pub time_us: i64,
}

/// Tokens by class; disjoint, but for `reasoning`, which is inside `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the token classes")]
pub struct UsageRow {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub audio_input: u64,
    pub image_input: u64,
    pub output: u64,
    pub audio_output: u64,
    pub image_output: u64,
    pub reasoning: u64,
    pub searches: u64,
}

/// `fisc report`.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    let ledger = Home::find()?.ledger(&LedgerArgs {
        db: args.db.clone(),
        run: args.run.clone(),
    })?;
    let since = args.since.as_deref();
    let since = since.map(|text| Since::parse(text, SystemClock::default().now()));
    let scope = Scope {
        ended: None,
        since: since.transpose()?,
        tags: args.by == ReportBy::Tag,
    };
    let report = gather(&ledger, &scope)?;
    let mut out = io::stdout().lock();
    let written = if args.json {
        write_json(&mut out, &report)
    } else {
        write_text(&mut out, &report, args.by)
    };
    // A reader that closed the pipe has seen enough.
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::internal(error.to_string())),
    }
}

/// Writes a report as JSON.
pub fn write_json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

/// Says whether a report can be written to a file later, without changing anything now.
pub fn check_writable(option: &str, path: &Path) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Ok(());
    }
    let checked = match fs::metadata(path) {
        Ok(found) if found.is_file() => fs::OpenOptions::new().append(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // A pipe or a device: opening it would be noticed at its other end.
        Ok(_) => Ok(()),
        Err(_) => fs::File::create_new(path).and_then(|_| fs::remove_file(path)),
    };
    checked.map_err(|error| {
        let place = path.display();
        Failure::configuration(format!("{option}: cannot write {place}: {error}"))
            .hint("name a file in a directory that exists and that you can write to")
    })
}

/// Writes a report to a file, or with `-` to standard output.
pub fn save(path: &Path, report: &Report, json: bool) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let written = if json {
        write_json(&mut bytes, report)
    } else {
        write_text(&mut bytes, report, ReportBy::Agent)
    };
    let saved = written.and_then(|()| {
        if path == Path::new("-") {
            io::stdout().lock().write_all(&bytes)
        } else {
            fs::write(path, &bytes)
        }
    });
    saved.map_err(|error| Failure::internal(format!("cannot write {}: {error}", path.display())))
}
