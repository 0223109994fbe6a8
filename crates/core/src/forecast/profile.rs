//! What a course looks like: even, in bursts, growing, or with a step.
//!
//! Three models of the logarithm of the size of a call (constant, a slope, one step) are compared
//! by the Bayesian information criterion; what the best one leaves tells bursts. A description for
//! people; no forecast depends on it.

use super::course::Seen;

/// The fewest points that have a profile.
const POINTS_MIN: usize = 8;

/// By how much a criterion must be better than the constant's: sizes depend on each other.
const MARGIN: f64 = 6.0;

/// A slope or step of less than this factor is none.
const FACTOR_MIN: f64 = 1.5;

/// From this standard deviation of the logarithm on, calls come in bursts.
const BURSTY: f64 = 0.6;

/// On each side of a step there are at least so many points.
const SIDE: usize = 3;

/// What a course of spending looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Calls of about the same size.
    Linear,
    /// Small and large calls.
    Bursty,
    /// Calls that grow, as when a context does.
    Exponential,
    /// From one call on, calls of another size.
    Step,
}

/// A profile, and what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The profile.
    pub profile: Profile,
    /// The last call by the first one, on the fitted slope.
    pub growth: f64,
    /// Calls after the best step by those before it.
    pub step: f64,
    /// After how many calls that step was.
    pub step_after: u64,
    /// The standard deviation of the logarithm of the size, after what the profile explains.
    pub variation: f64,
}

// === impl Profile ===

impl Profile {
    /// Returns its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Linear => "linear",
            Profile::Bursty => "bursty",
            Profile::Exponential => "exponential",
            Profile::Step => "step",
        }
    }
}

// === impl Shape ===

impl Shape {
    pub(super) fn new(seen: &Seen) -> Option<Shape> {
        let sizes = sizes(seen);
        if sizes.len() < POINTS_MIN {
            return None;
        }
        let n = sizes.len() as f64;
        let total = squares(&sizes);
        let (slope, sloped) = slope(&sizes, total);
        let (after, height, stepped) = step(&sizes);
        let growth = (slope * (n - 1.0)).exp();
        let step = height.exp();
        let criterion = |rest: f64, numbers: f64| n * (rest / n).max(1e-6).ln() + numbers * n.ln();
        let even = criterion(total, 1.0) - MARGIN;
        let (of_slope, of_step) = (criterion(sloped, 2.0), criterion(stepped, 3.0));
        let (explained, rest) = if of_slope < even.min(of_step) && growth >= FACTOR_MIN {
            (Profile::Exponential, sloped)
        } else if of_step < even && step.max(1.0 / step) >= FACTOR_MIN {
            (Profile::Step, stepped)
        } else {
            (Profile::Linear, total)
        };
        let variation = (rest / n).sqrt();
        let profile = if variation >= BURSTY {
            Profile::Bursty
        } else {
            explained
        };
        Some(Shape {
            profile,
            growth,
            step,
            step_after: seen.points[after - 1].calls as u64,
            variation,
        })
    }
}

/// The logarithms of the sizes of calls; nothing counts as a hundredth of the mean.
fn sizes(seen: &Seen) -> Vec<f64> {
    let last = seen.last();
    let least = last.spent / last.calls.max(1.0) / 100.0;
    if least <= 0.0 {
        return Vec::new();
    }
    let mut before = (0.0, 0.0);
    let size = |point: &super::course::Point| {
        let calls = (point.calls - before.0).max(1.0);
        let units = (point.spent - before.1) / calls;
        before = (point.calls, point.spent);
        units.max(least).ln()
    };
    seen.points.iter().map(size).collect()
}

/// The sum of squares around the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The slope by index, and the sum of squares that it leaves of the total one.
fn slope(values: &[f64], total: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let (middle, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let products: f64 = values
        .iter()
        .enumerate()
        .map(|(index, value)| (index as f64 - middle) * (value - mean))
        .sum();
    let spread = n * (n * n - 1.0) / 12.0;
    (
        products / spread,
        (total - products * products / spread).max(0.0),
    )
}

/// The best step: how many values before it, its height, and the sum of squares that it leaves.
fn step(values: &[f64]) -> (usize, f64, f64) {
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let steps = (SIDE..=values.len() - SIDE).map(|after| {
        let (low, high) = values.split_at(after);
        (after, mean(high) - mean(low), squares(low) + squares(high))
    });
    steps
        .min_by(|one, other| one.2.total_cmp(&other.2))
        .unwrap_or((SIDE, 0.0, squares(values)))
}
