//! The state of a course at each of its points, as the methods of the mix need it.
//!
//! The steps between two points are treated as calls of their mean size: up to 63 calls they are
//! the calls themselves.

use super::course::{Point, RECENT, Seen};

/// Evidence for growth counts half when its slope is so many standard errors from 0. High, as the
/// sizes of an agent's calls depend on each other, which makes standard errors too small.
const GROWTH_EVIDENCE: f64 = 5.0;

/// A gap between calls counts for at most so many medians: a pause of minutes says little about
/// the pauses to come.
const GAP_MEDIANS: f64 = 6.0;

/// How much of the pace is the mean over all gaps; the rest is the running mean.
const PACE_ALL: f64 = 0.75;

/// What is known when a point is the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) at: Point,
    /// Running means: units a call, microseconds between two.
    pub(super) units: f64,
    pub(super) gap: f64,
    /// The expected time from one call to the next.
    pub(super) pace: f64,
    /// Expected units of a call now, and by how many the next one is larger.
    pub(super) size: f64,
    pub(super) growth: f64,
}

/// Sums of least squares of the size of a call on its number.
#[derive(Default)]
struct Fit {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

/// Returns the state at every point, in their order.
pub(super) fn states(seen: &Seen) -> Vec<State> {
    let mut states: Vec<State> = Vec::with_capacity(seen.points.len());
    let mut gaps: Vec<f64> = Vec::with_capacity(seen.points.len());
    let mut fit = Fit::default();
    let mut before = Point {
        calls: 0.0,
        at: 0.0,
        spent: 0.0,
    };
    for (index, point) in seen.points.iter().enumerate() {
        let calls = (point.calls - before.calls).max(1.0);
        let units = (point.spent - before.spent).max(0.0) / calls;
        let gap = (point.at - before.at).max(0.0) / calls;
        fit.add((point.calls + before.calls + 1.0) / 2.0, units);
        let (mean_units, mut mean_gap) = match states.last() {
            Some(last) => (last.units + RECENT * (units - last.units), last.gap),
            None => (units, 0.0),
        };
        // The first gap lies between the start and the first call, which may be long in coming.
        if index > 0 {
            let place = gaps.partition_point(|other| *other < gap);
            gaps.insert(place, gap);
            let first = index == 1;
            mean_gap = if first {
                gap
            } else {
                mean_gap + RECENT * (gap - mean_gap)
            };
        }
        let growth = fit.growth();
        states.push(State {
            at: *point,
            units: mean_units,
            gap: mean_gap,
            pace: PACE_ALL * pace(&gaps) + (1.0 - PACE_ALL) * mean_gap,
            size: fit.mean() + growth * (point.calls - fit.x / fit.n),
            growth,
        });
        before = *point;
    }
    if let Some(last) = states.last_mut() {
        let waiting = (seen.idle - last.gap).max(0.0);
        last.gap += RECENT * waiting;
        last.pace += (1.0 - PACE_ALL) * RECENT * waiting;
    }
    states
}

/// The mean of gaps, in order of size, each at most so many medians.
fn pace(gaps: &[f64]) -> f64 {
    if gaps.is_empty() {
        return 0.0;
    }
    let middle = gaps.len() / 2;
    let median = if gaps.len() % 2 == 1 {
        gaps[middle]
    } else {
        f64::midpoint(gaps[middle - 1], gaps[middle])
    };
    let most = if median > 0.0 {
        median * GAP_MEDIANS
    } else {
        f64::INFINITY
    };
    gaps.iter().map(|gap| gap.min(most)).sum::<f64>() / gaps.len() as f64
}

// === impl State ===

impl State {
    /// Returns the units spent a microsecond since the start; 0 where no time passed.
    pub(super) fn rate(&self) -> f64 {
        if self.at.at > 0.0 {
            self.at.spent / self.at.at
        } else {
            0.0
        }
    }

    /// Returns the mean units of a call.
    pub(super) fn mean(&self) -> f64 {
        self.at.spent / self.at.calls.max(1.0)
    }
}

// === impl Fit ===

impl Fit {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    fn mean(&self) -> f64 {
        self.y / self.n
    }

    /// Returns by how much each call is larger than the one before, as far as there is evidence:
    /// how many standard errors the slope is from 0. Shrinking calls are taken as even.
    fn growth(&self) -> f64 {
        let xx = self.xx - self.x * self.x / self.n;
        if self.n < 3.0 || xx <= 0.0 {
            return 0.0;
        }
        let xy = self.xy - self.x * self.y / self.n;
        let slope = xy / xx;
        let rest = (self.yy - self.y * self.y / self.n - slope * xy).max(0.0);
        let error = (rest / (self.n - 2.0) / xx).sqrt();
        let evidence = if error > 0.0 {
            (slope / error).clamp(-50.0, 50.0)
        } else {
            50.0 * slope.signum() * f64::from(u8::from(slope != 0.0))
        };
        let (strength, half) = (evidence.powi(4), GROWTH_EVIDENCE.powi(4));
        slope.max(0.0) * strength / (strength + half)
    }
}
