//! The figures of a run as tables, for people and for the document.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::conditions::Conditions;
use super::load::{Measured, Quantiles};
use super::wire::Mode;

/// Between these lines of the document stands what the last written run gave.
const BEGIN: &str = "<!-- written by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- to here -->\n";

/// What a run gave: for each mode the rate of the second part and every proxy's figures, the
/// direct way first and nginx second.
pub(super) struct Report {
    pub(super) conditions: Conditions,
    pub(super) modes: Vec<(Mode, f64, Vec<Figures>)>,
}

/// What was measured of one proxy, a value for each round.
pub(super) struct Figures {
    name: &'static str,
    calls_per_second: Vec<f64>,
    cpu_per_call: Vec<f64>,
    busy: Vec<f64>,
    cpu_per_call_at_rate: Vec<f64>,
    first: Vec<Quantiles>,
    whole: Vec<Quantiles>,
}

// === impl Figures ===

impl Figures {
    pub(super) fn new(name: &'static str) -> Figures {
        Figures {
            name,
            calls_per_second: Vec::new(),
            cpu_per_call: Vec::new(),
            busy: Vec::new(),
            cpu_per_call_at_rate: Vec::new(),
            first: Vec::new(),
            whole: Vec::new(),
        }
    }

    /// Takes a measurement at saturation.
    pub(super) fn saturated(&mut self, measured: &Measured, cpu: Duration) {
        let seconds = measured.window.as_secs_f64();
        self.calls_per_second.push(measured.calls as f64 / seconds);
        self.cpu_per_call
            .push(micros(cpu) / measured.calls.max(1) as f64);
        self.busy.push(cpu.as_secs_f64() / seconds * 100.0);
    }

    /// Takes a measurement at the fixed rate.
    pub(super) fn at_rate(&mut self, measured: &Measured, cpu: Duration) {
        self.cpu_per_call_at_rate
            .push(micros(cpu) / measured.calls.max(1) as f64);
        self.first.push(measured.first);
        self.whole.push(measured.whole);
    }

    pub(super) fn calls_per_second(&self) -> f64 {
        median(self.calls_per_second.iter().copied())
    }

    fn cpu_per_call(&self) -> f64 {
        median(self.cpu_per_call.iter().copied())
    }

    fn cpu_per_call_at_rate(&self) -> f64 {
        median(self.cpu_per_call_at_rate.iter().copied())
    }

    /// Returns by how much a quantile lies above the direct way's of the same round.
    fn added(&self, direct: &Figures, quantile: impl Fn(&Figures, usize) -> Duration) -> f64 {
        let rounds = 0..self.whole.len();
        median(rounds.map(|round| micros(quantile(self, round)) - micros(quantile(direct, round))))
    }
}

// === impl Report ===

impl Report {
    /// Puts the tables into the document, in place of those of an earlier run.
    pub(super) fn write_into(&self, path: &Path) -> io::Result<()> {
        let text = fs::read_to_string(path)?;
        let marks = text.find(BEGIN).zip(text.find(END));
        let (begin, end) =
            marks.ok_or_else(|| io::Error::other(format!("{} has no marks", path.display())))?;
        let (before, after) = (&text[..begin + BEGIN.len()], &text[end..]);
        fs::write(path, format!("{before}\n{self}\n{after}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.conditions.lines() {
            writeln!(f, "- {line}")?;
        }
        for (mode, rate, figures) in &self.modes {
            writeln!(
                f,
                "\n**{}**, at saturation and at {rate:.0} a second\n",
                mode.title()
            )?;
            let first = *mode == Mode::Stream;
            header(f, first)?;
            for row in figures {
                write_row(f, row, &figures[0], &figures[1], first)?;
            }
        }
        Ok(())
    }
}

fn header(f: &mut fmt::Formatter<'_>, first: bool) -> fmt::Result {
    let columns = [
        "",
        "calls/s",
        "of nginx's",
        "its core busy",
        "CPU us/call",
        "of nginx's",
        "CPU us/call at the rate",
        "of nginx's",
        "added p50 us",
        "added p99 us",
    ];
    let more = ["first byte: added p50 us", "added p99 us"];
    let columns: Vec<&str> = columns
        .into_iter()
        .chain(more.into_iter().filter(|_| first))
        .collect();
    writeln!(f, "| {} |", columns.join(" | "))?;
    writeln!(f, "|{}", "---|".repeat(columns.len()))
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    row: &Figures,
    direct: &Figures,
    nginx: &Figures,
    first: bool,
) -> fmt::Result {
    let name = match row.name {
        "direct" | "nginx" => row.name.to_owned(),
        durability => format!("fisc, `{durability}`"),
    };
    let calls = row.calls_per_second();
    if std::ptr::eq(row, direct) {
        let at = |quantile: fn(&Quantiles) -> Duration| {
            median(
                row.whole
                    .iter()
                    .map(|quantiles| micros(quantile(quantiles))),
            )
        };
        let (p50, p99) = (at(|quantiles| quantiles.p50), at(|quantiles| quantiles.p99));
        let rest = if first { " | |" } else { "" };
        return writeln!(
            f,
            "| {name} | {calls:.0} | {:.2} | | | | | | (p50 {p50:.0}) | (p99 {p99:.0}) |{rest}",
            calls / nginx.calls_per_second()
        );
    }
    write!(
        f,
        "| {name} | {calls:.0} | {:.2} | {:.0} % | {:.1} | {:.2} | {:.1} | {:.2} | {:.0} | {:.0} |",
        calls / nginx.calls_per_second(),
        median(row.busy.iter().copied()),
        row.cpu_per_call(),
        row.cpu_per_call() / nginx.cpu_per_call(),
        row.cpu_per_call_at_rate(),
        row.cpu_per_call_at_rate() / nginx.cpu_per_call_at_rate(),
        row.added(direct, |figures, round| figures.whole[round].p50),
        row.added(direct, |figures, round| figures.whole[round].p99),
    )?;
    if first {
        write!(
            f,
            " {:.0} | {:.0} |",
            row.added(direct, |figures, round| figures.first[round].p50),
            row.added(direct, |figures, round| figures.first[round].p99),
        )?;
    }
    writeln!(f)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
