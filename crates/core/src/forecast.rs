//! Where spending leads: what will be spent at a horizon, and when a limit is reached.
//!
//! A forecast is an estimate and decides nothing: whoever shows one says so and names its method.
//! The horizon is a deadline or the end of a window, never the moment of exhaustion itself, which
//! the forecast would then assume in order to compute it.

use crate::amount::TimeUs;

/// The fewest charged attempts on which a forecast rests: a rate of two calls is an accident.
const ATTEMPTS_MIN: u64 = 4;

/// What a forecast rests on: one resource of one budget, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// What was spent, in the resource's raw units.
    pub spent: i64,
    /// By how many charged attempts.
    pub attempts: u64,
    /// In which time.
    pub elapsed: TimeUs,
}

/// Where the spending of one resource of one budget leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// What will be spent at the horizon, in the resource's raw units; `None` without a horizon.
    pub at_horizon: Option<i64>,
    /// How long until the limit is spent; `None` without a limit, or while nothing is spent.
    pub limit_in: Option<TimeUs>,
}

// === impl Forecast ===

impl Forecast {
    /// The name of the method of [`Forecast::linear`], for reports.
    pub const LINEAR: &'static str = "linear";

    /// Goes on at the mean rate so far, towards a limit and for the time that is `left` until the
    /// horizon. Returns `None` where the past is too short to say anything.
    pub fn linear(past: &Past, limit: Option<i64>, left: Option<TimeUs>) -> Option<Forecast> {
        if past.attempts < ATTEMPTS_MIN || past.elapsed.0 <= 0 {
            return None;
        }
        let (spent, elapsed) = (i128::from(past.spent.max(0)), i128::from(past.elapsed.0));
        let more = |left: TimeUs| spent * i128::from(left.0.max(0)) / elapsed;
        let until = |limit: i64| {
            let need = i128::from(limit) - spent;
            match spent {
                _ if need <= 0 => Some(0),
                0 => None,
                spent => Some(need * elapsed / spent),
            }
        };
        Some(Forecast {
            at_horizon: left.map(|left| saturate(spent + more(left))),
            limit_in: limit.and_then(until).map(|time| TimeUs(saturate(time))),
        })
    }
}

fn saturate(units: i128) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn past(spent: i64, minutes: i64) -> Past {
        Past {
            spent,
            attempts: ATTEMPTS_MIN,
            elapsed: TimeUs(minutes * MINUTE),
        }
    }

    /// Forecasts with times in minutes, rounded down.
    #[track_caller]
    fn check(
        past: Past,
        limit: Option<i64>,
        left: Option<i64>,
        expected: (Option<i64>, Option<i64>),
    ) {
        let left = left.map(|minutes| TimeUs(minutes * MINUTE));
        let found = Forecast::linear(&past, limit, left).expect("a forecast");
        let minutes = found.limit_in.map(|time| time.0 / MINUTE);
        assert_eq!((found.at_horizon, minutes), expected);
    }

    #[test]
    fn goes_on_at_the_rate_so_far() {
        check(past(30, 10), Some(100), Some(20), (Some(90), Some(23)));
        check(past(30, 10), Some(100), None, (None, Some(23)));
        check(past(30, 10), None, Some(20), (Some(90), None));
        check(past(30, 10), None, None, (None, None));
    }

    #[test]
    fn what_is_spent_or_over_stays_so() {
        check(past(100, 10), Some(100), Some(0), (Some(100), Some(0)));
        check(past(120, 10), Some(100), Some(-5), (Some(120), Some(0)));
        check(past(0, 10), Some(0), Some(5), (Some(0), Some(0)));
        check(past(0, 10), Some(100), Some(5), (Some(0), None));
    }

    #[test]
    fn a_short_past_says_nothing() {
        let few = Past {
            attempts: ATTEMPTS_MIN - 1,
            ..past(30, 10)
        };
        assert_eq!(Forecast::linear(&few, Some(100), None), None);
        assert_eq!(Forecast::linear(&past(30, 0), Some(100), None), None);
    }

    #[test]
    fn the_largest_amounts_do_not_wrap() {
        let huge = Past {
            spent: i64::MAX,
            attempts: u64::MAX,
            elapsed: TimeUs(1),
        };
        let left = Some(TimeUs(i64::MAX));
        let found = Forecast::linear(&huge, Some(i64::MAX), left).expect("a forecast");
        assert_eq!(found.at_horizon, Some(i64::MAX));
        let slow = Past {
            spent: 1,
            elapsed: TimeUs(i64::MAX),
            ..huge
        };
        let found = Forecast::linear(&slow, Some(i64::MAX), None).expect("a forecast");
        assert_eq!(found.limit_in, Some(TimeUs(i64::MAX)));
    }
}
