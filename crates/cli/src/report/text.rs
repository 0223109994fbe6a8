//! A report for people: a bar for each limit, then a table.

use std::io::{self, Write};

use fisc_core::{Money, TimeUs, Tokens};

use super::life::ElapsedFrom;
use super::{BudgetForecast, BudgetRow, Report, ResourceForecast, ResourceRow, UseRow};
use crate::amounts::{show_cost, show_count, show_duration, show_tokens};
use crate::args::ReportBy;

const BAR_WIDTH: usize = 20;

/// What is said of a run that never called.
pub(crate) const NO_METERED_CALL: &str = "no metered call was seen: the program did not use the \
     gateway's base URL (see docs/guides/run.md)";

/// Writes a report as text.
pub fn write_text(out: &mut impl Write, report: &Report, by: ReportBy) -> io::Result<()> {
    let ending = match (&report.outcome, report.exit_code) {
        (Some(outcome), Some(code)) => format!(" {outcome}, exit {code} ──"),
        _ if report.is_run && report.runs => " running ──".to_owned(),
        _ if report.is_run => " not ended ──".to_owned(),
        _ => String::new(),
    };
    writeln!(out, "── fisc report {} ──{ending}", report.run)?;
    if let Some(root) = report.budgets.first() {
        write_limits(out, report, root)?;
    }
    if let Some(since) = &report.since {
        writeln!(out, " calls since {since}:")?;
    }
    match by {
        ReportBy::Agent => write_agents(out, report)?,
        ReportBy::Operation => write_uses(out, &report.operations, operation_name)?,
        ReportBy::Model => write_uses(out, &report.models, model_name)?,
        ReportBy::Hour => {
            write_uses(out, &report.hours, |row| {
                row.hour.clone().unwrap_or_default()
            })?;
        }
        ReportBy::Tag => write_uses(out, report.tags.as_deref().unwrap_or_default(), tag_name)?,
    }
    write_forecast(out, report)?;
    write_notes(out, report)
}

/// The symbol of a level, so that colour is never the only cue.
pub(crate) fn symbol(level: &str) -> char {
    match level {
        "yellow" => '▲',
        "orange" => '≋',
        "red" => '▽',
        "black" => '■',
        _ => '●',
    }
}

fn write_limits(out: &mut impl Write, report: &Report, root: &BudgetRow) -> io::Result<()> {
    write_limit(out, "cost", &root.cost, |units| {
        show_cost(Money::from_nanos(units))
    })?;
    write_limit(out, "tokens", &root.tokens, |units| {
        show_tokens(Tokens(units))
    })?;
    write_limit(out, "active time", &root.active_time, |units| {
        show_duration(TimeUs(units))
    })?;
    match (&root.time, report.elapsed_ms) {
        (Some(time), _) => write_limit(out, "time", time, |units| show_duration(TimeUs(units)))?,
        (None, Some(elapsed_ms)) => {
            let elapsed = show_duration(TimeUs(elapsed_ms * 1000));
            writeln!(out, " {:<12} {elapsed:>9}", "time")?;
        }
        (None, None) => {}
    }
    if report.elapsed_from == Some(ElapsedFrom::Entries.name()) {
        writeln!(
            out,
            " nobody saw the end: time is from the first to the last entry"
        )?;
    }
    Ok(())
}

fn write_limit(
    out: &mut impl Write,
    name: &str,
    row: &ResourceRow,
    show: impl Fn(i64) -> String,
) -> io::Result<()> {
    let spent = show(row.spent);
    let Some(limit) = row.limit else {
        return writeln!(out, " {name:<12} {spent:>9}");
    };
    let share = percent(row.spent, limit);
    let filled = (share as usize * BAR_WIDTH / 100).min(BAR_WIDTH);
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR_WIDTH - filled));
    writeln!(
        out,
        " {name:<12} {spent:>9} / {:<9} {bar} {share:>3} %",
        show(limit)
    )
}

fn write_agents(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.agents.is_empty() {
        return Ok(());
    }
    let total: i64 = report.agents.iter().map(|row| row.cost_nanousd).sum();
    let width = widest(
        report
            .agents
            .iter()
            .map(|row| agent_name(row).chars().count()),
    );
    writeln!(
        out,
        " {:<width$}  {:<8} {:>9} {:>6} {:>6} {:>8}  {:<16} {:>8}",
        "agent", "level", "cost", "share", "calls", "tokens", "top operation", "refused"
    )?;
    let mut agents: Vec<&UseRow> = report.agents.iter().collect();
    agents.sort_by_key(|row| std::cmp::Reverse((row.cost_nanousd, row.tokens)));
    for row in agents {
        let path = agent_name(row);
        let budget = report.budgets.iter().find(|budget| budget.path == path);
        let level = budget.map_or("green", |budget| budget.level);
        writeln!(
            out,
            " {path:<width$}  {} {level:<6} {:>9} {:>4} % {:>6} {:>8}  {:<16} {:>8}",
            symbol(level),
            show_cost(Money::from_nanos(row.cost_nanousd)),
            percent(row.cost_nanousd, total),
            row.calls,
            show_tokens(Tokens(row.tokens)),
            top_operation(report, &path),
            refused(row),
        )?;
    }
    Ok(())
}

