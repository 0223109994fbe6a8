//! The rows of a report, made of what a ledger sums up.

use fisc_core::{Amount, Level, Money, Thresholds, TokenClass, Usage};

use super::{AmountRow, UsageRow, UseRow};

// === impl UseRow ===

impl UseRow {
    /// Returns the row with its cost in dollars as its nano-dollars say.
    pub(super) fn with_cost_shown(mut self) -> UseRow {
        self.cost_usd = Money::from_nanos(self.cost_nanousd).to_decimal();
        self
    }
}

// === impl AmountRow ===

impl From<Amount> for AmountRow {
    fn from(amount: Amount) -> AmountRow {
        AmountRow {
            tokens: amount.tokens().0,
            cost_nanousd: amount.cost().nanos(),
            cost_usd: amount.cost().to_decimal(),
            time_us: amount.time().0,
        }
    }
}

// === impl UsageRow ===

impl UsageRow {
    /// Puts two usages together, class by class.
    pub(super) fn merge(&self, other: &UsageRow, with: fn(u64, u64) -> u64) -> UsageRow {
        UsageRow {
            input: with(self.input, other.input),
            cache_read: with(self.cache_read, other.cache_read),
            cache_write_5m: with(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h: with(self.cache_write_1h, other.cache_write_1h),
            audio_input: with(self.audio_input, other.audio_input),
            image_input: with(self.image_input, other.image_input),
            output: with(self.output, other.output),
            audio_output: with(self.audio_output, other.audio_output),
            image_output: with(self.image_output, other.image_output),
            reasoning: with(self.reasoning, other.reasoning),
            searches: with(self.searches, other.searches),
        }
    }
}

impl From<&Usage> for UsageRow {
    fn from(usage: &Usage) -> UsageRow {
        UsageRow {
            input: usage.get(TokenClass::UncachedInput),
            cache_read: usage.get(TokenClass::CacheRead),
            cache_write_5m: usage.get(TokenClass::CacheWrite5m),
            cache_write_1h: usage.get(TokenClass::CacheWrite1h),
            audio_input: usage.get(TokenClass::AudioInput),
            image_input: usage.get(TokenClass::ImageInput),
            output: usage.get(TokenClass::Output),
            audio_output: usage.get(TokenClass::AudioOutput),
            image_output: usage.get(TokenClass::ImageOutput),
            reasoning: usage.reasoning,
            searches: usage.units.searches,
        }
    }
}

/// Returns the level at which a budget stands that never stood at another.
pub(super) fn level_of(spent: i64, limit: i64) -> Level {
    let mut level = Level::Green;
    while let Some(next) = Thresholds::default().step(level, spent, limit) {
        level = next;
    }
    level
}

/// Writes an hour since 1970, `2026-11-23T18:00Z`.
pub(super) fn show_hour(hours: i64) -> String {
    match jiff::Timestamp::from_second(hours.saturating_mul(3600)) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:00Z").to_string(),
        Err(_) => hours.to_string(),
    }
}
