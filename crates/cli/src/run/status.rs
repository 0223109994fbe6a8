//! The line that tells how a run stands, on standard error; the program owns standard output.
//!
//! On a terminal it lives in the window's title, where no output of the program can mix with it,
//! and now and then it is printed as a line of its own. Elsewhere nothing is shown by default.

use std::io::Write;

use fisc::{BudgetId, BudgetStatus, Fisc, Level, Money, Resource, TimeUs, Tokens};

use fisc_gateway::Question;

use crate::amounts::{show_cost, show_count, show_duration, show_tokens};
use crate::report::symbol;
use crate::wire;

/// How many looks pass between two titles.
const TITLE_EVERY: u32 = 5;

/// How many looks pass between two lines.
const LINE_EVERY: u32 = 100;

/// How a run's standing is shown.
#[derive(Debug)]
pub(super) struct StatusLine {
    mode: Mode,
    looks: u32,
    titled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Silent,
    Lines,
    Live,
}

// === impl StatusLine ===

impl StatusLine {
    pub(super) fn silent() -> StatusLine {
        StatusLine {
            mode: Mode::Silent,
            looks: 0,
            titled: false,
        }
    }

    pub(super) fn lines() -> StatusLine {
        StatusLine {
            mode: Mode::Lines,
            ..StatusLine::silent()
        }
    }

    pub(super) fn live() -> StatusLine {
        StatusLine {
            mode: Mode::Live,
            ..StatusLine::silent()
        }
    }

    /// Says what the run is, once.
    pub(super) fn greet(&self, run: &str, addr: &str, fisc: &Fisc) {
        if self.mode == Mode::Silent {
            return;
        }
        let limits = fisc
            .root()
            .map(|root| describe_limits(&root.status()))
            .unwrap_or_default();
        eprintln!("fisc ▸ run {run}   budget {limits}   gateway {addr}");
    }

    /// Tells that a budget's level rose.
    pub(super) fn level(&mut self, fisc: &Fisc, budget: BudgetId, level: Level) {
        if self.mode == Mode::Silent {
            return;
        }
        let Some(status) = fisc.status(budget) else {
            return;
        };
        eprintln!(
            "fisc {} {}  {}",
            symbol(level.name()),
            status.path,
            describe(&status)
        );
    }

    /// Tells that a budget's spending leads beyond its limit.
    pub(super) fn forecast(
        &mut self,
        fisc: &Fisc,
        budget: BudgetId,
        resource: Resource,
        (total, limit): (i64, i64),
    ) {
        if self.mode == Mode::Silent {
            return;
        }
        let show = |units| match resource {
            Resource::Tokens => show_tokens(Tokens(units)),
            Resource::Cost => show_cost(Money::from_nanos(units)),
            Resource::Time => show_duration(TimeUs(units)),
        };
        let (total, limit) = (show(total), show(limit));
        let path = fisc.path(budget);
        eprintln!("fisc ◆ {path}  leads to {total} of {limit} {resource} (estimated)");
    }

    /// Tells that calls wait for a decision: everywhere, since nothing goes on without it.
    pub(super) fn question(fisc: &Fisc, question: &Question) {
        let Some(status) = fisc.status(question.budget) else {
            return;
        };
        let left = TimeUs(question.until.since(question.since).0);
        let calls = show_count(u64::from(question.waiting), "call waits", "calls wait");
        eprintln!(
            "fisc ‖ {}  paused at {}: {calls} up to {} for fisc approve {} or fisc deny {}",
            status.path,
            describe(&status),
            show_duration(left),
            question.name(),
            question.name(),
        );
    }

    /// Shows how the run stands, now and then.
    pub(super) fn draw(&mut self, fisc: &Fisc) {
        self.looks += 1;
        let title = self.mode == Mode::Live && self.looks.is_multiple_of(TITLE_EVERY);
        let line = self.mode != Mode::Silent && self.looks.is_multiple_of(LINE_EVERY);
        if !title && !line {
            return;
        }
        let Some(status) = fisc.root().map(|root| root.status()) else {
            return;
        };
        let elapsed = fisc.now().since(status.allocated);
        let text = format!(
            "fisc {} {}  {}  {} in flight",
            symbol(status.binding.0.name()),
            describe(&status),
            show_duration(TimeUs(elapsed.0 / 1_000_000 * 1_000_000)),
            status.open,
        );
        if line {
            eprintln!("{text}");
        }
        if title {
            self.title(&text);
        }
    }

    /// Takes the title away.
    pub(super) fn clear(&mut self) {
        if self.titled {
            self.title("");
            self.titled = false;
        }
    }

    /// Sets the title of the terminal's window (OSC 2).
    fn title(&mut self, text: &str) {
        eprint!("\x1b]2;{text}\x07");
        let _ = std::io::stderr().flush();
        self.titled = true;
    }
}

fn describe_limits(status: &BudgetStatus) -> String {
    let limits = &status.terms.limits;
    let limited = |resource| {
        limits
            .get(resource)
            .map(|limit| wire::show(resource, limit))
    };
    let mut parts: Vec<String> = Resource::ALL.into_iter().filter_map(limited).collect();
    if let Some(time) = status.terms.elapsed {
        parts.push(show_duration(time));
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(" · ")
    }
}

fn describe(status: &BudgetStatus) -> String {
    let parts = Resource::ALL.into_iter().filter_map(|resource| {
        let spent = status.spent.get(resource);
        match status.terms.limits.get(resource) {
            Some(limit) => Some(format!(
                "{} of {}",
                wire::show(resource, spent),
                wire::show(resource, limit)
            )),
            None if resource == Resource::Cost => Some(wire::show(resource, spent)),
            None => None,
        }
    });
    parts.collect::<Vec<_>>().join(" · ")
}
