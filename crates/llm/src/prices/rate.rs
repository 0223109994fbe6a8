//! Rates as integers, read from decimal text; never through a float.
//!
//! One dollar per million tokens is one million pico-dollars per token, so a price with at most
//! six decimals is exact. Does not know models or token classes.

use std::fmt;

use fisc_core::{Money, OutOfRange};

/// Decimals of a price per million tokens, and of a multiplier.
const DECIMALS: usize = 6;
/// Parts per million in a multiplier of one.
pub(crate) const ONE_PPM: i64 = 1_000_000;

const FEMTOS_PER_PICO: i128 = 1_000;
const FEMTOS_PER_NANO: i128 = 1_000_000;

/// A price of one token in pico-dollars (10⁻¹² USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoUsdPerToken(i64);

/// Says why a text is no exact, non-negative decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with an optional decimal point.
    #[error("not a decimal number")]
    NotANumber,
    /// Below zero.
    #[error("below zero")]
    Negative,
    /// More than six decimals.
    #[error("more than six decimals")]
    TooFine,
    /// Too many digits before the point.
    #[error("too large")]
    TooLarge,
}

/// How an exact sum becomes whole nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// A hold: never less than the sum.
    Up,
    /// A settlement: nearest, ties to even.
    HalfEven,
}

/// An exact, checked sum of charges in femto-dollars (10⁻¹⁵ USD), rounded once at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum(i128);

// === impl PicoUsdPerToken ===

impl PicoUsdPerToken {
    /// Costs nothing.
    pub const ZERO: PicoUsdPerToken = PicoUsdPerToken(0);

    /// Makes a rate from pico-dollars, `None` below zero.
    pub const fn from_pico(pico: i64) -> Option<PicoUsdPerToken> {
        if pico < 0 {
            None
        } else {
            Some(PicoUsdPerToken(pico))
        }
    }

    /// Returns the pico-dollars of one token.
    pub const fn pico(self) -> i64 {
        self.0
    }

    /// Reads dollars per million tokens: `0.15`, `2.50`, `$3`.
    pub fn from_usd_per_mtok(text: &str) -> Result<PicoUsdPerToken, DecimalError> {
        parse_millionths(text.strip_prefix('$').unwrap_or(text)).map(PicoUsdPerToken)
    }

    /// Formats as dollars per million tokens, exact, at least two decimals: `0.15`.
    pub fn usd_per_mtok(self) -> String {
        show_millionths(self.0)
    }
}

impl fmt::Display for PicoUsdPerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("${}/Mtok", self.usd_per_mtok()))
    }
}

// === impl DecimalError ===

impl DecimalError {
    /// Suggests how to mend the text.
    pub fn hint(self) -> &'static str {
        match self {
            DecimalError::NotANumber => "write a decimal number in quotes, as \"0.15\"",
            DecimalError::Negative => "a price is at least \"0\"",
            DecimalError::TooFine => "use at most six decimals (a pico-dollar per token)",
            DecimalError::TooLarge => "use dollars per million tokens",
        }
    }
}

// === impl Sum ===

impl Sum {
    pub(crate) const ZERO: Sum = Sum(0);

    pub(crate) fn tokens(self, tokens: u64, rate: PicoUsdPerToken) -> Result<Sum, OutOfRange> {
        let pico = i128::from(tokens)
            .checked_mul(i128::from(rate.0))
            .ok_or(OutOfRange)?;
        self.add(pico.checked_mul(FEMTOS_PER_PICO))
    }

    pub(crate) fn units(self, units: u64, each: Money) -> Result<Sum, OutOfRange> {
        let nanos = i128::from(units)
            .checked_mul(i128::from(each.nanos()))
            .ok_or(OutOfRange)?;
        self.add(nanos.checked_mul(FEMTOS_PER_NANO))
    }

    /// A nano-dollar per second for a microsecond is a femto-dollar.
    pub(crate) fn time(self, micros: i64, per_second: Money) -> Result<Sum, OutOfRange> {
        let micros = i128::from(micros.max(0));
        self.add(micros.checked_mul(i128::from(per_second.nanos())))
    }

    /// Multiplies by parts per million and rounds to nano-dollars.
    pub(crate) fn round(self, ppm: i64, rounding: Rounding) -> Result<Money, OutOfRange> {
        const DIVISOR: i128 = FEMTOS_PER_NANO * ONE_PPM as i128;
        let scaled = self.0.checked_mul(i128::from(ppm)).ok_or(OutOfRange)?;
        let (whole, rest) = (scaled.div_euclid(DIVISOR), scaled.rem_euclid(DIVISOR));
        let up = match rounding {
            Rounding::Up => rest > 0,
            Rounding::HalfEven if rest * 2 == DIVISOR => whole.rem_euclid(2) == 1,
            Rounding::HalfEven => rest * 2 > DIVISOR,
        };
        let nanos = i64::try_from(whole + i128::from(up)).map_err(|_| OutOfRange)?;
        Ok(Money::from_nanos(nanos))
    }

