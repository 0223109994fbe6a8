//! The end of a run: it is kept in the ledger, which is closed; then the history and the reports
//! are written. None of these may cost another, nor hide how the program ended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fisc::{Money, Resource, TimeUs, Timestamp, Tokens};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Run;
use crate::amounts::{show_cost, show_tokens};
use crate::args::{ReportBy, RunArgs};
use crate::exit::{self, Conclusion, Outcome};
use crate::failure::Failure;
use crate::home::Past;
use crate::report::{self, Ended, LimitingRow, Names, Scope};

/// How a run ended.
pub(super) struct End {
    pub(super) conclusion: Conclusion,
    pub(super) limiting: Option<LimitingRow>,
}

// === impl Run ===

impl Run {
    /// Keeps how the run ended, closes its ledger, and writes its history and its reports. What
    /// fails now is told, and makes a failure of a success only: whoever reads the exit code hears
    /// of the program first.
    pub(super) async fn finish(&self, args: &RunArgs, end: End) -> u8 {
        let code = end.conclusion.code;
        let failures = self.close(args, end, true).await;
        for failure in &failures {
            eprintln!("{failure}");
        }
        match failures.first() {
            Some(failure) if code == exit::OK => failure.code(),
            _ => code,
        }
    }

    /// Ends a run whose program never started; the reports that were asked for say so.
    pub(super) async fn give_up(&self, args: &RunArgs, failure: &Failure) {
        let conclusion = Conclusion {
            code: failure.code(),
            outcome: Outcome::Failed,
        };
        let end = End {
            conclusion,
            limiting: None,
        };
        for failure in self.close(args, end, false).await {
            eprintln!("{failure}");
        }
    }

    /// Closes the ledger, then writes all that tells of the run; returns what failed. A program
    /// that never `ran` has no history, and nothing to show but what was asked for.
    async fn close(&self, args: &RunArgs, end: End, ran: bool) -> Vec<Failure> {
        let End {
            conclusion,
            limiting,
        } = end;
        let mut failures = Vec::new();
        if !args.rehearse {
            // The scripted provider is a part of this process.
            self.keep(Names::CPU, &cpu_time().0.to_string());
        }
        let now = self.keep_end(conclusion.outcome, conclusion.code, limiting.as_ref());
        let ended = Ended {
            outcome: conclusion.outcome.name().to_owned(),
            exit_code: conclusion.code,
            limiting,
            at: now,
        };
        let past = self.past(args, &ended);
        if ran && conclusion.outcome == Outcome::Completed {
            self.teach(args);
        }
        if let Err(error) = self.fisc.clone().close().await {
            failures.push(error.into());
        }
        if ran && let Err(error) = self.home.remember(&past) {
            eprintln!("fisc ▸ warning: the history was not written: {error}");
        }
        if let Err(failure) = self.tell(args, &ended, ran, &mut failures) {
            failures.push(failure);
        }
        failures
    }

    /// Lets the next runs of the same command know what this one spent. What others of them
    /// taught meanwhile counts too.
    fn teach(&self, args: &RunArgs) {
        let command = class(args);
        self.fisc.recall(&self.home.known(&command));
        let known = self.fisc.completed();
        if let Err(error) = self.home.keep_known(&command, &self.id, known) {
            eprintln!("fisc ▸ warning: what the run taught was not written: {error}");
        }
    }

    /// Returns the ledgers that tell what calls of the same command needed.
    pub(super) fn taught_by(&self, args: &RunArgs) -> Vec<PathBuf> {
        self.home.known_ledger(&class(args)).into_iter().collect()
    }

