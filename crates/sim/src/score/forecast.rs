//! The protocol: every run is asked, at a quarter, half and three quarters of a limit that it does
//! reach, when it will, and what it will have spent when it ends. What the forecaster knows of
//! other runs is drawn anew for each run and never holds the run itself.

use fisc_core::{Course, Estimate, History, Method, TimeUs, Timestamp};

use super::accuracy::{ForecastScore, ForecastSettings, MethodScore};
use crate::draw::Draw;
use crate::script::{Call, Script};

/// The limit, as a part of what the run spends in all, so that it is always reached.
const LIMIT_PART: f64 = 0.8;

/// The parts of the limit at which forecasts are made.
const CHECKPOINTS: [f64; 3] = [0.25, 0.5, 0.75];

/// The totals that were allocated, as parts of the true one; and from which part of the allocated
/// one a forecast is an alarm.
const ALLOCATIONS: [f64; 6] = [0.6, 0.8, 1.0, 1.2, 1.5, 2.0];
const ALARM_PART: f64 = 0.95;

/// The fewest calls before a forecast is asked for.
const CALLS_MIN: usize = 4;

/// One run: when each call began, from the first one on, and what it spent.
struct Run {
    at: Vec<i64>,
    units: Vec<i64>,
    total: i64,
}

/// Where a run is asked, and what then came true.
struct Checkpoint {
    /// The last call that is known.
    call: usize,
    need: i64,
    time: i64,
    left: i64,
    more: i64,
}

/// What is counted of one method.
#[derive(Default)]
struct Tally {
    rem_errors: Vec<f64>,
    total_errors: Vec<f64>,
    held: Held,
    total_held: Held,
    /// Alarms and none, where the total did exceed, and where it did not.
    exceeded: Held,
    kept: Held,
}

/// How many of how many.
#[derive(Default)]
struct Held {
    yes: u64,
    of: u64,
}

/// Scores every method on all runs that are long enough to be asked.
pub fn score_forecast(scripts: &[Script], settings: ForecastSettings) -> ForecastScore {
    let runs: Vec<Run> = scripts
        .iter()
        .map(|script| Run::new(script, settings))
        .collect();
    let courses: Vec<Course> = runs.iter().map(|run| run.course(run.at.len())).collect();
    let mut tallies: [Tally; Method::ALL.len()] = Default::default();
    let mut forecasts = 0;
    for (number, run) in runs.iter().enumerate() {
        let checkpoints = run.checkpoints();
        if checkpoints.is_empty() {
            continue;
        }
        forecasts += checkpoints.len();
        let past = others(number, courses.len(), settings);
        let history = History::of_runs(past.iter().map(|other| &courses[*other]));
        for checkpoint in &checkpoints {
            for (method, tally) in Method::ALL.into_iter().zip(&mut tallies) {
                tally.ask(method, run, checkpoint, &history);
            }
        }
    }
    ForecastScore {
        settings,
        runs: runs.len(),
        forecasts,
        methods: Method::ALL
            .into_iter()
            .zip(tallies)
            .map(|(method, tally)| tally.score(method))
            .collect(),
    }
}

/// The runs that are known when one is scored.
fn others(scored: usize, runs: usize, settings: ForecastSettings) -> Vec<usize> {
    let mut others: Vec<usize> = (0..runs).filter(|run| *run != scored).collect();
    let mut draw = Draw::new(settings.seed, &[0xF0CA, scored as u64]);
    let known = settings.history.min(others.len());
    for place in 0..known {
        let from = place + draw.below(others.len() - place);
        others.swap(place, from);
    }
    others.truncate(known);
    others
}

