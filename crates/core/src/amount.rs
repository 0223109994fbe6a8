//! An amount of the three budgeted resources, and the units of time.

use std::fmt;

use crate::money::Money;

/// A count of tokens, as one budget counts them (see [`TokenCounting`](crate::TokenCounting)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tokens(pub i64);

/// A span of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeUs(pub i64);

/// A point in time: microseconds since 1970-01-01 UTC, as the one clock of the process tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// A budgeted resource that adds up: what one child spends, its parent has spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Tokens.
    Tokens,
    /// Money.
    Cost,
    /// Active time: the sum of the durations of operations.
    Time,
}

/// What a call takes of each resource, decided on and booked together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amount([i64; Resource::COUNT]);

/// A sum left the range of 63-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

// === impl Resource ===

impl Resource {
    /// How many resources there are.
    pub const COUNT: usize = 3;
    /// Every resource, in the order of their indices.
    pub const ALL: [Resource; Resource::COUNT] = [Resource::Tokens, Resource::Cost, Resource::Time];

    /// Returns the resource's index into arrays of [`Resource::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the resource's name in reports and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Tokens => "tokens",
            Resource::Cost => "cost",
            Resource::Time => "active_time",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

// === impl Amount ===

impl Amount {
    /// Nothing of anything.
    pub const ZERO: Amount = Amount([0; Resource::COUNT]);

    /// Makes an amount.
    pub const fn new(tokens: Tokens, cost: Money, time: TimeUs) -> Amount {
        Amount([tokens.0, cost.nanos(), time.0])
    }

    /// Makes an amount from raw units in the order of [`Resource::ALL`].
    pub const fn from_raw(raw: [i64; Resource::COUNT]) -> Amount {
        Amount(raw)
    }

    /// Returns the raw units in the order of [`Resource::ALL`].
    pub const fn raw(self) -> [i64; Resource::COUNT] {
        self.0
    }

    /// Returns the raw units of one resource: tokens, nano-dollars or microseconds.
    pub const fn get(&self, resource: Resource) -> i64 {
        self.0[resource.index()]
    }

    /// Sets the raw units of one resource.
    pub fn set(&mut self, resource: Resource, units: i64) {
        self.0[resource.index()] = units;
    }

    /// Returns the tokens.
    pub const fn tokens(&self) -> Tokens {
        Tokens(self.0[0])
    }

    /// Returns the money.
    pub const fn cost(&self) -> Money {
        Money::from_nanos(self.0[1])
    }

    /// Returns the active time.
    pub const fn time(&self) -> TimeUs {
        TimeUs(self.0[2])
    }

    /// Says whether nothing is negative.
    pub fn is_non_negative(&self) -> bool {
        self.0.iter().all(|units| *units >= 0)
    }

    /// Says whether every resource of `self` is at most that of `other`.
    pub fn fits(&self, other: &Amount) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(mine, theirs)| mine <= theirs)
    }

    /// Adds resource by resource.
    pub fn checked_add(self, other: Amount) -> Result<Amount, OutOfRange> {
        self.combine(other, i64::checked_add)
    }

    /// Subtracts resource by resource; the result may be negative.
    pub fn checked_sub(self, other: Amount) -> Result<Amount, OutOfRange> {
        self.combine(other, i64::checked_sub)
    }

    /// Adds resource by resource, at most `i64::MAX` each.
    #[must_use]
    pub fn saturating_add(self, other: Amount) -> Amount {
        Amount(std::array::from_fn(|i| {
            self.0[i].saturating_add(other.0[i])
        }))
    }

    /// Takes the larger of each resource.
    #[must_use]
    pub fn max(self, other: Amount) -> Amount {
        Amount(std::array::from_fn(|i| self.0[i].max(other.0[i])))
    }

    /// Takes the smaller of each resource.
    #[must_use]
    pub fn min(self, other: Amount) -> Amount {
        Amount(std::array::from_fn(|i| self.0[i].min(other.0[i])))
    }

    fn combine(
        self,
        other: Amount,
        operation: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<Amount, OutOfRange> {
        let mut result = Amount::ZERO;
        for (index, units) in result.0.iter_mut().enumerate() {
            *units = operation(self.0[index], other.0[index]).ok_or(OutOfRange)?;
        }
        Ok(result)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tokens, _, time] = self.0;
        write!(f, "{tokens} tokens, {}, {time} us", self.cost())
    }
}

// === impl OutOfRange ===

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount is out of range")
    }
}

impl std::error::Error for OutOfRange {}

// === impl Timestamp ===

impl Timestamp {
    /// Returns the point in time `span` later, at most the end of time.
    #[must_use]
    pub const fn after(self, span: TimeUs) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// Returns the time passed since `earlier`, 0 when the clock was set back.
    pub const fn since(self, earlier: Timestamp) -> TimeUs {
        let span = self.0.saturating_sub(earlier.0);
        TimeUs(if span < 0 { 0 } else { span })
    }
}
