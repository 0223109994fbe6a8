//! Money as an integer of nano-dollars.
//!
//! One token at $0.02 per million is 20 nano-dollars, so micro-dollars would be too coarse; an
//! `i64` of nano-dollars reaches 9.2 billion dollars. Nothing here divides or rounds: that is
//! done once per operation where a price is applied.

use std::fmt;
use std::str::FromStr;

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// An amount of money in nano-dollars (10⁻⁹ USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// Says why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseMoneyError {
    /// Not a decimal number, with an optional leading `$`.
    NotANumber,
    /// Starts with `.` or `00`: most likely `$2.50` unquoted in a shell, which ate `$2`.
    EatenByShell,
    /// More than nine decimals: finer than a nano-dollar.
    TooFine,
    /// Does not fit 63 bits of nano-dollars.
    TooLarge,
}

// === impl Money ===

impl Money {
    /// No money.
    pub const ZERO: Money = Money(0);
    /// The largest representable amount.
    pub const MAX: Money = Money(i64::MAX);

    /// Makes an amount from nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Money {
        Money(nanos)
    }

    /// Returns the amount in nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Adds, or returns `None` when the sum does not fit.
    pub const fn checked_add(self, other: Money) -> Option<Money> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Money(sum)),
            None => None,
        }
    }

    /// Formats as a decimal number of dollars without a sign, exact, with no trailing zeros
    /// beyond cents: `2.50`, `0.0000123`.
    pub fn to_decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let whole = nanos / NANOS_PER_DOLLAR.unsigned_abs();
        let fraction = format!("{:09}", nanos % NANOS_PER_DOLLAR.unsigned_abs());
        let significant = fraction.trim_end_matches('0').len().max(2);
        format!("{sign}{whole}.{}", &fraction[..significant])
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_decimal();
        match text.strip_prefix('-') {
            Some(positive) => f.pad(&format!("-${positive}")),
            None => f.pad(&format!("${text}")),
        }
    }
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    /// Reads `2`, `2.50`, `$2.50`, `0.05`; never a float, so no amount is ever approximate.
    fn from_str(text: &str) -> Result<Money, ParseMoneyError> {
        let digits = text.strip_prefix('$').unwrap_or(text);
        if digits.starts_with('.') || digits.starts_with("00") {
            return Err(ParseMoneyError::EatenByShell);
        }
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let empty_fraction = digits.contains('.') && fraction.is_empty();
        if whole.is_empty() || empty_fraction || !all_digits(whole) || !all_digits(fraction) {
            return Err(ParseMoneyError::NotANumber);
        }
        if fraction.len() > DECIMALS {
            return Err(ParseMoneyError::TooFine);
        }
        let whole: i64 = whole.parse().map_err(|_| ParseMoneyError::TooLarge)?;
        let padded = format!("{fraction:0<DECIMALS$}");
        let nanos: i64 = padded.parse().map_err(|_| ParseMoneyError::NotANumber)?;
        whole
            .checked_mul(NANOS_PER_DOLLAR)
            .and_then(|base| base.checked_add(nanos))
            .map(Money)
            .ok_or(ParseMoneyError::TooLarge)
    }
}

// === impl ParseMoneyError ===

impl ParseMoneyError {
    /// Suggests how to mend the text.
    pub fn hint(&self) -> &'static str {
        match self {
            ParseMoneyError::EatenByShell => {
                "write 0.50 for fifty cents; a shell replaces $2 in $2.50 by nothing, \
                 so quote it: '$2.50'"
            }
            ParseMoneyError::NotANumber => "write dollars as 2, 2.50 or '$2.50'",
            ParseMoneyError::TooFine => "use at most nine decimals (a nano-dollar)",
            ParseMoneyError::TooLarge => "use at most 9223372036 dollars",
        }
    }
}

impl fmt::Display for ParseMoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseMoneyError::NotANumber => "not an amount of money",
            ParseMoneyError::EatenByShell => "an amount of money cannot start with '.' or '00'",
            ParseMoneyError::TooFine => "more than nine decimals",
            ParseMoneyError::TooLarge => "too much money to count in nano-dollars",
        })
    }
}

impl std::error::Error for ParseMoneyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for (text, nanos, shown) in [
            ("2", 2_000_000_000, "$2.00"),
            ("$2.50", 2_500_000_000, "$2.50"),
            ("0.05", 50_000_000, "$0.05"),
            ("0.000000001", 1, "$0.000000001"),
            ("9223372036.854775807", i64::MAX, "$9223372036.854775807"),
        ] {
            let money: Money = text.parse().expect(text);
            assert_eq!((money.nanos(), money.to_string().as_str()), (nanos, shown));
        }
    }

    #[test]
    fn refuses_what_is_no_exact_amount() {
        use ParseMoneyError::{EatenByShell, NotANumber, TooFine, TooLarge};
        for (text, error) in [
            (".50", EatenByShell),
            ("00", EatenByShell),
            ("", NotANumber),
            ("-1", NotANumber),
            ("2.", NotANumber),
            ("1e3", NotANumber),
            ("NaN", NotANumber),
            ("0.0000000001", TooFine),
            ("9223372036.854775808", TooLarge),
            ("99999999999999999999", TooLarge),
        ] {
            assert_eq!(text.parse::<Money>(), Err(error), "{text}");
        }
    }
}
