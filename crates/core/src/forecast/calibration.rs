//! What earlier runs say about forecasts of the mix: by how much they were off, and why.
//!
//! A ridge regression of the logarithm of truth by forecast on a few facts of the course, robust
//! against outliers (Huber's weights), and strong towards no correction while runs are few. What
//! it leaves, always for runs that it was not fitted to, gives the interval: split conformal
//! prediction, whose coverage holds for runs that could have come in any order. Where the
//! residuals of every fold are pooled this is cross-conformal and the coverage approximate.

use super::Estimate;
use super::course::Seen;
use super::method::{Question, members};
use super::mix::mix;
use super::state::{State, states};

/// How many facts of a course are regressed on.
pub(super) const FACTS: usize = 6;

/// Runs are asked at three stages: with a quarter, half and three quarters behind them.
pub(super) const STAGES: usize = 3;

/// The fewest past runs for a correction.
pub(super) const RUNS_MIN: usize = 5;

/// The fewest past runs for an interval of 90 %: with fewer, its ends would be beyond all of them.
pub(super) const INTERVAL_RUNS_MIN: usize = 19;

/// The part of the truths that lie below the interval, and as many above.
const TAIL: f64 = 0.05;

/// Strength of the ridge, in lessons; and of the pull of the mean correction towards none.
const RIDGE: f64 = 15.0;
const RIDGE_MEAN: f64 = 6.0;

/// A residual beyond this counts less; how often weights are made anew.
const OUTLIER: f64 = 0.4;
const ROUNDS: usize = 3;

/// No lesson and no correction is larger than this, as a logarithm.
const MOST: f64 = 1.5;

/// How far below the median the point is, in squares of the half-width within which half of the
/// truths lie, and the largest width that counts.
const SHIFT: f64 = 1.4;
const SHIFT_WIDTH_MOST: f64 = 0.5;

/// Residuals come from fits to the other so many folds of the runs.
const FOLDS: usize = 10;

/// What one stage of one run taught: facts that were known then, and ln(truth / forecast).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lesson {
    pub(super) facts: [f64; FACTS],
    pub(super) off: f64,
}

/// The lessons of one run; a stage that came before the fourth call taught none.
pub(super) type Lessons = [Option<Lesson>; STAGES];

/// A fit to the lessons of many runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calibration {
    fit: Fit,
    /// By stage, in order of size.
    residuals: [Vec<f64>; STAGES],
    /// From the median to the point, as a logarithm.
    shift: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    center: [f64; FACTS],
    scale: [f64; FACTS],
    slopes: [f64; FACTS],
    mean: f64,
}

/// Returns the facts of a course at its last state, and the forecast that they may correct.
fn facts(states: &[State], question: Question) -> Option<([f64; FACTS], f64)> {
    let last = states.last()?;
    if last.rate() <= 0.0 {
        return None;
    }
    let answer = mix(states, question);
    if !answer.is_finite() || answer <= 0.0 {
        return None;
    }
    let [linear, _, growing] = members(last, question);
    let ahead = match question {
        Question::Time(need) => need / last.at.spent,
        Question::Units(left) => left / last.at.at,
    };
    let facts = [
        linear / answer,
        growing / answer,
        1.0 + last.at.calls,
        last.mean(),
        last.pace.max(1.0),
        ahead,
    ]
    .map(|fact| fact.max(1e-9).ln());
    let known = facts.iter().all(|fact| fact.is_finite());
    known.then_some((facts, answer))
}

/// Returns the stage of what is behind and what is ahead.
fn stage(behind: f64, ahead: f64) -> usize {
    match behind / (behind + ahead) {
        part if part < 0.375 => 0,
        part if part < 0.625 => 1,
        _ => 2,
    }
}

/// Returns the ends of the interval of 90 % among values in order of size; `None` where they are
/// too few. Ranks are those of one more value, interpolated.
pub(super) fn ends(sorted: &[f64]) -> Option<(f64, f64)> {
    if sorted.len() < INTERVAL_RUNS_MIN {
        return None;
    }
    let rank = ((sorted.len() + 1) as f64 * TAIL).max(1.0) - 1.0;
    let (whole, part) = (rank as usize, rank.fract());
    let between = |near: f64, next: f64| near + part * (next - near);
    let top = sorted.len() - 1;
    let next = (whole + 1).min(top);
    Some((
        between(sorted[whole], sorted[next]),
        between(sorted[top - whole], sorted[top - next]),
    ))
}

// === impl Lesson ===

impl Lesson {
    /// Makes a lesson of a course at some stage, and of what came true.
    pub(super) fn new(states: &[State], question: Question, truth: f64) -> Option<Lesson> {
        let (facts, answer) = facts(states, question)?;
        let off = (truth / answer).ln();
        off.is_finite().then(|| Lesson {
            facts,
            off: off.clamp(-MOST, MOST),
        })
    }
}

// === impl Calibration ===

