//! The course of spending: what is kept of the settlements of one resource of one budget.
//!
//! Constant in size: sums, two running means and at most 64 points, evenly spread over the calls.
//! When they are full every second one goes, so a course of a million calls is as small as one of
//! a hundred. What is made of them is told by the other modules.

use crate::amount::{TimeUs, Timestamp};

/// The most points that are kept.
pub(super) const POINTS_MAX: usize = 64;

/// What a new call counts in the running means.
pub(super) const RECENT: f64 = 0.15;

/// The course of spending of one resource of one budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    started: Timestamp,
    last: TimeUs,
    calls: u64,
    spent: i64,
    /// Running means over calls: units a call, microseconds between two.
    recent_units: f64,
    recent_gap: f64,
    /// A point is kept every so many calls.
    stride: u64,
    points: Vec<Point>,
}

/// Where a course stood after a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// How many calls there were.
    pub(super) calls: f64,
    /// Microseconds since the start.
    pub(super) at: f64,
    /// Raw units spent.
    pub(super) spent: f64,
}

/// What the methods see of a course: its points, the last one included, and the present.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) points: Vec<Point>,
    /// Microseconds since the last settlement.
    pub(super) idle: f64,
    /// Running means over calls: units a call, microseconds between two.
    pub(super) recent_units: f64,
    pub(super) recent_gap: f64,
}

// === impl Course ===

impl Course {
    /// Begins a course at the time from which the budget could spend.
    pub fn new(started: Timestamp) -> Course {
        Course {
            started,
            last: TimeUs(0),
            calls: 0,
            spent: 0,
            recent_units: 0.0,
            recent_gap: 0.0,
            stride: 1,
            points: Vec::new(),
        }
    }

    /// Adds a settled call of so many raw units. Less than nothing is a correction of an earlier
    /// call and counts as none. A time before the last one is taken as the last one.
    pub fn add(&mut self, now: Timestamp, units: i64) {
        if units < 0 {
            self.spent = self.spent.saturating_add(units).max(0);
            return;
        }
        let at = TimeUs(now.since(self.started).0.max(self.last.0));
        let gap = (at.0 - self.last.0) as f64;
        self.last = at;
        self.spent = self.spent.saturating_add(units);
        self.calls += 1;
        match self.calls {
            1 => self.recent_units = units as f64,
            2 => self.recent_gap = gap,
            _ => self.recent_gap += RECENT * (gap - self.recent_gap),
        }
        self.recent_units += RECENT * (units as f64 - self.recent_units);
        if self.calls.is_multiple_of(self.stride) {
            self.points.push(self.here());
        }
        if self.points.len() == POINTS_MAX {
            let mut kept = false;
            self.points.retain(|_| {
                kept = !kept;
                !kept
            });
            self.stride *= 2;
        }
    }

    /// Returns how many calls were settled.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the raw units spent.
    pub fn spent(&self) -> i64 {
        self.spent
    }

    /// Returns when the course began.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Returns the time from the start to the last settlement.
    pub fn elapsed(&self) -> TimeUs {
        self.last
    }

    /// Returns what the methods see at a time; the last point is always the present state.
    pub(super) fn seen(&self, now: Timestamp) -> Seen {
        let mut points = self.points.clone();
        if self.calls > 0 && !self.calls.is_multiple_of(self.stride) {
            points.push(self.here());
        } else if let Some(last) = points.last_mut() {
            last.spent = self.spent as f64;
        }
        Seen {
            points,
            idle: (now.since(self.started).0 - self.last.0).max(0) as f64,
            recent_units: self.recent_units,
            recent_gap: self.recent_gap,
        }
    }

    fn here(&self) -> Point {
        Point {
            calls: self.calls as f64,
            at: self.last.0 as f64,
            spent: self.spent as f64,
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Returns the present state; there is one in everything that is forecast.
    pub(super) fn last(&self) -> Point {
        self.points.last().copied().unwrap_or(Point {
            calls: 0.0,
            at: 0.0,
            spent: 0.0,
        })
    }
}
