//! What a call's tokens cost: as the price book says, as the owner guesses, or nobody knows.

use std::sync::Arc;

use fisc_core::{Amount, Money, TimeUs, TokenClass, TokenCounting, Usage};
use fisc_llm::ModelPrice;

/// What a call's tokens cost.
#[derive(Debug, Clone)]
pub(crate) enum Pricing {
    /// The price book's price.
    Known(Arc<ModelPrice>),
    /// The owner's ceiling for models that nobody priced.
    Ceiling(Arc<ModelPrice>),
    /// Nothing, as the owner says.
    Nothing,
    /// Nobody knows, and no cost is limited here.
    Unknown,
}

// === impl Pricing ===

impl Pricing {
    /// Returns the price, where there is one.
    pub(crate) fn known(&self) -> Option<&ModelPrice> {
        match self {
            Pricing::Known(price) | Pricing::Ceiling(price) => Some(price),
            Pricing::Nothing | Pricing::Unknown => None,
        }
    }

    /// Returns what so many tokens of input cost; where nobody knows, no money.
    pub(crate) fn input(&self, tokens: u64, counting: TokenCounting) -> Amount {
        let usage = Usage::default().with(TokenClass::UncachedInput, tokens);
        let cost = self.charge(&usage, None, TimeUs(0)).unwrap_or(Money::ZERO);
        Amount::new(usage.count(counting), cost, TimeUs(0))
    }

    /// Returns what a usage costs, or `None` when it is out of range.
    pub(crate) fn charge(&self, usage: &Usage, tier: Option<&str>, time: TimeUs) -> Option<Money> {
        match self {
            Pricing::Known(price) | Pricing::Ceiling(price) => {
                price.charge(usage, tier, time, 1).ok()
            }
            Pricing::Nothing | Pricing::Unknown => Some(Money::ZERO),
        }
    }

    /// Returns what a usage can have cost at most, when nobody says which service tier it was
    /// served at.
    pub(crate) fn charge_untold(
        &self,
        usage: &Usage,
        asked: Option<&str>,
        time: TimeUs,
    ) -> Option<Money> {
        match self {
            Pricing::Known(price) | Pricing::Ceiling(price) => {
                price.charge_untold(usage, asked, time, 1).ok()
            }
            Pricing::Nothing | Pricing::Unknown => Some(Money::ZERO),
        }
    }

    /// Says whether the price is the owner's guess, or none.
    pub(crate) fn is_estimate(&self) -> bool {
        matches!(self, Pricing::Ceiling(_) | Pricing::Unknown)
    }
}
