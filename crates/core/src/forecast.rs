//! Where spending leads: what will be spent at a horizon, and when a limit is reached.
//!
//! A forecast is an estimate and decides nothing: whoever shows one says so and names its method.
//! The horizon is a deadline, the end of a window, or what earlier runs of such agents still spent
//! when they had come as far; never the moment of exhaustion itself, which the forecast would then
//! assume in order to compute it.
//!
//! A [`Course`] keeps what was spent so far, a [`History`] what finished runs taught. Nothing here
//! reads a clock; floats are allowed because nothing here is booked.

mod calibration;
mod course;
mod history;
mod method;
mod mix;
mod profile;
mod state;
#[cfg(test)]
mod tests;

pub use course::Course;
pub use history::History;
pub use method::Method;
pub use profile::{Profile, Shape};

use crate::amount::{TimeUs, Timestamp};
use method::Question;

/// The fewest charged attempts on which a forecast rests: a rate of two calls is an accident.
const ATTEMPTS_MIN: u64 = 4;

/// What is expected, and between what it lies nine times in ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate<T> {
    /// The median of what is expected.
    pub point: T,
    /// From and to, for 90 %; `None` where fewer than 19 earlier runs are known, or the method has
    /// none.
    pub interval: Option<(T, T)>,
}

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

// === impl Course ===

impl Course {
    /// Returns the time from `now` until `need` more units are spent, by [`Method::Fisc`].
    /// Nothing needed takes no time. `None` with fewer than four calls, or where nothing was
    /// spent or no time has passed, so that there is no rate.
    pub fn time_to(
        &self,
        now: Timestamp,
        need: i64,
        history: Option<&History>,
    ) -> Option<Estimate<TimeUs>> {
        self.time_to_by(Method::Fisc, now, need, history)
    }

    /// Returns the same by some method; only [`Method::Fisc`] heeds the history.
    pub fn time_to_by(
        &self,
        method: Method,
        now: Timestamp,
        need: i64,
        history: Option<&History>,
    ) -> Option<Estimate<TimeUs>> {
        let question = Question::Time(need as f64);
        let found = self.answer(method, now, question, history)?;
        Some(found.map(|time| TimeUs(time as i64)))
    }

    /// Returns the units that will be spent from `now` on in the time that is `left`, by
    /// [`Method::Fisc`]; in no time, none. `None` as in [`Course::time_to`].
    pub fn total_in(
        &self,
        now: Timestamp,
        left: TimeUs,
        history: Option<&History>,
    ) -> Option<Estimate<i64>> {
        self.total_in_by(Method::Fisc, now, left, history)
    }

    /// Returns the same by some method; only [`Method::Fisc`] heeds the history.
    pub fn total_in_by(
        &self,
        method: Method,
        now: Timestamp,
        left: TimeUs,
        history: Option<&History>,
    ) -> Option<Estimate<i64>> {
        let question = Question::Units(left.0 as f64);
        let found = self.answer(method, now, question, history)?;
        Some(found.map(|units| units as i64))
    }

    /// Returns what will have been spent in all when an agent of this class stops by itself: what
    /// it spent, and what earlier runs that came as far still spent. `None` where fewer than five
    /// did.
    pub fn total_by_history(&self, history: &History) -> Option<Estimate<i64>> {
        history.total(self.calls(), self.spent())
    }

    /// Returns what the course looks like; `None` with fewer than eight calls, or where nothing
    /// was spent.
    pub fn shape(&self) -> Option<Shape> {
        Shape::new(&self.seen(self.started()))
    }

    fn answer(
        &self,
        method: Method,
        now: Timestamp,
        question: Question,
        history: Option<&History>,
    ) -> Option<Estimate<f64>> {
        let (Question::Time(ahead) | Question::Units(ahead)) = question;
        if ahead <= 0.0 {
            return Some(Estimate {
                point: 0.0,
                interval: None,
            });
        }
        if self.calls() < ATTEMPTS_MIN {
            return None;
        }
        let seen = self.seen(now);
        let calibration = history.and_then(|history| history.calibration(question));
        let calibrated = calibration
            .filter(|_| method == Method::Fisc)
            .and_then(|calibration| calibration.correct(&seen, question));
        calibrated.or_else(|| {
            Some(Estimate {
                point: method.ask(&seen, question)?,
                interval: None,
            })
        })
    }
}

// === impl Estimate ===

impl<T> Estimate<T> {
    fn map<U>(self, mut change: impl FnMut(T) -> U) -> Estimate<U> {
        Estimate {
            point: change(self.point),
            interval: self.interval.map(|(low, high)| (change(low), change(high))),
        }
    }
}

fn saturate(units: i128) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
