//! Amounts as people write and read them: cost, tokens, time, and budgets made of these.
//!
//! Reading is exact: no float is involved, and what cannot be exact is refused. Showing rounds
//! to two or three digits; whoever needs the exact number takes it from the JSON report.

use std::fmt;

mod budget;
mod parse;
mod show;

pub use budget::{BudgetSpec, Limit, LimitsSpec, parse_budget, parse_path};
pub use parse::{parse_cost, parse_duration, parse_time, parse_tokens};
pub use show::{show_cost, show_count, show_duration, show_tokens};

/// A text that is not the amount it should be. Displays as two lines: what is wrong with which
/// text, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountError {
    problem: String,
    hint: String,
}

// === impl AmountError ===

impl AmountError {
    fn new(problem: impl Into<String>, hint: impl Into<String>) -> AmountError {
        AmountError {
            problem: problem.into(),
            hint: hint.into(),
        }
    }

    /// Returns what is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Returns how to mend it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  hint: {}", self.problem, self.hint)
    }
}

impl std::error::Error for AmountError {}
