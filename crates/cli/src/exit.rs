//! The exit codes of `fisc`, all in one place, and what an ending is called.
//!
//! The outcome and the limiting budget in the report are authoritative; the code is their
//! shadow, since a child may exit with any of these numbers itself.

use std::io;

use fisc_core::Resource;

use crate::supervise::{Ending, Status, StopReason, Why};

/// Everything went well.
pub const OK: u8 = 0;
/// `check`: the level is Yellow. Green is [`OK`].
pub const LEVEL_YELLOW: u8 = 10;
/// `check`: the level is Orange.
pub const LEVEL_ORANGE: u8 = 11;
/// `check`: the level is Red.
pub const LEVEL_RED: u8 = 12;
/// `check`: the level is Black.
pub const LEVEL_BLACK: u8 = 13;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The configuration or the environment is wrong.
pub const CONFIGURATION: u8 = 78;
/// Tokens or cost are exhausted and the run was ended, or the child failed because of it.
pub const EXHAUSTED: u8 = 122;
/// Time is exhausted.
pub const TIME_EXHAUSTED: u8 = 124;
/// `fisc` itself failed.
pub const FISC_FAILED: u8 = 125;
/// The command cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that the child died of.
pub const SIGNAL_BASE: u8 = 128;
/// Nobody reads any more what is printed: what SIGPIPE comes to.
pub const NOBODY_READS: u8 = SIGNAL_BASE + 13;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The child ended by itself and well.
    Completed,
    /// Tokens or cost ran out, and the run was ended or failed because of it.
    Exhausted,
    /// Time ran out.
    TimedOut,
    /// It died of a signal, or was ended for another reason than its budget.
    Killed,
    /// The child, or `fisc` itself, failed.
    Failed,
}

/// What the ledger knows about a run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The resource that stopped an agent, if any is stopped: a call of it was refused for good
    /// because a budget has run out, and none was admitted since.
    pub refused_for: Option<Resource>,
}

/// An exit code and the name of the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conclusion {
    /// The exit code of `fisc`.
    pub code: u8,
    /// What the report says.
    pub outcome: Outcome,
}

/// Concludes what a run's ending means.
pub fn conclude(ending: &Ending, facts: Facts) -> Conclusion {
    match ending.why {
        Why::Deadline => out_of(Resource::Time),
        Why::Stopped(StopReason::GatewayFailed) => Conclusion {
            code: FISC_FAILED,
            outcome: Outcome::Failed,
        },
        Why::Stopped(StopReason::Exhausted(resource)) => out_of(resource),
        Why::Stopped(StopReason::Refusals) => match facts.refused_for {
            Some(resource) => out_of(resource),
            None => Conclusion {
                code: EXHAUSTED,
                outcome: Outcome::Killed,
            },
        },
        Why::Interrupted(_) => match ending.status {
            Status::Code(0) => Conclusion {
                code: OK,
                outcome: Outcome::Completed,
            },
            status => Conclusion {
                code: code_of(status),
                outcome: Outcome::Killed,
            },
        },
        Why::Completed => by_itself(ending.status, facts),
    }
}

/// Returns the exit code for a child that could not be started.
pub fn start_failure(error: &io::Error) -> u8 {
    // "Exec format error" has no stable kind of its own.
    let not_a_program = error.raw_os_error() == Some(nix::errno::Errno::ENOEXEC as i32);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NOT_FOUND,
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => NOT_EXECUTABLE,
        _ if not_a_program => NOT_EXECUTABLE,
        _ => FISC_FAILED,
    }
}

fn by_itself(status: Status, facts: Facts) -> Conclusion {
    match (status, facts.refused_for) {
        (Status::Code(0), _) => Conclusion {
            code: OK,
            outcome: Outcome::Completed,
        },
        (Status::Code(_), Some(resource)) => out_of(resource),
        (Status::Code(_), None) => Conclusion {
            code: code_of(status),
            outcome: Outcome::Failed,
        },
        (Status::Signal(_), _) => Conclusion {
            code: code_of(status),
            outcome: Outcome::Killed,
        },
    }
}

