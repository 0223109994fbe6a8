//! Single amounts from text.

use fisc_core::{Money, TimeUs, TokenCounting, Tokens};
use jiff::{SignedDuration, Span};

use super::AmountError;

/// What may stand before a number of tokens.
const COUNTINGS: [(&str, TokenCounting); 6] = [
    ("fresh", TokenCounting::Fresh),
    ("total", TokenCounting::Total),
    ("in", TokenCounting::Input),
    ("input", TokenCounting::Input),
    ("out", TokenCounting::Output),
    ("output", TokenCounting::Output),
];
const TOKENS_HINT: &str = "write tokens as 50000, 500k or 1.5M; total:500k, in:500k or out:500k \
                           count other tokens than fresh ones";
const TIME_HINT: &str = "write time as 90s, 10m or 1h30m";
const TIME_US_MAX_HINT: &str = "use at most 2562047788 hours";

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
pub fn parse_tokens(text: &str) -> Result<(Option<TokenCounting>, Tokens), AmountError> {
    let bad = |why: &str| AmountError::new(format!("tokens {text:?}: {why}"), TOKENS_HINT);
    let (counting, number) = match text.split_once(':') {
        None => (None, text),
        Some((name, number)) => {
            let known = COUNTINGS.iter().find(|(known, _)| *known == name);
            let (_, counting) = known.ok_or_else(|| bad("nothing is counted by that name"))?;
            (Some(*counting), number)
        }
    };
    let tokens = parse_count(number).map_err(bad)?;
    Ok((counting, Tokens(tokens)))
}

/// Reads a time that is longer than nothing: `90s`, `10m`, `1h30m`, `500ms`.
///
/// # Errors
/// As [`parse_duration`], and when the time is zero.
pub fn parse_time(text: &str) -> Result<TimeUs, AmountError> {
    match parse_duration(text)? {
        TimeUs(0) => {
            let problem = format!("time {text:?}: no time at all, so it would be over at once");
            Err(AmountError::new(problem, TIME_HINT))
        }
        time => Ok(time),
    }
}

/// Reads a time that may be zero (`0`, `0s`).
///
/// # Errors
/// When the text is no time, negative, finer than a microsecond, or in units that are not of
/// one length (days change with the clock, months with the calendar).
pub fn parse_duration(text: &str) -> Result<TimeUs, AmountError> {
    let bad = |why: &str, hint: &str| AmountError::new(format!("time {text:?}: {why}"), hint);
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(TimeUs(0));
    }
    if !trimmed.is_empty()
        && trimmed
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(bad("it has no unit", TIME_HINT));
    }
    let Ok(duration) = trimmed.parse::<SignedDuration>() else {
        return Err(if trimmed.parse::<Span>().is_ok() {
            bad(
                "days and longer have no fixed length, or it is too long",
                "use hours: 24h",
            )
        } else {
            bad("not a time", TIME_HINT)
        });
    };
    if duration.is_negative() {
        return Err(bad("it is negative", TIME_HINT));
    }
    if duration.subsec_nanos() % 1_000 != 0 {
        return Err(bad("it is finer than a microsecond", TIME_HINT));
    }
    let micros = i64::try_from(duration.as_micros());
    micros
        .map(TimeUs)
        .map_err(|_| bad("it is too long", TIME_US_MAX_HINT))
}

/// Reads a whole number, perhaps with `k`, `M` or `B` behind it, exactly.
fn parse_count(text: &str) -> Result<i64, &'static str> {
    const NOT_A_NUMBER: &str = "not a number";
    const FRACTION_DIGITS_MAX: usize = 9;

    let (number, scale) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'b' | b'B') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1_i128),
    };
    let number = number.replace('_', "");
    if number.starts_with('.') || number.starts_with("00") {
        return Err("a number cannot start with '.' or '00'");
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_point = number.ends_with('.');
    if whole.is_empty() || ends_in_point || !is_digits(whole) || !is_digits(fraction) {
        return Err(NOT_A_NUMBER);
    }
    if fraction.len() > FRACTION_DIGITS_MAX {
        return Err("not a whole number of tokens");
    }
    let whole: i64 = whole.parse().map_err(|_| "too many")?;
    let padded = format!("{fraction:0<FRACTION_DIGITS_MAX$}");
    let billionths: i128 = padded.parse().map_err(|_| NOT_A_NUMBER)?;
    let scaled = billionths * scale;
    if scaled % 1_000_000_000 != 0 {
        return Err("not a whole number of tokens");
    }
    i64::try_from(i128::from(whole) * scale + scaled / 1_000_000_000).map_err(|_| "too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tokens_exactly() {
        use TokenCounting::{Fresh, Input, Output, Total};
        for (text, counting, tokens) in [
            ("0", None, 0),
            ("1234", None, 1_234),
            ("500k", None, 500_000),
            ("500K", None, 500_000),
            ("500_000", None, 500_000),
            ("1.5M", None, 1_500_000),
            ("0.001k", None, 1),
            ("1.000000001B", None, 1_000_000_001),
            ("fresh:1k", Some(Fresh), 1_000),
            ("total:500k", Some(Total), 500_000),
            ("in:1m", Some(Input), 1_000_000),
            ("out:7", Some(Output), 7),
            ("output:7", Some(Output), 7),
            ("9223372036854775807", None, i64::MAX),
        ] {
            assert_eq!(parse_tokens(text), Ok((counting, Tokens(tokens))), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_count_of_tokens() {
        for (text, why) in [
            ("", "not a number"),
            ("k", "not a number"),
            ("-5", "not a number"),
            ("5.", "not a number"),
            ("1e3", "not a number"),
            ("5 k", "not a number"),
            ("5kk", "not a number"),
            ("５k", "not a number"),
            (".5k", "a number cannot start with '.' or '00'"),
            ("00", "a number cannot start with '.' or '00'"),
            ("1.5", "not a whole number of tokens"),
            ("1.2345k", "not a whole number of tokens"),
            ("1.0000000001B", "not a whole number of tokens"),
            ("9223372036854775808", "too many"),
            ("9223372036854775807k", "too many"),
            ("cached:5", "nothing is counted by that name"),
            ("total:", "not a number"),
        ] {
            let error = parse_tokens(text).expect_err(text);
            assert_eq!(error.problem(), format!("tokens {text:?}: {why}"));
            assert!(error.to_string().contains("\n  hint: write tokens as"));
        }
    }

    #[test]
    fn reads_times_as_people_write_them() {
        for (text, time_us) in [
            ("90s", 90_000_000),
            ("10m", 600_000_000),
            ("1h30m", 5_400_000_000),
            ("1.5h", 5_400_000_000),
            ("2s", 2_000_000),
            ("500ms", 500_000),
            ("1us", 1),
            ("PT10M", 600_000_000),
            ("1 hour 30 minutes", 5_400_000_000),
            (" 0s ", 0),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(TimeUs(time_us)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for (text, why) in [
            ("", "not a time"),
            ("soon", "not a time"),
            ("10", "it has no unit"),
            ("1.5", "it has no unit"),
            ("-5s", "it is negative"),
            ("5s ago", "it is negative"),
            (
                "1d",
                "days and longer have no fixed length, or it is too long",
            ),
            (
                "2mo",
                "days and longer have no fixed length, or it is too long",
            ),
            (
                "1y",
                "days and longer have no fixed length, or it is too long",
            ),
            ("1ns", "it is finer than a microsecond"),
            ("2562047789h", "it is too long"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert_eq!(error.problem(), format!("time {text:?}: {why}"));
        }
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
