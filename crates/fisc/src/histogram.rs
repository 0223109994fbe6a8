//! How often something took how long: counts in fixed buckets, without a lock.
//!
//! For what the product says of itself; nothing in the accounting rests on it.

use std::sync::atomic::{AtomicU64, Ordering};

use fisc_core::TimeUs;

/// The longest time that each bucket but the last counts: 1, 2.5 and 5 of each power of ten.
const BOUNDS: [TimeUs; 19] = [
    TimeUs(10),
    TimeUs(25),
    TimeUs(50),
    TimeUs(100),
    TimeUs(250),
    TimeUs(500),
    TimeUs(1_000),
    TimeUs(2_500),
    TimeUs(5_000),
    TimeUs(10_000),
    TimeUs(25_000),
    TimeUs(50_000),
    TimeUs(100_000),
    TimeUs(250_000),
    TimeUs(500_000),
    TimeUs(1_000_000),
    TimeUs(2_500_000),
    TimeUs(5_000_000),
    TimeUs(10_000_000),
];

/// Counts durations. Readings taken while somebody counts may lack what is counted then.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one duration; below nothing is nothing.
    pub fn record(&self, took: TimeUs) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = took.0.max(0).unsigned_abs();
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the longest time that each bucket counts, and how many it did; the last bucket
    /// counts all that took longer.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<TimeUs>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        let counts = self.counts.iter();
        bounds.zip(counts.map(|count| count.load(Ordering::Relaxed)))
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets().map(|(_, count)| count).sum()
    }

    /// Returns the sum of all durations.
    pub fn sum(&self) -> TimeUs {
        TimeUs(i64::try_from(self.sum.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
    }

    /// Returns the share of durations that surely took no longer than that, or `None` while none
    /// was counted. Exact where a bucket ends there, as one does at a second.
    pub fn share_within(&self, most: TimeUs) -> Option<f64> {
        let within = self
            .buckets()
            .filter(|(bound, _)| bound.is_some_and(|bound| bound <= most));
        let within: u64 = within.map(|(_, count)| count).sum();
        let all = self.count();
        (all > 0).then(|| within as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_that_it_fits() {
        let histogram = Histogram::default();
        assert_eq!(histogram.share_within(TimeUs(1_000_000)), None);
        for micros in [-1, 0, 10, 11, 1_000_000, 1_000_001, i64::from(u32::MAX)] {
            histogram.record(TimeUs(micros));
        }
        let filled: Vec<_> = histogram
            .buckets()
            .filter(|(_, count)| *count > 0)
            .map(|(bound, count)| (bound.map(|bound| bound.0), count))
            .collect();
        let expected = [
            (Some(10), 3),
            (Some(25), 1),
            (Some(1_000_000), 1),
            (Some(2_500_000), 1),
            (None, 1),
        ];
        assert_eq!(filled, expected);
        assert_eq!(histogram.count(), 7);
        let sum = 10 + 11 + 1_000_000 + 1_000_001 + i64::from(u32::MAX);
        assert_eq!(histogram.sum(), TimeUs(sum));
        assert_eq!(histogram.share_within(TimeUs(1_000_000)), Some(5.0 / 7.0));
    }

    #[test]
    fn a_bucket_ends_at_the_second_that_the_requirement_names() {
        assert!(BOUNDS.contains(&TimeUs(1_000_000)));
        assert!(BOUNDS.is_sorted());
    }
}