fn out_of(resource: Resource) -> Conclusion {
    match resource {
        Resource::Time => Conclusion {
            code: TIME_EXHAUSTED,
            outcome: Outcome::TimedOut,
        },
        Resource::Tokens | Resource::Cost => Conclusion {
            code: EXHAUSTED,
            outcome: Outcome::Exhausted,
        },
    }
}

/// Returns the child's own code, or the shell's for a signal.
fn code_of(status: Status) -> u8 {
    match status {
        Status::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Status::Signal(number) => {
            u8::try_from(number).map_or(u8::MAX, |number| SIGNAL_BASE.saturating_add(number))
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the outcome's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Exhausted => "exhausted",
            Outcome::TimedOut => "timed_out",
            Outcome::Killed => "killed",
            Outcome::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    fn concluded(status: Status, why: Why, refused_for: Option<Resource>) -> (u8, &'static str) {
        let ending = Ending {
            status,
            why,
            forced: false,
            strays: 0,
        };
        let conclusion = conclude(&ending, Facts { refused_for });
        (conclusion.code, conclusion.outcome.name())
    }

    #[test]
    fn every_ending_has_its_code_and_outcome() {
        use Status::{Code, Signal as Died};
        use StopReason::{Exhausted, GatewayFailed, Refusals};
        use Why::{Completed, Deadline, Interrupted, Stopped};
        let (cost, time) = (Some(Resource::Cost), Some(Resource::Time));
        for (status, why, refused_for, expected) in [
            (Code(0), Completed, None, (0, "completed")),
            (Code(0), Completed, cost, (0, "completed")),
            (Code(7), Completed, None, (7, "failed")),
            (Code(7), Completed, cost, (122, "exhausted")),
            (
                Code(7),
                Completed,
                Some(Resource::Tokens),
                (122, "exhausted"),
            ),
            (Code(7), Completed, time, (124, "timed_out")),
            (Died(11), Completed, cost, (139, "killed")),
            (Died(15), Deadline, None, (124, "timed_out")),
            (Code(0), Deadline, cost, (124, "timed_out")),
            (
                Died(15),
                Stopped(Exhausted(Resource::Tokens)),
                None,
                (122, "exhausted"),
            ),
            // What ended the run counts, not what stopped another agent.
            (
                Code(0),
                Stopped(Exhausted(Resource::Cost)),
                time,
                (122, "exhausted"),
            ),
            (
                Died(9),
                Stopped(Exhausted(Resource::Time)),
                cost,
                (124, "timed_out"),
            ),
            (Died(9), Stopped(Refusals), cost, (122, "exhausted")),
            (Died(9), Stopped(Refusals), time, (124, "timed_out")),
            (Died(9), Stopped(Refusals), None, (122, "killed")),
            (Died(15), Stopped(GatewayFailed), None, (125, "failed")),
            (Died(2), Interrupted(Signal::SIGINT), cost, (130, "killed")),
            (Code(1), Interrupted(Signal::SIGINT), None, (1, "killed")),
            (
                Code(0),
                Interrupted(Signal::SIGTERM),
                None,
                (0, "completed"),
            ),
        ] {
            assert_eq!(
                concluded(status, why, refused_for),
                expected,
                "{status:?} {why:?}"
            );
        }
    }

    #[test]
    fn a_child_that_cannot_start_is_told_from_a_failure_of_fisc() {
        use io::ErrorKind;
        for (kind, code) in [
            (ErrorKind::NotFound, 127),
            (ErrorKind::PermissionDenied, 126),
            (ErrorKind::OutOfMemory, 125),
        ] {
            assert_eq!(start_failure(&kind.into()), code, "{kind:?}");
        }
        let format = io::Error::from_raw_os_error(nix::errno::Errno::ENOEXEC as i32);
        assert_eq!(start_failure(&format), 126);
    }
}
