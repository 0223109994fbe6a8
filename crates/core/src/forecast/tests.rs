//! Unit tests of the forecasts: here the plain linear one, and what all of them need.

mod course;
mod history;

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
fn check(past: Past, limit: Option<i64>, left: Option<i64>, expected: (Option<i64>, Option<i64>)) {
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

const SECOND: i64 = 1_000_000;

/// Seconds since some start.
fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

/// Numbers that look random and repeat.
struct Invented(u64);

impl Invented {
    fn below(&mut self, bound: i64) -> i64 {
        const FACTOR: u64 = 6_364_136_223_846_793_005;
        self.0 = self
            .0
            .wrapping_mul(FACTOR)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * bound as u128) >> 64) as i64
    }
}
