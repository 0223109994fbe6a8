//! Quantiles of the latest observations, exact, without a sort per call.
//!
//! A ring keeps the order of arrival and a sorted vector the order of size: an observation costs
//! two binary searches and two moves of at most a few kilobytes.

use std::collections::VecDeque;

/// The latest observations, at most a fixed number.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    capacity: usize,
    arrived: VecDeque<u64>,
    sorted: Vec<u64>,
}

// === impl Window ===

impl Window {
    pub(crate) fn new(capacity: usize) -> Window {
        assert!(capacity > 0, "a window without room");
        Window {
            capacity,
            arrived: VecDeque::new(),
            sorted: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(crate) fn add(&mut self, value: u64) {
        if self.arrived.len() == self.capacity
            && let Some(oldest) = self.arrived.pop_front()
        {
            let place = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(place);
        }
        self.arrived.push_back(value);
        let place = self.sorted.partition_point(|other| *other < value);
        self.sorted.insert(place, value);
    }

    /// Returns the smallest observation that more than `per_mille` ‰ of all do not exceed, so
    /// that the figure errs upwards; `None` when there is none.
    pub(crate) fn quantile(&self, per_mille: u64) -> Option<u64> {
        let count = self.sorted.len() as u64;
        let rank = (count * per_mille / 1_000 + 1).min(count);
        self.sorted.get(rank.checked_sub(1)? as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_sort_of_the_latest(
            values in prop::collection::vec(0_u64..50, 1..200),
            per_mille in 0_u64..1_000,
        ) {
            const CAPACITY: usize = 32;
            let mut window = Window::new(CAPACITY);
            for value in &values {
                window.add(*value);
            }
            let mut latest = values[values.len().saturating_sub(CAPACITY)..].to_vec();
            latest.sort_unstable();
            let rank = latest.len() * per_mille as usize / 1_000;
            let expected = latest[rank.min(latest.len() - 1)];
            prop_assert_eq!(window.quantile(per_mille), Some(expected));
            prop_assert_eq!(window.len(), latest.len());
        }
    }

    #[test]
    fn an_empty_window_knows_nothing() {
        assert_eq!(Window::new(1).quantile(990), None);
    }
}
