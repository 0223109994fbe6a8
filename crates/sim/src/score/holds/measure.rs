//! What came of runs: how much of the budget was used, and at what price in waits and cuts.

use fisc_core::{Money, TimeUs};

use super::HoldPolicy;

/// How one budget was used up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) spent: Money,
    pub(super) calls: u64,
    /// Calls whose output would have been longer than their cap.
    pub(super) truncated: u64,
    /// How long more than a twentieth of the budget was left.
    pub(super) busy: TimeUs,
    /// The time of all calls within that.
    pub(super) in_flight: TimeUs,
    pub(super) input: InputHeld,
}

/// How well a policy sized holds, as means over all runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HoldScore {
    /// The policy.
    pub policy: HoldPolicy,
    /// What was spent at the end, as a part of the budget.
    pub utilization: f64,
    /// What was spent beyond the budget, as a part of it.
    pub overspend: f64,
    /// Calls in flight as a part of the workers, while more than a twentieth of the budget was
    /// left.
    pub concurrency: f64,
    /// Calls whose output would have been longer than their cap, as a part of all calls.
    pub truncated: f64,
}

/// How far the bound of calls' input lies above what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputHeld {
    /// Calls whose bound rests on the usage of a known prefix.
    pub prefix: Loose,
    /// Calls whose bound is their bytes.
    pub bytes: Loose,
}

/// Input as it was bounded, and as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loose {
    /// So many calls.
    pub calls: u64,
    /// Tokens of their input at most.
    pub bound: u64,
    /// Tokens of their input.
    pub actual: u64,
}

// === impl HoldScore ===

impl HoldScore {
    pub(super) fn of(
        policy: HoldPolicy,
        outcomes: &[Outcome],
        budget: Money,
        workers: usize,
    ) -> HoldScore {
        let budget = budget.nanos() as f64;
        let spent = |one: &Outcome| one.spent.nanos() as f64 / budget;
        let over = |one: &Outcome| (spent(one) - 1.0).max(0.0);
        let count = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        let busy = |one: &Outcome| {
            let part = one.in_flight.0 as f64 / one.busy.0 as f64 / workers as f64;
            (one.busy.0 > 0).then_some(part)
        };
        HoldScore {
            policy,
            utilization: mean(outcomes.iter().map(spent)),
            overspend: mean(outcomes.iter().map(over)),
            concurrency: mean(outcomes.iter().filter_map(busy)),
            truncated: part(count(|one| one.truncated), count(|one| one.calls)),
        }
    }
}

// === impl InputHeld ===

impl InputHeld {
    pub(super) fn of(outcomes: &[Outcome]) -> InputHeld {
        let mut all = InputHeld::default();
        for outcome in outcomes {
            all.prefix.add(&outcome.input.prefix);
            all.bytes.add(&outcome.input.bytes);
        }
        all
    }

    /// Returns the part of calls whose bound rests on a known prefix.
    pub fn with_prefix(&self) -> f64 {
        part(self.prefix.calls, self.prefix.calls + self.bytes.calls)
    }
}

// === impl Loose ===

impl Loose {
    /// Returns how many times the input the bound is.
    pub fn ratio(&self) -> Option<f64> {
        (self.actual > 0).then(|| self.bound as f64 / self.actual as f64)
    }

    pub(super) fn add(&mut self, other: &Loose) {
        self.calls += other.calls;
        self.bound = self.bound.saturating_add(other.bound);
        self.actual = self.actual.saturating_add(other.actual);
    }
}

fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count.max(1) as f64
}