/// When each call begins.
fn starts(calls: &[Call]) -> Vec<i64> {
    let mut end = 0i64;
    let start = |call: &Call| {
        let start = end.saturating_add(call.pause.0);
        end = start.saturating_add(call.duration.0);
        start
    };
    calls.iter().map(start).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

// === impl Run ===

impl Run {
    fn new(script: &Script, settings: ForecastSettings) -> Run {
        let mut at = starts(&script.calls);
        let first = at.first().copied().unwrap_or(0);
        for at in &mut at {
            *at -= first;
        }
        let units: Vec<i64> = script
            .calls
            .iter()
            .map(|call| call.amount().get(settings.resource).max(0))
            .collect();
        let total = units.iter().fold(0i64, |sum, one| sum.saturating_add(*one));
        Run { at, units, total }
    }

    /// The course of the first calls.
    fn course(&self, calls: usize) -> Course {
        let mut course = Course::new(Timestamp(0));
        for (at, units) in self.at.iter().zip(&self.units).take(calls) {
            course.add(Timestamp(*at), *units);
        }
        course
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let limit = (self.total as f64 * LIMIT_PART) as i64;
        let reached = |units: f64| {
            let mut spent = 0i64;
            self.units.iter().position(|one| {
                spent = spent.saturating_add(*one);
                spent as f64 >= units
            })
        };
        let (Some(exhausted), Some(end)) = (reached(limit as f64), self.at.last()) else {
            return Vec::new();
        };
        let checkpoint = |part: &f64| {
            let call = reached(part * limit as f64)?;
            let spent: i64 = self.units[..=call].iter().sum();
            let found = Checkpoint {
                call,
                need: limit - spent,
                time: self.at[exhausted] - self.at[call],
                left: end - self.at[call],
                more: self.total - spent,
            };
            let early = call + 1 < CALLS_MIN || self.at[call] == 0;
            (!early && found.need > 0 && found.time > 0).then_some(found)
        };
        CHECKPOINTS.iter().filter_map(checkpoint).collect()
    }
}

// === impl Tally ===

impl Tally {
    fn ask(&mut self, method: Method, run: &Run, asked: &Checkpoint, history: &History) {
        let course = run.course(asked.call + 1);
        let (now, history) = (Timestamp(run.at[asked.call]), Some(history));
        if let Some(found) = course.time_to_by(method, now, asked.need, history) {
            let time = found.point.0 as f64;
            let truth = asked.time as f64;
            self.rem_errors.push((time - truth).abs() / truth);
            if let Some((low, high)) = found.interval {
                self.held.count((low.0..=high.0).contains(&asked.time));
            }
        }
        if let Some(found) = course.total_in_by(method, now, TimeUs(asked.left), history) {
            self.total(run, asked, &found);
        }
    }

    fn total(&mut self, run: &Run, asked: &Checkpoint, found: &Estimate<i64>) {
        let truth = run.total as f64;
        let off = found.point as f64 - asked.more as f64;
        self.total_errors.push(off.abs() / truth);
        if let Some((low, high)) = found.interval {
            self.total_held.count((low..=high).contains(&asked.more));
        }
        for part in ALLOCATIONS {
            let alarm = truth + off > ALARM_PART * part * truth;
            if part < 1.0 {
                self.exceeded.count(alarm);
            } else {
                self.kept.count(alarm);
            }
        }
    }

    fn score(self, method: Method) -> MethodScore {
        let right = self.exceeded.yes as f64;
        let wrong = (self.kept.yes + self.exceeded.of - self.exceeded.yes) as f64;
        MethodScore {
            method,
            rem_error_median: median(self.rem_errors),
            total_error_median: median(self.total_errors),
            coverage_90: self.held.part(),
            total_coverage_90: self.total_held.part(),
            alarm_f1: (self.exceeded.of > 0).then(|| 2.0 * right / (2.0 * right + wrong)),
            alarm_false: self.kept.part(),
        }
    }
}

// === impl Held ===

impl Held {
    fn count(&mut self, yes: bool) {
        self.yes += u64::from(yes);
        self.of += 1;
    }

    fn part(&self) -> Option<f64> {
        (self.of > 0).then(|| self.yes as f64 / self.of as f64)
    }
}
