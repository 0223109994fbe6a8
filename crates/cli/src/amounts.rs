//! Amounts as people write and read them: cost, tokens, time, and budgets made of these.
//!
//! They are read as the configuration reads them, exactly; errors say which text is wrong and how
//! to mend it. Showing rounds to two or three digits; whoever needs the exact number takes it
//! from the JSON report.

use std::fmt;

use fisc_core::{Money, TimeUs};
use fisc_gateway::config::amounts;
pub use fisc_gateway::config::amounts::TokenAmount;

mod budget;
mod show;

pub use budget::{BudgetSpec, Limit, LimitsSpec, PlaceSpec, parse_budget, parse_path};
pub use show::{show_cost, show_count, show_duration, show_tokens};

/// A text that is not the amount it should be. Displays as two lines: what is wrong with which
/// text, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountError {
    problem: String,
    hint: String,
}

/// Reads a cost in dollars: `2`, `$2.50`, `0.05`. 0 denies every call that costs anything.
///
/// # Errors
/// When the text is no exact amount of nano-dollars.
pub fn parse_cost(text: &str) -> Result<Money, AmountError> {
    text.parse::<Money>()
        .map_err(|error| AmountError::new(format!("cost {text:?}: {error}"), error.hint()))
}

/// Reads a number of tokens and, if the text says it, which of them count: `500k`, `1.5M`,
/// `total:500k`. 0 denies every call.
///
/// # Errors
/// When the text is no whole number of tokens.
pub fn parse_tokens(text: &str) -> Result<TokenAmount, AmountError> {
    amounts::parse_tokens(text)
        .map_err(|error| AmountError::new(format!("tokens {text:?}: {error}"), error.tokens_hint()))
}

/// Reads a time that is longer than nothing: `90s`, `10m`, `1h30m`, `2d`.
///
/// # Errors
/// As [`parse_duration`], and when the time is zero.
pub fn parse_time(text: &str) -> Result<TimeUs, AmountError> {
    match parse_duration(text)? {
        TimeUs(0) => {
            let problem = format!("time {text:?}: no time at all, so it would be over at once");
            Err(AmountError::new(problem, "write time as 90s, 10m or 1h30m"))
        }
        time => Ok(time),
    }
}

/// Reads a time that may be zero (`0`, `0s`).
///
/// # Errors
/// When the text is no whole number of microseconds.
pub fn parse_duration(text: &str) -> Result<TimeUs, AmountError> {
    amounts::parse_time(text)
        .map_err(|error| AmountError::new(format!("time {text:?}: {error}"), error.time_hint()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_reads_what_a_configuration_reads() {
        for text in ["0", "90s", "1h30m", "1.5h", "2d", "1d12h", "250ms"] {
            let read = amounts::parse_time(text).expect(text);
            assert_eq!(parse_duration(text), Ok(read), "{text}");
        }
        for text in ["0", "500k", "1.5M", "1_000", "total:5k", "in:1m", "out:7"] {
            let read = amounts::parse_tokens(text).expect(text);
            assert_eq!(parse_tokens(text), Ok(read), "{text}");
        }
    }

    #[test]
    fn an_error_shows_the_text_and_how_to_mend_it() {
        let shown = |error: AmountError| error.to_string();
        assert_eq!(
            parse_duration("10").map_err(shown),
            Err(
                "time \"10\": the unit is missing\n  hint: write time as 90s, 10m, 1h30m, 2d or \
                 500ms"
                    .to_owned()
            )
        );
        assert_eq!(
            parse_tokens("all:5").map_err(shown),
            Err(
                "tokens \"all:5\": nothing counts tokens that way\n  hint: write 500k (fresh: \
                 uncached input and output), total:500k, in:500k or out:500k"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_limit_of_time_is_not_zero() {
        for text in ["0", "0s", "0h0m"] {
            let error = parse_time(text).expect_err(text);
            assert!(error.problem().contains("no time at all"), "{error}");
        }
    }

    #[test]
    fn a_cost_eaten_by_the_shell_gets_the_hint_to_quote() {
        assert_eq!(parse_cost("$2.50"), Ok(Money::from_nanos(2_500_000_000)));
        assert_eq!(parse_cost("0"), Ok(Money::ZERO));
        let error = parse_cost(".50").expect_err("what is left of an unquoted $2.50");
        assert!(error.to_string().starts_with("cost \".50\": "));
        assert!(error.hint().contains("'$2.50'"));
    }
}
