//! `--since`: from which hour on a report tells of calls.
//!
//! Sums are kept by the hour, so a time between two hours means the whole of its hour.

use fisc_core::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::amounts::parse_duration;
use crate::failure::Failure;

const HOUR_US: i64 = 3_600_000_000;
const HINT: &str = "write a time ago as 90m, 24h or 7d, or a UTC date or time as 2026-11-20 or \
                    2026-11-20T15:00Z";

/// The first hour that a report tells of, in hours since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// In hours since 1970.
    pub hour: i64,
}

// === impl Since ===

impl Since {
    /// Reads what was typed, at a time.
    pub fn parse(text: &str, now: Timestamp) -> Result<Since, Failure> {
        let at = match parse_duration(text).ok() {
            Some(span) => Timestamp(now.0.saturating_sub(span.0)),
            None => moment(text).ok_or_else(|| {
                Failure::usage(format!("--since: {text:?} is no time")).hint(HINT)
            })?,
        };
        if at > now {
            return Err(Failure::usage(format!("--since: {text:?} is not past yet")).hint(HINT));
        }
        let hour = at.0.div_euclid(HOUR_US);
        Ok(Since { hour })
    }

    /// Says whether a time is in its first hour or later.
    pub fn covers(self, at: Timestamp) -> bool {
        at.0.div_euclid(HOUR_US) >= self.hour
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let date = || text.parse::<Date>().ok();
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        // A date alone; one with a time must say whose time it is.
        Err(_) if text.contains([':', 'T', 't', ' ']) => return None,
        Err(_) => TimeZone::UTC.to_timestamp(date()?.at(0, 0, 0, 0)).ok()?,
    };
    Some(Timestamp(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T18:57:01Z.
    const NOW: Timestamp = Timestamp(1_795_460_221_000_000);

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let since = Since::parse(text, NOW).expect("a time");
        let at = jiff::Timestamp::from_second(since.hour * 3600).expect("in range");
        assert_eq!(at.to_string(), expected, "{text}");
    }

    #[test]
    fn a_time_means_the_whole_of_its_hour() {
        check("0", "2026-11-23T18:00:00Z");
        check("57m", "2026-11-23T18:00:00Z");
        check("58m", "2026-11-23T17:00:00Z");
        check("24h", "2026-11-22T18:00:00Z");
        check("7d", "2026-11-16T18:00:00Z");
        check("2026-11-20", "2026-11-20T00:00:00Z");
        check("2026-11-20T15:30Z", "2026-11-20T15:00:00Z");
        check("2026-11-20T15:30:10+02:00", "2026-11-20T13:00:00Z");
    }

    #[test]
    fn what_is_no_past_time_is_told_with_right_ones() {
        for (text, expected) in [
            ("yesterday", "error: --since: \"yesterday\" is no time"),
            ("-1d", "error: --since: \"-1d\" is no time"),
            (
                "2026-11-20T15:30",
                "error: --since: \"2026-11-20T15:30\" is no time",
            ),
            (
                "2026-11-24",
                "error: --since: \"2026-11-24\" is not past yet",
            ),
        ] {
            let failure = Since::parse(text, NOW).expect_err("refused");
            let told = failure.to_string();
            assert_eq!(told, format!("{expected}\n\nhint: {HINT}"));
            assert_eq!(failure.code(), crate::exit::USAGE);
        }
    }
}
