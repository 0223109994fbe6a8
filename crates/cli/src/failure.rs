//! How a command fails: what happened, how to mend it, and the exit code.

use std::fmt;

use crate::amounts::AmountError;
use crate::exit;

/// Why a command could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

// === impl Failure ===

impl Failure {
    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            hint: None,
            code: exit::USAGE,
        }
    }

    /// The configuration or the environment is wrong.
    pub fn configuration(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            hint: None,
            code: exit::CONFIGURATION,
        }
    }

    /// `fisc` itself failed.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            hint: None,
            code: exit::FISC_FAILED,
        }
    }

    /// Something else ended with this code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Says which option the amount stands in.
    pub fn amount(option: &str, error: &AmountError) -> Failure {
        Failure::usage(format!("{option}: {}", error.problem())).hint(error.hint())
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<fisc::Error> for Failure {
    fn from(error: fisc::Error) -> Failure {
        use fisc::Error::{Open, OtherCounting, UnreadableTerms};
        match error {
            Open(error) => error.into(),
            OtherCounting { .. } | UnreadableTerms(_) => Failure::configuration(error.to_string()),
            _ => Failure::internal(error.to_string()),
        }
    }
}

impl From<fisc_ledger::Error> for Failure {
    fn from(error: fisc_ledger::Error) -> Failure {
        use fisc_ledger::Error::{Locked, Missing, NetworkFilesystem, Newer, NotALedger};
        match error {
            // The owner named a file that cannot be used; nothing broke.
            Locked { .. }
            | Missing(_)
            | NetworkFilesystem { .. }
            | Newer { .. }
            | NotALedger(_) => Failure::configuration(error.to_string()),
            _ => Failure::internal(error.to_string()),
        }
    }
}