    /// Takes what earlier runs of the same command taught, and says what they let expect.
    pub(super) fn recall(&self, args: &RunArgs) {
        let command = class(args);
        let past = self.home.known(&command);
        self.keep(Names::COMMAND, &command);
        if !self.fisc.recall(&past) {
            eprintln!("fisc ▸ warning: what earlier runs taught cannot be read");
        }
        let cost = |units| show_cost(Money::from_nanos(units));
        let tokens = |units| format!("{} tokens", show_tokens(Tokens(units)));
        let cost = self.expected(Resource::Cost, cost);
        let said: Vec<String> = cost
            .into_iter()
            .chain(self.expected(Resource::Tokens, tokens))
            .collect();
        if !said.is_empty() {
            let runs = past.iter().filter(|past| past.class.is_empty());
            let runs = runs.map(|past| past.runs.len()).max().unwrap_or(0);
            let said = said.join(", ");
            eprintln!("fisc ▸ expected from {runs} earlier runs of {command}: {said} (estimated)");
        }
    }

    fn expected(&self, resource: Resource, show: impl Fn(i64) -> String) -> Option<String> {
        let total = self.fisc.expected("", resource)?;
        let ends = total.interval;
        let ends = ends.map(|(low, high)| format!(" ({} to {})", show(low), show(high)));
        Some(format!("{}{}", show(total.point), ends.unwrap_or_default()))
    }

    /// Writes the reports: as asked for, and to standard error unless one is asked for.
    fn tell(
        &self,
        args: &RunArgs,
        ended: &Ended,
        ran: bool,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        let scope = Scope {
            ended: Some(ended),
            ..Scope::default()
        };
        let report = report::gather(&self.ledger, &scope)?;
        if ran && args.report.is_none() {
            let mut stderr = std::io::stderr().lock();
            // Where standard error is closed there is nobody to tell.
            let _ = report::write_text(&mut stderr, &report, ReportBy::Agent);
        } else if ran && report.no_metered_call {
            eprintln!("fisc ▸ {}", report::NO_METERED_CALL);
        }
        for (path, json) in [(&args.report, false), (&args.json, true)] {
            if let Some(path) = path
                && let Err(failure) = report::save(path, &report, json)
            {
                failures.push(failure);
            }
        }
        Ok(())
    }

    fn past(&self, args: &RunArgs, ended: &Ended) -> Past {
        let root = self.fisc.root();
        let spent = root.map(|root| root.status().spent).unwrap_or_default();
        Past {
            run: self.id.clone(),
            ended_s: ended.at.0 / 1_000_000,
            command: base_name(&args.command[0]),
            outcome: ended.outcome.clone(),
            cost_nanousd: spent.cost().nanos(),
            tokens: spent.tokens().0,
            elapsed_ms: ended.at.since(self.started).0 / 1000,
        }
    }

    /// Keeps in the ledger how the run ended, and returns when.
    fn keep_end(&self, outcome: Outcome, code: u8, limiting: Option<&LimitingRow>) -> Timestamp {
        let now = self.fisc.now();
        self.keep(Names::OUTCOME, outcome.name());
        self.keep(Names::EXIT_CODE, &code.to_string());
        self.keep(Names::ENDED, &now.0.to_string());
        if let Some(limiting) = limiting {
            self.keep(Names::LIMITING_BUDGET, &limiting.budget);
            self.keep(Names::LIMITING_RESOURCE, &limiting.resource);
        }
        now
    }
}

/// Returns the processor time that this process took so far.
fn cpu_time() -> TimeUs {
    let micros = |time: TimeVal| time.num_microseconds();
    getrusage(UsageWho::RUSAGE_SELF).map_or(TimeUs(0), |usage| {
        TimeUs(micros(usage.user_time()) + micros(usage.system_time()))
    })
}

fn base_name(command: &OsStr) -> String {
    let name = Path::new(command).file_name().unwrap_or(command);
    name.to_string_lossy().into_owned()
}

/// Returns what runs are like each other: the command, and its script where the first argument
/// is a file. Other arguments may hold secrets. Rehearsals teach about rehearsals alone.
fn class(args: &RunArgs) -> String {
    let mut class = base_name(&args.command[0]);
    if let Some(script) = args.command.get(1).filter(|arg| Path::new(arg).is_file()) {
        class = format!("{class} {}", base_name(script));
    }
    if args.rehearse {
        class.push_str(" (rehearsed)");
    }
    class
}
