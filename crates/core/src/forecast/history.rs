//! What finished runs of a class of agents taught: corrections, intervals, and how much such
//! agents spend before they stop by themselves.
//!
//! Bounded: the last runs are kept, each as some dozens of numbers. It does not keep itself; its
//! numbers go to whoever does, and come back.

use std::collections::VecDeque;

use super::ATTEMPTS_MIN;
use super::Estimate;
use super::calibration::{Calibration, FACTS, Lesson, Lessons, RUNS_MIN, STAGES, ends};
use super::course::{Course, Seen};
use super::method::Question;
use super::state::states;
use crate::amount::TimeUs;

/// The most runs that are kept; the oldest goes first.
const RUNS_MAX: usize = 100;

/// The part of a run's total that is the limit in its lessons on time: the run reaches it.
const LIMIT_PART: f64 = 0.8;

/// The stages of a run at which its lessons are taken.
const STAGE_PARTS: [f64; STAGES] = [0.25, 0.5, 0.75];

/// What the parts of a run begin with; another number is another layout.
const LAYOUT: u64 = 1;

/// Numbers before the knots, numbers of a lesson, and the most knots.
const HEAD: usize = 5;
const LESSON: usize = FACTS + 2;
const KNOTS_MAX: usize = 62;

/// What the finished runs of one class of agents taught, for one resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    runs: VecDeque<Run>,
    /// On the time until a limit, and on the units until a time.
    time: Option<Calibration>,
    units: Option<Calibration>,
}

/// One finished run.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    spent: i64,
    calls: u64,
    time: TimeUs,
    /// Spent after 1, 2, 4, 8, … calls.
    knots: Vec<i64>,
    on_time: Lessons,
    on_units: Lessons,
}

// === impl History ===

impl History {
    /// Knows nothing yet.
    pub fn new() -> History {
        History::default()
    }

    /// Adds a run that finished by itself; one that was stopped at a limit would teach that its
    /// kind needs less than it does. A run that spent nothing is left out. Fits anew, which takes
    /// some tenths of a millisecond: not a thing to do under a lock.
    pub fn add_run(&mut self, course: &Course) {
        let Some(run) = Run::new(course) else {
            return;
        };
        self.push(run);
        self.fit();
    }

    /// Knows what these runs taught, the last ones at most; see [`History::add_run`].
    pub fn of_runs<'c>(courses: impl IntoIterator<Item = &'c Course>) -> History {
        let mut history = History::new();
        for run in courses.into_iter().filter_map(Run::new) {
            history.push(run);
        }
        history.fit();
        history
    }

    /// Returns how many runs are known.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Returns what a run is expected to spend in all, before it starts: the median of the runs,
    /// with an interval of 90 % from 19 runs on. `None` without runs.
    pub fn before_start(&self) -> Option<Estimate<i64>> {
        estimate(self.runs.iter().map(|run| run.spent as f64).collect())
    }

    /// Returns each run as plain numbers, for keeping; amounts are exact up to 2^53.
    pub fn to_parts(&self) -> Vec<Vec<f64>> {
        self.runs.iter().map(Run::to_parts).collect()
    }

    /// Returns the history of which these are the parts; `None` where they are not, or are of
    /// another version. Of too many, the last are taken.
    pub fn from_parts(parts: &[Vec<f64>]) -> Option<History> {
        let mut history = History::new();
        for run in parts {
            history.push(Run::from_parts(run)?);
        }
        history.fit();
        Some(history)
    }

    pub(super) fn calibration(&self, question: Question) -> Option<&Calibration> {
        match question {
            Question::Time(_) => self.time.as_ref(),
            Question::Units(_) => self.units.as_ref(),
        }
    }

    /// What a run that has come so far will have spent when it stops: what it has, and what the
    /// runs that came as far still spent.
    pub(super) fn total(&self, calls: u64, spent: i64) -> Option<Estimate<i64>> {
        let alive = self.runs.iter().filter(|run| run.calls >= calls);
        let totals: Vec<f64> = alive
            .map(|run| spent as f64 + (run.spent as f64 - run.spent_after(calls)).max(0.0))
            .collect();
        (totals.len() >= RUNS_MIN)
            .then(|| estimate(totals))
            .flatten()
    }

    fn push(&mut self, run: Run) {
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    fn fit(&mut self) {
        let lessons = |of: fn(&Run) -> &Lessons| self.runs.iter().map(of).collect::<Vec<_>>();
        let time = Calibration::new(&lessons(|run| &run.on_time));
        let units = Calibration::new(&lessons(|run| &run.on_units));
        (self.time, self.units) = (time, units);
    }
}

/// The median of totals, and the interval of 90 % where they are enough.
fn estimate(mut totals: Vec<f64>) -> Option<Estimate<i64>> {
    totals.sort_by(f64::total_cmp);
    let middle = totals.len() / 2;
    let median = match totals.len() {
        0 => return None,
        count if count % 2 == 1 => totals[middle],
        _ => f64::midpoint(totals[middle - 1], totals[middle]),
    };
    Some(Estimate {
        point: median as i64,
        interval: ends(&totals).map(|(low, high)| (low as i64, high as i64)),
    })
}

// === impl Run ===