fn write_uses(
    out: &mut impl Write,
    rows: &[UseRow],
    name: impl Fn(&UseRow) -> String,
) -> io::Result<()> {
    let width = widest(rows.iter().map(|row| name(row).chars().count()));
    writeln!(
        out,
        " {:<width$} {:>9} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}",
        "", "cost", "calls", "tokens", "input", "cached", "output", "time", "refused"
    )?;
    for row in rows {
        let count = |tokens: u64| show_tokens(Tokens(i64::try_from(tokens).unwrap_or(i64::MAX)));
        writeln!(
            out,
            " {:<width$} {:>9} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}",
            name(row),
            show_cost(Money::from_nanos(row.cost_nanousd)),
            row.calls,
            show_tokens(Tokens(row.tokens)),
            count(row.usage.input),
            count(row.usage.cache_read),
            count(row.usage.output),
            show_duration(TimeUs(row.time_us)),
            refused(row),
        )?;
    }
    Ok(())
}

/// Writes where the spending of the whole leads, one line for each limit or deadline.
fn write_forecast(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Some(forecast) = &report.forecast else {
        return Ok(());
    };
    let root = report.budgets.first().map(|root| root.path.as_str());
    let Some(whole) = forecast
        .budgets
        .iter()
        .find(|row| Some(row.path.as_str()) == root)
    else {
        return Ok(());
    };
    for (_, _, part) in describe_resources(whole) {
        writeln!(out, " forecast ({}, estimated): {part}", forecast.method)?;
    }
    Ok(())
}

/// Names each resource of a budget and describes where it leads, as far as there is something to
/// say.
pub(crate) fn describe_resources(
    whole: &BudgetForecast,
) -> impl Iterator<Item = (&'static str, &ResourceForecast, String)> {
    let cost = |units| show_cost(Money::from_nanos(units));
    let tokens = |units| format!("{} tokens", show_tokens(Tokens(units)));
    let time = |units| format!("{} in calls", show_duration(TimeUs(units)));
    let horizon = match whole.horizon_ms {
        Some(left) => format!("in {}", show_millis(left)),
        None => "when it is done".to_owned(),
    };
    let BudgetForecast {
        cost: of_cost,
        tokens: of_tokens,
        active_time,
        ..
    } = whole;
    let parts = [
        ("cost", of_cost, describe_forecast(of_cost, &horizon, cost)),
        (
            "tokens",
            of_tokens,
            describe_forecast(of_tokens, &horizon, tokens),
        ),
        (
            "active time",
            active_time,
            describe_forecast(active_time, &horizon, time),
        ),
    ];
    let said = |(name, row, part): (_, _, Option<String>)| Some((name, row, part?));
    parts.into_iter().filter_map(said)
}

fn describe_forecast(
    row: &ResourceForecast,
    horizon: &str,
    show: impl Fn(i64) -> String,
) -> Option<String> {
    let between = |low: String, high: String| format!(" ({low} to {high})");
    let spent = row.at_horizon.map(|units| {
        let ends = row.at_horizon_interval;
        let ends = ends.map(|(low, high)| between(show(low), show(high)));
        format!("{} {horizon}{}", show(units), ends.unwrap_or_default())
    });
    let limit = row.limit_in_ms.map(|ms| {
        let ends = row.limit_in_interval_ms;
        let ends = ends.map(|(low, high)| between(show_millis(low), show_millis(high)));
        format!("limit in {}{}", show_millis(ms), ends.unwrap_or_default())
    });
    let parts: Vec<String> = spent.into_iter().chain(limit).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn show_millis(ms: i64) -> String {
    show_duration(TimeUs(ms.saturating_mul(1000)))
}

fn write_notes(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if let Some(limiting) = &report.limiting {
        writeln!(
            out,
            " stopped by: {} of budget {}",
            limiting.resource, limiting.budget
        )?;
    }
    if report.is_run && report.no_metered_call {
        writeln!(out, " {NO_METERED_CALL}")?;
    }
    let Report {
        refused,
        estimated,
        in_doubt,
        in_doubt_amount: doubtful,
        ..
    } = report;
    if refused + estimated + in_doubt > 0 {
        let refused = show_count(*refused, "call", "calls");
        writeln!(
            out,
            " {refused} refused, {estimated} estimated, {in_doubt} in doubt"
        )?;
    }
    if *in_doubt > 0 {
        writeln!(
            out,
            " in doubt: {}, {} tokens; see: fisc resolve",
            show_cost(Money::from_nanos(doubtful.cost_nanousd)),
            show_tokens(Tokens(doubtful.tokens)),
        )?;
    }
    if let Some(prices) = &report.prices {
        writeln!(
            out,
            " prices: {prices}   tokens counted: {}",
            report.counting
        )?;
    }
    Ok(())
}

fn top_operation(report: &Report, agent: &str) -> String {
    let own = report
        .operations
        .iter()
        .filter(|row| row.agent.as_deref() == Some(agent));
    let top = own.max_by_key(|row| (row.cost_nanousd, row.calls));
    top.and_then(|row| row.operation.clone())
        .unwrap_or_else(|| "-".to_owned())
}

fn agent_name(row: &UseRow) -> String {
    row.agent.clone().unwrap_or_default()
}

fn operation_name(row: &UseRow) -> String {
    format!(
        "{} {}",
        agent_name(row),
        row.operation.as_deref().unwrap_or("-")
    )
}

fn model_name(row: &UseRow) -> String {
    row.model
        .clone()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

fn tag_name(row: &UseRow) -> String {
    row.tag
        .clone()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

fn refused(row: &UseRow) -> String {
    row.refused
        .map_or_else(|| "-".to_owned(), |count| count.to_string())
}

fn widest(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0).max("agent".len())
}

fn percent(part: i64, whole: i64) -> i64 {
    match whole {
        0 if part > 0 => 100,
        0 => 0,
        _ => (i128::from(part) * 100 / i128::from(whole)) as i64,
    }
}
