//! The methods by name, and their formulas: the time for more units, the units in more time.
//!
//! `linear` and `exponential` are the formulas everybody writes first, `predict_linear` is what
//! monitoring systems offer under that name, `ewma` follows the recent rate. They are kept as what
//! `fisc`, a mix, is measured against.

use super::course::Seen;
use super::mix;
use super::state::{State, states};

/// No rate is taken as lower than this part of the rate since the start.
const RATE_FLOOR: f64 = 0.02;

/// Calls grow to at most this many times what they are now: contexts are compacted.
const GROWTH_MOST: f64 = 1.5;

/// The exponent beyond which an exponential forecast says no more than "very much".
const EXPONENT_MOST: f64 = 50.0;

/// A way to forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// The mix of linear, recent and growing that earlier parts of the course speak for, corrected
    /// by earlier runs where there are some.
    #[default]
    Fisc,
    /// The mean rate since the start goes on.
    Linear,
    /// The line of least squares through the last half of the points goes on.
    PredictLinear,
    /// The recent rate, a running mean over calls, goes on.
    Ewma,
    /// What is spent grows by the same factor in the same time, as if it grew so from the start.
    Exponential,
}

/// What is asked of a method.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// In how many microseconds are so many more units spent?
    Time(f64),
    /// How many more units are spent in so many microseconds?
    Units(f64),
}

// === impl Method ===

impl Method {
    /// Every method.
    pub const ALL: [Method; 5] = [
        Method::Fisc,
        Method::Linear,
        Method::PredictLinear,
        Method::Ewma,
        Method::Exponential,
    ];

    /// Returns its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Fisc => "fisc",
            Method::Linear => "linear",
            Method::PredictLinear => "predict_linear",
            Method::Ewma => "ewma",
            Method::Exponential => "exponential",
        }
    }

    /// Returns the method of a name.
    pub fn by_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Answers from a course alone; `None` where its rate is 0 or beyond all measure.
    pub(super) fn ask(self, seen: &Seen, question: Question) -> Option<f64> {
        let last = seen.last();
        let elapsed = last.at + seen.idle;
        let overall = last.spent / elapsed;
        if !overall.is_finite() || overall <= 0.0 {
            return None;
        }
        let floored = |rate: f64| rate.max(RATE_FLOOR * overall);
        let answer = match self {
            Method::Fisc => mix::mix(&states(seen), question),
            Method::Linear => question.at_rate(overall),
            Method::PredictLinear => question.at_rate(floored(slope_of_last_half(seen))),
            Method::Ewma => {
                let waiting = (seen.idle - seen.recent_gap).max(0.0);
                let gap = seen.recent_gap + super::course::RECENT * waiting;
                question.at_rate(floored(seen.recent_units / gap.max(1.0)))
            }
            Method::Exponential => match question {
                Question::Time(need) => elapsed * (need / last.spent).ln_1p(),
                Question::Units(left) => last.spent * (left / elapsed).min(EXPONENT_MOST).exp_m1(),
            },
        };
        (answer.is_finite() && answer >= 0.0).then_some(answer)
    }
}

// === impl Question ===

impl Question {
    fn at_rate(self, rate: f64) -> f64 {
        match self {
            Question::Time(need) => need / rate,
            Question::Units(left) => left * rate,
        }
    }
}

/// Answers of the three methods of the mix at one state.
pub(super) fn members(state: &State, question: Question) -> [f64; 3] {
    let overall = state.rate();
    let recent = (state.units / state.gap.max(1.0)).max(RATE_FLOOR * overall);
    [
        question.at_rate(overall),
        question.at_rate(recent),
        growing(state, question),
    ]
}

/// Goes on call by call, each larger than the one before by as much as there is evidence for.
fn growing(state: &State, question: Question) -> f64 {
    let size = state.size.max(RATE_FLOOR * state.mean());
    let (growth, pace) = (state.growth, state.pace.max(1.0));
    let growing = if growth > 0.0 {
        (GROWTH_MOST - 1.0) * size / growth
    } else {
        0.0
    };
    let units = |calls: f64| size * calls + growth * calls * (calls + 1.0) / 2.0;
    let top = if growing > 0.0 {
        GROWTH_MOST * size
    } else {
        size
    };
    match question {
        Question::Time(need) if need >= units(growing) => {
            (growing + (need - units(growing)) / top) * pace
        }
        Question::Time(need) => {
            let half = size + growth / 2.0;
            // The smaller root, written so that a growth near 0 divides by no difference.
            let calls = 2.0 * need / (half + (half * half + 2.0 * growth * need).sqrt());
            calls * pace
        }
        Question::Units(left) => {
            let calls = left / pace;
            let first = calls.min(growing);
            units(first) + (calls - first) * top
        }
    }
}

/// Units a microsecond, by least squares of what was spent on time.
fn slope_of_last_half(seen: &Seen) -> f64 {
    let count = seen.points.len();
    let half = &seen.points[(count / 2).min(count.saturating_sub(3))..];
    let n = half.len() as f64;
    let mean_at = half.iter().map(|point| point.at).sum::<f64>() / n;
    let mean_spent = half.iter().map(|point| point.spent).sum::<f64>() / n;
    let (mut squares, mut products) = (0.0, 0.0);
    for point in half {
        squares += (point.at - mean_at).powi(2);
        products += (point.at - mean_at) * (point.spent - mean_spent);
    }
    if squares > 0.0 {
        products / squares
    } else {
        0.0
    }
}