impl Calibration {
    /// Fits to the lessons of runs; `None` where they are too few.
    pub(super) fn new(runs: &[&Lessons]) -> Option<Calibration> {
        if runs.len() < RUNS_MIN {
            return None;
        }
        let mut residuals = [const { Vec::new() }; STAGES];
        for fold in 0..FOLDS.min(runs.len()) {
            let mine = |(index, _): &(usize, &&Lessons)| index % FOLDS == fold;
            let others: Vec<&Lesson> = runs
                .iter()
                .enumerate()
                .filter(|run| !mine(run))
                .flat_map(|(_, run)| run.iter().flatten())
                .collect();
            let fit = Fit::new(&others);
            for (_, run) in runs.iter().enumerate().filter(mine) {
                for (lesson, residuals) in run.iter().zip(&mut residuals) {
                    residuals.extend(lesson.map(|lesson| lesson.off - fit.apply(&lesson.facts)));
                }
            }
        }
        for residuals in &mut residuals {
            residuals.sort_by(f64::total_cmp);
        }
        let shift = shift(&residuals);
        let all: Vec<&Lesson> = runs.iter().flat_map(|run| run.iter().flatten()).collect();
        Some(Calibration {
            fit: Fit::new(&all),
            residuals,
            shift,
        })
    }

    /// Returns the corrected answer of the mix with its interval; `None` where the mix has none.
    pub(super) fn correct(&self, seen: &Seen, question: Question) -> Option<Estimate<f64>> {
        let (facts, answer) = facts(&states(seen), question)?;
        let median = answer * self.fit.apply(&facts).exp();
        let last = seen.last();
        let stage = match question {
            Question::Time(need) => stage(last.spent, need),
            Question::Units(left) => stage(last.at, left),
        };
        let ends = ends(&self.residuals[stage]);
        Some(Estimate {
            point: median * self.shift.exp(),
            interval: ends.map(|(low, high)| {
                let low = low.min(self.shift);
                (median * low.exp(), median * high.max(0.0).exp())
            }),
        })
    }
}

// === impl Fit ===

impl Fit {
    fn new(lessons: &[&Lesson]) -> Fit {
        let count = (lessons.len() as f64).max(1.0);
        let mut fit = Fit {
            center: [0.0; FACTS],
            scale: [0.0; FACTS],
            slopes: [0.0; FACTS],
            mean: 0.0,
        };
        for i in 0..FACTS {
            let values = || lessons.iter().map(|lesson| lesson.facts[i]);
            let center = values().sum::<f64>() / count;
            let spread = (values().map(|x| (x - center).powi(2)).sum::<f64>() / count).sqrt();
            fit.center[i] = center;
            fit.scale[i] = if spread > 1e-6 { 1.0 / spread } else { 0.0 };
        }
        let mut weights = vec![1.0; lessons.len()];
        for _ in 0..ROUNDS {
            fit.solve(lessons, &weights);
            for (weight, lesson) in weights.iter_mut().zip(lessons) {
                let residual = lesson.off - fit.apply(&lesson.facts);
                *weight = (OUTLIER / residual.abs().max(1e-9)).min(1.0);
            }
        }
        fit
    }

    /// The weighted least squares of one round.
    fn solve(&mut self, lessons: &[&Lesson], weights: &[f64]) {
        let weighted = || lessons.iter().zip(weights);
        let (sum, off) = weighted().fold((0.0, 0.0), |(sum, off), (lesson, weight)| {
            (sum + weight, off + weight * lesson.off)
        });
        self.mean = off / (sum + RIDGE_MEAN);
        let mut matrix = [[0.0; FACTS]; FACTS];
        let mut right = [0.0; FACTS];
        for (lesson, weight) in weighted() {
            let x = self.standard(&lesson.facts);
            for i in 0..FACTS {
                for j in 0..FACTS {
                    matrix[i][j] += weight * x[i] * x[j];
                }
                right[i] += weight * x[i] * (lesson.off - self.mean);
            }
        }
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] += RIDGE;
        }
        self.slopes = solve(matrix, right);
    }

    fn standard(&self, facts: &[f64; FACTS]) -> [f64; FACTS] {
        // What is far from all that was seen is not extrapolated.
        std::array::from_fn(|i| ((facts[i] - self.center[i]) * self.scale[i]).clamp(-3.0, 3.0))
    }

    fn apply(&self, facts: &[f64; FACTS]) -> f64 {
        let x = self.standard(facts);
        let slopes = self.slopes.iter().zip(x).map(|(slope, x)| slope * x);
        (self.mean + slopes.sum::<f64>()).clamp(-MOST, MOST)
    }
}

/// From the median of what is expected to what is most often near it in proportion. A forecast of
/// twice the truth is off by 100 %, one of half of it by 50 %, so the best one is lower than the
/// median; by how much in half-widths squared was tried on recorded agents.
fn shift(residuals: &[Vec<f64>; STAGES]) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().flatten().map(|off| off.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let half = sizes.get(sizes.len() / 2).copied().unwrap_or(0.0);
    -SHIFT * half.min(SHIFT_WIDTH_MOST).powi(2)
}

/// Solves a symmetric, positive definite system: its diagonal holds at least the ridge.
fn solve(mut matrix: [[f64; FACTS]; FACTS], mut right: [f64; FACTS]) -> [f64; FACTS] {
    for pivot in 0..FACTS {
        let above = matrix[pivot];
        for row in pivot + 1..FACTS {
            let factor = matrix[row][pivot] / above[pivot];
            for (value, above) in matrix[row].iter_mut().zip(above).skip(pivot) {
                *value -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..FACTS).rev() {
        let known: f64 = (row + 1..FACTS)
            .map(|column| matrix[row][column] * right[column])
            .sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}
