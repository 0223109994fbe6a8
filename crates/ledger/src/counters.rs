//! The figures of a roll-up: how one entry changes them, and how a report reads them.

use fisc_core::{Amount, Money, TimeUs, TokenClass, Tokens, Usage};

use crate::entry::{CallLabel, Facts, Outcome};

/// How many figures a roll-up has.
pub(crate) const WIDTH: usize = USED + TokenClass::COUNT + 2;

/// The columns of table `rollups` after its key, in order.
pub(crate) const COLUMNS: [&str; WIDTH] = [
    "calls",
    "attempts",
    "completed",
    "voided",
    "estimated",
    "unbounded",
    "in_doubt",
    "corrected",
    "tokens",
    "cost_nanousd",
    "time_us",
    "duration_us",
    "excess_tokens",
    "excess_cost_nanousd",
    "excess_time_us",
    "overrun_tokens",
    "overrun_cost_nanousd",
    "overrun_time_us",
    "used_input",
    "used_cache_read",
    "used_cache_write_5m",
    "used_cache_write_1h",
    "used_audio_input",
    "used_image_input",
    "used_output",
    "used_audio_output",
    "used_image_output",
    "used_reasoning",
    "used_searches",
];

const CALLS: usize = 0;
const ATTEMPTS: usize = 1;
const COMPLETED: usize = 2;
const VOIDED: usize = 3;
const ESTIMATED: usize = 4;
const UNBOUNDED: usize = 5;
const IN_DOUBT: usize = 6;
const CORRECTED: usize = 7;
const AMOUNT: usize = 8;
const DURATION: usize = 11;
const EXCESS: usize = 12;
const OVERRUN: usize = 15;
const USED: usize = 18;

/// The largest count of one class that enters a roll-up, so that sums of 63 bits never overflow;
/// the entry keeps what was reported.
const COUNT_MAX: u64 = 1 << 40;

/// Changes of the figures of one roll-up; signed, because corrections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters(pub(crate) [i64; WIDTH]);

/// Sums over calls, as reports show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Calls that ended, however: their first attempts.
    pub calls: u64,
    /// Attempts that were charged: settled, or in doubt.
    pub attempts: u64,
    /// Attempts that the provider answered in full.
    pub completed: u64,
    /// Attempts that ended unsent and free.
    pub voided: u64,
    /// Attempts charged by our estimate.
    pub estimated: u64,
    /// Attempts whose hold was no true upper bound.
    pub unbounded: u64,
    /// Attempts whose end is unknown still.
    pub in_doubt: u64,
    /// Corrections made.
    pub corrected: u64,
    /// What was charged.
    pub amount: Amount,
    /// How long the attempts took.
    pub duration: TimeUs,
    /// What settlements exceeded their holds by.
    pub excess: Amount,
    /// What settlements exceeded limits by.
    pub overrun: Amount,
    /// What the attempts used.
    pub usage: Usage,
}

/// Returns the part of a usage that enters a roll-up: all of it, unless it is absurd.
pub(crate) fn countable(usage: &Usage) -> Usage {
    let mut countable = *usage;
    for class in TokenClass::ALL {
        countable.set(class, usage.get(class).min(COUNT_MAX));
    }
    countable.reasoning = usage.reasoning.min(COUNT_MAX);
    countable.units.searches = usage.units.searches.min(COUNT_MAX);
    countable
}

// === impl Counters ===

impl Counters {
    pub(crate) const ZERO: Counters = Counters([0; WIDTH]);

    /// Returns what a settlement of a hold of `held` adds.
    pub(crate) fn settled(held: Amount, amount: Amount, overrun: Amount, facts: &Facts) -> Self {
        let mut counters = Counters::charged(&facts.call, amount);
        counters.0[COMPLETED] = i64::from(facts.outcome == Outcome::Completed);
        counters.0[ESTIMATED] = i64::from(facts.estimated);
        counters.0[DURATION] = facts.duration.0;
        for (index, units) in amount.raw().into_iter().enumerate() {
            counters.0[EXCESS + index] = units.saturating_sub(held.raw()[index]).max(0);
        }
        counters.put(OVERRUN, overrun);
        counters.use_more(&facts.usage, 1);
        counters
    }