impl Run {
    fn new(course: &Course) -> Option<Run> {
        if course.spent() <= 0 || course.calls() == 0 {
            return None;
        }
        let seen = course.seen(course.started().after(course.elapsed()));
        Some(Run {
            spent: course.spent(),
            calls: course.calls(),
            time: course.elapsed(),
            knots: knots(&seen),
            on_time: lessons_on_time(&seen),
            on_units: lessons_on_units(&seen),
        })
    }

    /// Returns what was spent after so many calls, between the knots by a straight line.
    fn spent_after(&self, calls: u64) -> f64 {
        let calls = calls.min(self.calls) as f64;
        let mut before = (0.0, 0.0);
        for (index, knot) in self.knots.iter().enumerate() {
            let here = ((1u64 << index.min(KNOTS_MAX)) as f64, *knot as f64);
            if calls <= here.0 {
                return between(before, here, calls);
            }
            before = here;
        }
        between(before, (self.calls as f64, self.spent as f64), calls)
    }

    fn to_parts(&self) -> Vec<f64> {
        let mut parts = vec![
            LAYOUT as f64,
            self.spent as f64,
            self.calls as f64,
            self.time.0 as f64,
            self.knots.len() as f64,
        ];
        parts.extend(self.knots.iter().map(|knot| *knot as f64));
        for lesson in self.on_time.iter().chain(&self.on_units) {
            let known = lesson.map_or([0.0; LESSON], |lesson| {
                let mut numbers = [1.0; LESSON];
                numbers[1] = lesson.off;
                numbers[2..].copy_from_slice(&lesson.facts);
                numbers
            });
            parts.extend(known);
        }
        parts
    }

    fn from_parts(parts: &[f64]) -> Option<Run> {
        let (head, rest) = parts.split_at_checked(HEAD)?;
        let valid = |number: &f64| number.is_finite();
        if !parts.iter().all(valid) || head[0] as u64 != LAYOUT || head.iter().any(|x| *x < 0.0) {
            return None;
        }
        let (knots, lessons) = rest.split_at_checked(head[4] as usize)?;
        if knots.len() > KNOTS_MAX || lessons.len() != 2 * STAGES * LESSON {
            return None;
        }
        let lesson = |numbers: &[f64]| {
            let facts = numbers[2..].try_into().ok()?;
            let off = numbers[1];
            (numbers[0] > 0.5).then_some(Lesson { facts, off })
        };
        let mut lessons = lessons.chunks_exact(LESSON).map(lesson);
        let mut three = || std::array::from_fn(|_| lessons.next().flatten());
        Some(Run {
            spent: head[1] as i64,
            calls: head[2] as u64,
            time: TimeUs(head[3] as i64),
            knots: knots.iter().map(|knot| *knot as i64).collect(),
            on_time: three(),
            on_units: three(),
        })
    }
}

/// When would the limit be reached? Asked with a quarter, half, three quarters of it spent.
fn lessons_on_time(seen: &Seen) -> Lessons {
    let limit = seen.last().spent * LIMIT_PART;
    let Some(reached) = seen.points.iter().find(|point| point.spent >= limit) else {
        return [None; STAGES];
    };
    STAGE_PARTS.map(|part| {
        let now = seen
            .points
            .iter()
            .position(|point| point.spent >= part * limit)?;
        let point = seen.points[now];
        lesson(
            seen,
            now,
            Question::Time(limit - point.spent),
            reached.at - point.at,
        )
    })
}

/// What would be spent at the end? Asked with a quarter, half, three quarters of the time gone.
fn lessons_on_units(seen: &Seen) -> Lessons {
    let end = seen.last();
    STAGE_PARTS.map(|part| {
        let now = seen
            .points
            .iter()
            .position(|point| point.at >= part * end.at)?;
        let point = seen.points[now];
        lesson(
            seen,
            now,
            Question::Units(end.at - point.at),
            end.spent - point.spent,
        )
    })
}

fn lesson(seen: &Seen, now: usize, question: Question, truth: f64) -> Option<Lesson> {
    let (Question::Time(ahead) | Question::Units(ahead)) = question;
    let point = seen.points[now];
    if point.calls < ATTEMPTS_MIN as f64 || point.at <= 0.0 || ahead <= 0.0 || truth <= 0.0 {
        return None;
    }
    let then = Seen {
        points: seen.points[..=now].to_vec(),
        idle: 0.0,
        ..*seen
    };
    Lesson::new(&states(&then), question, truth)
}

fn knots(seen: &Seen) -> Vec<i64> {
    let mut knots = Vec::new();
    let mut before = (0.0, 0.0);
    for point in &seen.points {
        let here = (point.calls, point.spent);
        while knots.len() < KNOTS_MAX && (1u64 << knots.len()) as f64 <= point.calls {
            knots.push(between(before, here, (1u64 << knots.len()) as f64) as i64);
        }
        before = here;
    }
    knots
}

/// The straight line from one point to another at `x`.
fn between(from: (f64, f64), to: (f64, f64), x: f64) -> f64 {
    if to.0 > from.0 {
        from.1 + (to.1 - from.1) * (x - from.0) / (to.0 - from.0)
    } else {
        to.1
    }
}
