//! Amounts as people write them: `500k` tokens, `1h30m`, `5%`.
//!
//! Read exactly, in integers: what is no whole token or microsecond is an error, never rounded.
//! Money reads itself (`fisc_core::Money`).

use std::fmt;

use fisc_core::{Permille, TimeUs, TokenCounting, Tokens};

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountError {
    /// Not a number, or not of the expected form.
    NotANumber,
    /// Starts with `.` or `00`: most likely a `$` that a shell replaced.
    EatenByShell,
    /// The unit is missing.
    NoUnit,
    /// The unit is unknown.
    UnknownUnit,
    /// The units do not go from large to small.
    UnitOrder,
    /// Finer than the smallest unit: a token, a microsecond, a tenth of a percent.
    TooFine,
    /// Larger than can be counted.
    TooLarge,
    /// More than the whole.
    AboveWhole,
    /// What comes before the `:` counts no tokens.
    UnknownCounting,
}

/// A limit of tokens, and what counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenAmount {
    /// What counts; `None` when the text does not say.
    pub counting: Option<TokenCounting>,
    /// How many.
    pub tokens: Tokens,
}

/// Units of time, from large to small, in microseconds.
const TIME_UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

/// Reads `500000`, `500k`, `1.5M`, and with what counts before it: `total:`, `in:`, `out:` or
/// `fresh:`.
///
/// # Errors
/// When the text is no whole number of tokens.
pub fn parse_tokens(text: &str) -> Result<TokenAmount, AmountError> {
    let (counting, number) = match text.split_once(':') {
        None => (None, text),
        Some((counting, number)) => {
            let counting = match counting {
                "fresh" => TokenCounting::Fresh,
                "total" => TokenCounting::Total,
                "in" => TokenCounting::Input,
                "out" => TokenCounting::Output,
                _ => return Err(AmountError::UnknownCounting),
            };
            (Some(counting), number)
        }
    };
    let (number, unit) = split_unit(number);
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" | "b" | "B" => 1_000_000_000,
        _ if number.is_empty() => return Err(AmountError::NotANumber),
        _ => return Err(AmountError::UnknownUnit),
    };
    Ok(TokenAmount {
        counting,
        tokens: Tokens(scaled(number, factor)?),
    })
}

/// Reads `90s`, `10m`, `1h30m`, `1.5h`, `250ms`, `2d`; a number without a unit only if it is 0.
///
/// # Errors
/// When the text is no whole number of microseconds.
pub fn parse_time(text: &str) -> Result<TimeUs, AmountError> {
    if text == "0" {
        return Ok(TimeUs(0));
    }
    let (mut rest, mut total, mut units) = (text, 0_i64, TIME_UNITS.as_slice());
    while !rest.is_empty() || total == 0 {
        let (number, tail) = split_unit(rest);
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if number.is_empty() {
            return Err(AmountError::NotANumber);
        }
        if unit.is_empty() {
            return Err(if tail.is_empty() {
                AmountError::NoUnit
            } else {
                AmountError::NotANumber
            });
        }
        let known = TIME_UNITS.iter().any(|(name, _)| *name == unit);
        let at = units.iter().position(|(name, _)| *name == unit);
        let at = at.ok_or(if known {
            AmountError::UnitOrder
        } else {
            AmountError::UnknownUnit
        })?;
        let span = scaled(number, units[at].1)?;
        total = total.checked_add(span).ok_or(AmountError::TooLarge)?;
        units = &units[at + 1..];
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    Ok(TimeUs(total))
}

/// Reads `5%`, `2.5%`, `0`.
///
/// # Errors
/// When the text is no whole number of tenths of a percent, or more than 100 %.
pub fn parse_share(text: &str) -> Result<Permille, AmountError> {
    let number = match text.strip_suffix('%') {
        Some(number) => number.trim_end(),
        None if text == "0" => text,
        None => return Err(AmountError::NoUnit),
    };
    let share = u16::try_from(scaled(number, 10)?).map_err(|_| AmountError::AboveWhole)?;
    if share > Permille::ONE.0 {
        Err(AmountError::AboveWhole)
    } else {
        Ok(Permille(share))
    }
}

// === impl AmountError ===

impl AmountError {
    /// Suggests how to write an amount of tokens.
    pub fn tokens_hint(self) -> &'static str {
        match self {
            AmountError::UnknownCounting => {
                "write 500k (fresh: uncached input and output), total:500k, in:500k or out:500k"
            }
            AmountError::EatenByShell => "start the number with one digit: 0.5M",
            _ => "write tokens as 500000, 500k or 1.5M",
        }
    }

    /// Suggests how to write a time.
    pub fn time_hint(self) -> &'static str {
        "write time as 90s, 10m, 1h30m, 2d or 500ms"
    }

    /// Suggests how to write a share.
    pub fn share_hint(self) -> &'static str {
        "write a share as 5% or 2.5%, at most 100%"
    }
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AmountError::NotANumber => "not a number of the expected form",
            AmountError::EatenByShell => "a number cannot start with '.' or '00'",
            AmountError::NoUnit => "the unit is missing",
            AmountError::UnknownUnit => "the unit is unknown",
            AmountError::UnitOrder => "units go from large to small, each once",
            AmountError::TooFine => "finer than can be counted",
            AmountError::TooLarge => "larger than can be counted",
            AmountError::AboveWhole => "more than 100%",
            AmountError::UnknownCounting => "nothing counts tokens that way",
        })
    }
}