    /// Returns what a void adds.
    pub(crate) fn voided(call: &CallLabel) -> Counters {
        let mut counters = Counters::ZERO;
        counters.0[CALLS] = i64::from(call.attempt <= 1);
        counters.0[VOIDED] = 1;
        counters
    }

    /// Returns what a charge in doubt adds.
    pub(crate) fn doubted(call: &CallLabel, charged: Amount) -> Counters {
        let mut counters = Counters::charged(call, charged);
        counters.0[IN_DOUBT] = 1;
        counters
    }

    /// Returns what a correction adds; `usage` is what was known before and what is known now.
    pub(crate) fn corrected(by: Amount, ends_doubt: bool, usage: Option<(Usage, Usage)>) -> Self {
        let mut counters = Counters::ZERO;
        counters.0[CORRECTED] = 1;
        counters.0[IN_DOUBT] = -i64::from(ends_doubt);
        counters.put(AMOUNT, by);
        if let Some((before, now)) = usage {
            counters.use_more(&before, -1);
            counters.use_more(&now, 1);
        }
        counters
    }

    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Counters) {
        for (sum, units) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(units);
        }
    }

    fn charged(call: &CallLabel, amount: Amount) -> Counters {
        let mut counters = Counters::ZERO;
        counters.0[CALLS] = i64::from(call.attempt <= 1);
        counters.0[ATTEMPTS] = 1;
        counters.0[UNBOUNDED] = i64::from(!call.bounded);
        counters.put(AMOUNT, amount);
        counters
    }

    fn put(&mut self, at: usize, amount: Amount) {
        self.0[at..at + 3].copy_from_slice(&amount.raw());
    }

    fn use_more(&mut self, usage: &Usage, sign: i64) {
        let usage = countable(usage);
        let classes = TokenClass::ALL.iter().map(|class| usage.get(*class));
        let counts = classes.chain([usage.reasoning, usage.units.searches]);
        for (sum, count) in self.0[USED..].iter_mut().zip(counts) {
            *sum += sign * i64::try_from(count).expect("41 bits fit 63");
        }
    }
}

// === impl Totals ===

impl From<Counters> for Totals {
    fn from(Counters(figures): Counters) -> Totals {
        // Sums of a journal that verifies are never negative.
        let count = |at: usize| u64::try_from(figures[at]).unwrap_or(0);
        let amount = |at: usize| {
            let [tokens, cost, time] = [figures[at], figures[at + 1], figures[at + 2]];
            Amount::new(Tokens(tokens), Money::from_nanos(cost), TimeUs(time))
        };
        let mut usage = Usage::default();
        usage.reasoning = count(WIDTH - 2);
        usage.units.searches = count(WIDTH - 1);
        for class in TokenClass::ALL {
            usage.set(class, count(USED + class.index()));
        }
        Totals {
            calls: count(CALLS),
            attempts: count(ATTEMPTS),
            completed: count(COMPLETED),
            voided: count(VOIDED),
            estimated: count(ESTIMATED),
            unbounded: count(UNBOUNDED),
            in_doubt: count(IN_DOUBT),
            corrected: count(CORRECTED),
            amount: amount(AMOUNT),
            duration: TimeUs(figures[DURATION]),
            excess: amount(EXCESS),
            overrun: amount(OVERRUN),
            usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_usage_are_the_token_classes_in_order() {
        let classes = TokenClass::ALL.map(|class| format!("used_{}", class.name()));
        assert_eq!(COLUMNS[USED..USED + TokenClass::COUNT], classes);
        assert_eq!(
            COLUMNS[USED + TokenClass::COUNT..],
            ["used_reasoning", "used_searches"]
        );
    }

    #[test]
    fn absurd_counts_cannot_overflow_a_sum() {
        let mut counters = Counters::ZERO;
        let usage = Usage::default().with(TokenClass::Output, u64::MAX);
        for _ in 0..1_000 {
            counters.use_more(&usage, 1);
        }
        assert_eq!(Totals::from(counters).usage.output(), 1_000 << 40);
    }
}
