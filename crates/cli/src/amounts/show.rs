//! Amounts in two or three digits, for people.

use fisc_core::{Money, TimeUs, Tokens};

const CENT_NANOS: u64 = 10_000_000;
const DOLLAR_NANOS: u64 = 1_000_000_000;

/// Shows tokens as `999`, `1.2k`, `342k`, `1.1M`.
pub fn show_tokens(tokens: Tokens) -> String {
    const SCALES: [(u64, &str); 4] = [
        (1, ""),
        (1_000, "k"),
        (1_000_000, "M"),
        (1_000_000_000, "B"),
    ];

    let sign = if tokens.0 < 0 { "-" } else { "" };
    let count = tokens.0.unsigned_abs();
    for (scale, suffix) in SCALES {
        let whole = rounded(count, scale);
        if scale == 1 && count < 1_000 {
            return format!("{sign}{count}");
        }
        // Two digits at least: 1.2k, but 12k and 342k. What rounds to ten has no decimal.
        let tenths = rounded(count, scale.div_ceil(10));
        if scale > 1 && tenths < 100 {
            return format!("{sign}{}.{}{suffix}", tenths / 10, tenths % 10);
        }
        if scale > 1 && (whole < 1_000 || scale == SCALES[SCALES.len() - 1].0) {
            return format!("{sign}{whole}{suffix}");
        }
    }
    unreachable!("the last scale takes every count")
}

/// Shows a time as `420ms`, `4.2s`, `12s`, `6m02s`, `10m`, `1h30m`.
pub fn show_duration(time: TimeUs) -> String {
    const MINUTE: u64 = 60;

    let sign = if time.0 < 0 { "-" } else { "" };
    let micros = time.0.unsigned_abs();
    let millis = rounded(micros, 1_000);
    let tenths = rounded(micros, 100_000);
    let seconds = rounded(micros, 1_000_000);
    let shown = match (millis, tenths) {
        (0, _) if micros == 0 => "0s".to_owned(),
        (0, _) => "<1ms".to_owned(),
        (..1_000, _) => format!("{millis}ms"),
        (_, ..100) if !tenths.is_multiple_of(10) => format!("{}.{}s", tenths / 10, tenths % 10),
        _ => match (
            seconds / MINUTE / MINUTE,
            seconds / MINUTE % MINUTE,
            seconds % MINUTE,
        ) {
            (0, 0, seconds) => format!("{seconds}s"),
            (0, minutes, 0) => format!("{minutes}m"),
            (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
            (hours, 0, _) => format!("{hours}h"),
            (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        },
    };
    format!("{sign}{shown}")
}

/// Shows a cost as `$1.71`, and below a cent with three digits at most: `$0.0042`.
pub fn show_cost(cost: Money) -> String {
    let sign = if cost.nanos() < 0 { "-" } else { "" };
    let nanos = cost.nanos().unsigned_abs();
    let mut unit = 1;
    while nanos / unit >= 1_000 && unit < CENT_NANOS {
        unit *= 10;
    }
    let unit = if nanos < CENT_NANOS { unit } else { CENT_NANOS };
    let nanos = rounded(nanos, unit) * unit;
    let fraction = format!("{:09}", nanos % DOLLAR_NANOS);
    let digits = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}${}.{}", nanos / DOLLAR_NANOS, &fraction[..digits])
}

/// Shows how many there are of something: `1 hold`, `2 holds`.
pub fn show_count(count: u64, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{count} {noun}")
}

/// Divides and rounds half up.
fn rounded(count: u64, scale: u64) -> u64 {
    count / scale + u64::from(count % scale >= scale.div_ceil(2) && scale > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_tokens_in_two_or_three_digits() {
        for (tokens, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (1_249, "1.2k"),
            (1_250, "1.3k"),
            (9_949, "9.9k"),
            (9_950, "10k"),
            (12_345, "12k"),
            (342_417, "342k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (1_100_000, "1.1M"),
            (500_000_000, "500M"),
            (12_000_000_000, "12B"),
            (-1_250, "-1.3k"),
            (i64::MAX, "9223372037B"),
        ] {
            assert_eq!(show_tokens(Tokens(tokens)), shown, "{tokens}");
        }
    }

    #[test]
    fn shows_times_in_two_units_at_most() {
        for (time_us, shown) in [
            (0, "0s"),
            (400, "<1ms"),
            (420_000, "420ms"),
            (999_600, "1s"),
            (4_200_000, "4.2s"),
            (5_000_000, "5s"),
            (12_345_678, "12s"),
            (59_600_000, "1m"),
            (362_000_000, "6m02s"),
            (600_000_000, "10m"),
            (5_400_000_000, "1h30m"),
            (14_520_000_000, "4h02m"),
            (86_400_000_000, "24h"),
            (-12_000_000, "-12s"),
        ] {
            assert_eq!(show_duration(TimeUs(time_us)), shown, "{time_us}");
        }
    }

    #[test]
    fn shows_cents_and_below_a_cent_three_digits() {
        for (nanos, shown) in [
            (0, "$0.00"),
            (1, "$0.000000001"),
            (4_200_000, "$0.0042"),
            (4_216_789, "$0.00422"),
            (9_999_600, "$0.01"),
            (50_000_000, "$0.05"),
            (1_714_999_999, "$1.71"),
            (1_715_000_000, "$1.72"),
            (2_000_000_000, "$2.00"),
            (-290_000_000, "-$0.29"),
            (i64::MAX, "$9223372036.85"),
        ] {
            assert_eq!(show_cost(Money::from_nanos(nanos)), shown, "{nanos}");
        }
    }
}