impl std::error::Error for AmountError {}

fn split_unit(text: &str) -> (&str, &str) {
    let digit = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    text.split_at(text.find(|c| !digit(c)).unwrap_or(text.len()))
}

/// Multiplies a decimal number by a factor, exactly.
fn scaled(number: &str, factor: i64) -> Result<i64, AmountError> {
    if number.starts_with('.') || number.starts_with("00") {
        return Err(AmountError::EatenByShell);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| {
        let edges = part.starts_with('_') || part.ends_with('_');
        let valid = part
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
        (valid && !edges && !part.is_empty()).then(|| part.replace('_', ""))
    };
    let whole = digits(whole).ok_or(AmountError::NotANumber)?;
    let fraction = digits(fraction).ok_or(AmountError::NotANumber)?;
    let fraction = fraction.trim_end_matches('0');
    let whole: i64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
    let mut rest = 0_i64;
    if !fraction.is_empty() {
        let scale = 10_i128
            .checked_pow(fraction.len() as u32)
            .ok_or(AmountError::TooFine)?;
        let digits: i128 = fraction.parse().map_err(|_| AmountError::TooFine)?;
        let product = digits
            .checked_mul(i128::from(factor))
            .ok_or(AmountError::TooFine)?;
        if product % scale != 0 {
            return Err(AmountError::TooFine);
        }
        rest = i64::try_from(product / scale).map_err(|_| AmountError::TooLarge)?;
    }
    let whole = whole
        .checked_mul(factor)
        .and_then(|whole| whole.checked_add(rest));
    whole.ok_or(AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_exactly() {
        for (text, tokens) in [
            ("0", 0),
            ("500", 500),
            ("500k", 500_000),
            ("1.5M", 1_500_000),
            ("1_000_000", 1_000_000),
            ("0.001k", 1),
            ("2B", 2_000_000_000),
            ("9223372036854775807", i64::MAX),
        ] {
            let expected = TokenAmount {
                counting: None,
                tokens: Tokens(tokens),
            };
            assert_eq!(parse_tokens(text), Ok(expected), "{text}");
        }
        let total = TokenAmount {
            counting: Some(TokenCounting::Total),
            tokens: Tokens(5000),
        };
        assert_eq!(parse_tokens("total:5k"), Ok(total));
    }

    #[test]
    fn what_is_no_whole_number_of_tokens_is_refused() {
        for (text, error) in [
            ("", AmountError::NotANumber),
            ("k", AmountError::NotANumber),
            ("-1", AmountError::NotANumber),
            ("1e6", AmountError::UnknownUnit),
            ("1.5", AmountError::TooFine),
            ("1.0005k", AmountError::TooFine),
            ("1.2.3k", AmountError::NotANumber),
            ("1.k", AmountError::NotANumber),
            ("_1", AmountError::NotANumber),
            (".5M", AmountError::EatenByShell),
            ("005", AmountError::EatenByShell),
            ("5kk", AmountError::UnknownUnit),
            ("5 k", AmountError::UnknownUnit),
            ("all:5k", AmountError::UnknownCounting),
            ("9223372036854775808", AmountError::TooLarge),
            ("9223372036854776k", AmountError::TooLarge),
            (
                "0.00000000000000000000000000000000000000000000001k",
                AmountError::TooFine,
            ),
        ] {
            assert_eq!(parse_tokens(text), Err(error), "{text}");
        }
    }

    #[test]
    fn time_is_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000_000),
            ("10m", 600_000_000),
            ("1h30m", 5_400_000_000),
            ("1.5h", 5_400_000_000),
            ("2d", 172_800_000_000),
            ("250ms", 250_000),
            ("1m0s1ms", 60_001_000),
            ("0m5s", 5_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(TimeUs(micros)), "{text}");
        }
        for (text, error) in [
            ("", AmountError::NotANumber),
            ("90", AmountError::NoUnit),
            ("1h30", AmountError::NoUnit),
            ("s", AmountError::NotANumber),
            ("5x", AmountError::UnknownUnit),
            ("30m1h", AmountError::UnitOrder),
            ("1m1m", AmountError::UnitOrder),
            ("-5s", AmountError::NotANumber),
            ("0.0001ms", AmountError::TooFine),
            ("999999999999999d", AmountError::TooLarge),
            ("1h ", AmountError::NotANumber),
            ("5 s", AmountError::NotANumber),
        ] {
            assert_eq!(parse_time(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_share_is_tenths_of_a_percent() {
        for (text, share) in [
            ("5%", 50),
            ("2.5%", 25),
            ("0", 0),
            ("0%", 0),
            ("100 %", 1000),
        ] {
            assert_eq!(parse_share(text), Ok(Permille(share)), "{text}");
        }
        for (text, error) in [
            ("5", AmountError::NoUnit),
            ("100.1%", AmountError::AboveWhole),
            ("99999999%", AmountError::AboveWhole),
            ("0.05%", AmountError::TooFine),
            ("x%", AmountError::NotANumber),
        ] {
            assert_eq!(parse_share(text), Err(error), "{text}");
        }
    }
}
