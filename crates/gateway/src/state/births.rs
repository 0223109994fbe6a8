//! How fast budgets may come into being below what one secret stands for.
//!
//! At most so many within any second, by the clock of the books. Names beyond that are metered on
//! the nearest budget above that exists, as from Red on; an allocation is told to come back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use fisc::TimeUs;

/// How many budgets may come into being within [`SPAN`] below one root.
const BIRTHS_MAX: usize = 32;

/// Within which time.
const SPAN: TimeUs = TimeUs(1_000_000);

/// After how many roots those are forgotten of which nothing is recent.
const ROOTS_MAX: usize = 1_024;

/// The last births below each root, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Births(Mutex<HashMap<String, VecDeque<TimeUs>>>);

// === impl Births ===

impl Births {
    /// Says whether a budget may come into being now below the budget `root`, and counts it.
    pub(crate) fn may_come(&self, root: &str, now: TimeUs) -> bool {
        // Nothing can panic in the middle of a change.
        let mut roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &TimeUs| now.0 - at.0 < SPAN.0;
        if roots.len() >= ROOTS_MAX {
            roots.retain(|_, births| births.back().is_some_and(recent));
        }
        let births = roots.entry(root.to_owned()).or_default();
        while births.front().is_some_and(|at| !recent(at)) {
            births.pop_front();
        }
        let may = births.len() < BIRTHS_MAX;
        if may {
            births.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_no_second_more_come_than_may() {
        let births = Births::default();
        let come = |root: &str, from: i64, to: i64| {
            let times = (from..to).map(|number| TimeUs(number * 10_000));
            times.filter(|now| births.may_come(root, *now)).count()
        };
        assert_eq!(come("run", 0, 50), BIRTHS_MAX);
        assert_eq!(come("run", 50, 100), 0, "the second is not over");
        assert_eq!(come("other", 50, 60), 10, "each root by itself");
        // From then on one for each that is a second old.
        assert_eq!(come("run", 100, 120), 20);
        assert_eq!(come("run", 120, 150), 12);
        for number in 0..2 * ROOTS_MAX as i64 {
            births.may_come(&number.to_string(), TimeUs(10_000_000 + number * 10_000));
        }
        let kept = births.0.lock().expect("no panic").len();
        assert!(kept <= ROOTS_MAX, "{kept}");
    }
}