    /// Returns how many steps may be added so that the sum, multiplied and rounded up, is within
    /// `money`: `None` when not even the sum is, `u64::MAX` when a step costs nothing.
    pub(crate) fn steps_within(self, step: Sum, ppm: i64, money: Money) -> Option<u64> {
        let Sum(room) = Sum::ZERO.units(1, money).ok()?;
        let room = room * i128::from(ONE_PPM);
        if ppm == 0 {
            return (room >= 0).then_some(u64::MAX);
        }
        let left = room.div_euclid(i128::from(ppm)) - self.0;
        if left < 0 {
            return None;
        }
        if step.0 <= 0 {
            return Some(u64::MAX);
        }
        Some(u64::try_from(left / step.0).unwrap_or(u64::MAX))
    }

    fn add(self, femtos: Option<i128>) -> Result<Sum, OutOfRange> {
        femtos
            .and_then(|femtos| self.0.checked_add(femtos))
            .map(Sum)
            .ok_or(OutOfRange)
    }
}

/// Reads a decimal with at most six decimals as an integer of millionths.
pub(crate) fn parse_millionths(text: &str) -> Result<i64, DecimalError> {
    if text.starts_with('-') {
        return Err(DecimalError::Negative);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(DecimalError::NotANumber),
        Some(parts) => parts,
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(DecimalError::NotANumber);
    }
    if fraction.len() > DECIMALS {
        return Err(DecimalError::TooFine);
    }
    format!("{whole}{fraction:0<DECIMALS$}")
        .parse()
        .map_err(|_| DecimalError::TooLarge)
}

/// Writes an integer of millionths as a decimal with at least two decimals.
pub(crate) fn show_millionths(millionths: i64) -> String {
    let fraction = format!("{:06}", millionths % ONE_PPM);
    let significant = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", millionths / ONE_PPM, &fraction[..significant])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for (text, pico, shown) in [
            ("0.15", 150_000, "0.15"),
            ("$3", 3_000_000, "3.00"),
            ("0.041666", 41_666, "0.041666"),
            ("0.000001", 1, "0.000001"),
            ("9223372036854.775807", i64::MAX, "9223372036854.775807"),
        ] {
            let rate = PicoUsdPerToken::from_usd_per_mtok(text).expect(text);
            assert_eq!((rate.pico(), rate.usd_per_mtok().as_str()), (pico, shown));
        }
    }

    #[test]
    fn refuses_what_is_no_exact_rate() {
        use DecimalError::{Negative, NotANumber, TooFine, TooLarge};
        for (text, error) in [
            ("", NotANumber),
            ("NaN", NotANumber),
            ("1e3", NotANumber),
            ("1.", NotANumber),
            (".5", NotANumber),
            ("+1", NotANumber),
            ("-0.1", Negative),
            ("0.0000001", TooFine),
            ("9223372036854.775808", TooLarge),
            ("99999999999999999999", TooLarge),
        ] {
            assert_eq!(
                PicoUsdPerToken::from_usd_per_mtok(text),
                Err(error),
                "{text}"
            );
        }
    }

    #[test]
    fn rounds_once_up_or_half_even() {
        let sum = |femtos: i128| Sum(femtos);
        for (femtos, up, half_even) in [
            (0, 0, 0),
            (1, 1, 0),
            (500_000, 1, 0),
            (500_001, 1, 1),
            (1_500_000, 2, 2),
            (2_500_000, 3, 2),
            (3_000_000, 3, 3),
        ] {
            let round = |rounding| sum(femtos).round(ONE_PPM, rounding).expect("fits").nanos();
            assert_eq!(
                (round(Rounding::Up), round(Rounding::HalfEven)),
                (up, half_even)
            );
        }
    }

    #[test]
    fn never_wraps() {
        let dear = PicoUsdPerToken(i64::MAX);
        assert_eq!(Sum::ZERO.tokens(u64::MAX, dear), Err(OutOfRange));
        let much = Sum::ZERO
            .tokens(u64::MAX, PicoUsdPerToken(1))
            .expect("fits");
        assert!(much.round(ONE_PPM, Rounding::Up).is_ok());
        assert_eq!(much.round(i64::MAX, Rounding::Up), Err(OutOfRange));
        let money = Sum::ZERO.units(2, Money::MAX).expect("fits the sum");
        assert_eq!(money.round(ONE_PPM, Rounding::Up), Err(OutOfRange));
    }
}
