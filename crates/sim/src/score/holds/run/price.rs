//! What calls cost here: a dollar per million tokens of input, a tenth of that where they were
//! cached, four times as much for output.

use std::sync::Arc;

use fisc_core::{Money, TimeUs, Timestamp, TokenClass, Usage};
use fisc_llm::{ModelPrice, PriceBook};

use crate::request::{Request, Requests};

/// What every call costs, and what input that is known beforehand does.
pub(crate) struct Prices {
    pub(crate) charged: Arc<ModelPrice>,
    /// The same money in units of a tenth of a token of input, which is what a cached one costs.
    pub(crate) tenths: Arc<ModelPrice>,
}

const OVERLAY: &str = r#"
[[model]]
match = "charged"
input = "1"
cache_read = "0.1"
cache_write_5m = "1"
cache_write_1h = "1"
output = "4"

[[model]]
match = "tenths"
input = "0.1"
cache_read = "0.1"
cache_write_5m = "0.1"
cache_write_1h = "0.1"
output = "4"
"#;

const MESSAGE: &str = "the simulator's own prices are valid";

// === impl Prices ===

impl Prices {
    pub(crate) fn new() -> Prices {
        let book = PriceBook::with_overlay(OVERLAY).expect(MESSAGE);
        let price = |model| {
            let price = book.price(None, model, Timestamp(0));
            Arc::clone(price.known().expect(MESSAGE))
        };
        Prices {
            charged: price("charged"),
            tenths: price("tenths"),
        }
    }

    /// Returns what a request costs when its output is so long.
    pub(crate) fn charge(&self, request: &Request, output: u64) -> Money {
        let [input, cached] = input(request);
        let usage = Usage::default()
            .with(TokenClass::UncachedInput, input - cached)
            .with(TokenClass::CacheRead, cached)
            .with(TokenClass::Output, output);
        let charge = self.charged.charge(&usage, None, TimeUs(0), 1);
        charge.unwrap_or(Money::MAX)
    }

    /// Returns the mean charge; `None` when there is none.
    pub(crate) fn mean(&self, requests: &Requests) -> Option<Money> {
        let charge = |request| self.charge(request, output(request)).nanos();
        let sum: i128 = requests.iter().map(|one| i128::from(charge(one))).sum();
        let mean = sum.checked_div(requests.len() as i128)?;
        i64::try_from(mean)
            .ok()
            .filter(|nanos| *nanos > 0)
            .map(Money::from_nanos)
    }
}

/// Returns a request's input, and the part of it that was cached.
pub(crate) fn input(request: &Request) -> [u64; 2] {
    let tokens = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
    let input = tokens(request.call.input.0);
    [input, tokens(request.call.cached.0).min(input)]
}

/// Returns a request's input in tenths of an uncached token.
pub(crate) fn tenths(request: &Request) -> u64 {
    let [input, cached] = input(request);
    (input - cached).saturating_mul(10).saturating_add(cached)
}

/// Returns the output that a request has when nothing cuts it.
pub(crate) fn output(request: &Request) -> u64 {
    u64::try_from(request.call.output.0).unwrap_or(0)
}
