//! The built-in catalogue: the only file that knows the crate `genai-prices`.
//!
//! That crate answers in floats and keeps its rates to itself, so this file asks it for the price
//! of round amounts of one token class at a time and rounds the answer to pico-dollars, which is
//! exact for every price with at most six decimals. Thresholds of context tiers are found by
//! bisection. The result is plain integers; nothing past this file sees a float.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fisc_core::{Money, Timestamp, TokenClass};
use genai_prices::{Calculator, PriceCalculation, PriceRequest, Usage, UsageKey};

use super::model_price::{ContextTier, ModelPrice, Rates, Schedule, Source};
use super::name::Candidate;
use super::rate::{ONE_PPM, PicoUsdPerToken};

/// The catalogue and its version, part of the price book's version.
pub(super) const VERSION: &str = "genai-prices-0.2.1";

/// How long an answer holds. Prices that depend on the time of day change on half hours.
pub(super) const VALID_US: i64 = 30 * 60 * 1_000_000;

/// Service tiers that the catalogue may price apart, and how it spells them.
const VARIANTS: [(&str, &str, &str); 4] = [
    ("batch", "processing", "batch"),
    ("flex", "service_tier", "flex"),
    ("priority", "service_tier", "priority"),
    ("fast", "service_tier", "fast"),
];

/// Inputs at which a change of rates is looked for; two changes that cancel out between two
/// neighbours would be missed, and no price list has them.
const GRID: [u64; 13] = [
    1,
    1 << 12,
    1 << 13,
    1 << 14,
    1 << 15,
    1 << 16,
    1 << 17,
    1 << 18,
    1 << 19,
    1 << 20,
    1 << 21,
    1 << 22,
    1 << 23,
];

/// Two float answers closer than this, relatively, are the same rate.
const SAME: f64 = 1e-9;
const MTOK: f64 = 1e6;
const PICOS_PER_USD: f64 = 1e12;
const NANOS_PER_USD: f64 = 1e9;
const SEARCHES: f64 = 1e3;

/// What the catalogue knows of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// `None` when it knows the model but no price per token: never taken as free.
    pub(super) price: Option<ModelPrice>,
    pub(super) context_window: Option<u64>,
}

/// One model as the catalogue is asked about it.
#[derive(Clone, Copy)]
struct Probe<'a> {
    provider: Option<&'a str>,
    model: &'a str,
    at: SystemTime,
    context: Option<(&'static str, &'static str)>,
}

/// Decodes the catalogue, so that the first call does not wait for it.
pub(super) fn warm() {
    let _decoded = Calculator::bundled();
}

/// Finds a model: under the given provider, under the provider of its prefix, then by its name.
pub(super) fn find(
    provider: Option<&str>,
    candidates: &[Candidate],
    at: Timestamp,
) -> Option<Found> {
    let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0));
    let asked = |candidate: &Candidate| candidate.prefix.is_none().then_some(provider).flatten();
    let named = |candidate: &Candidate| candidate.prefix.clone();
    for candidate in candidates {
        if let Some(provider) = asked(candidate)
            && let Some(found) = (Probe {
                provider: Some(provider),
                ..probe(candidate, at)
            })
            .find()
        {
            return Some(found);
        }
        if let Some(prefix) = named(candidate)
            && let Some(found) = (Probe {
                provider: Some(&prefix),
                ..probe(candidate, at)
            })
            .find()
        {
            return Some(found);
        }
    }
    candidates
        .iter()
        .find_map(|candidate| probe(candidate, at).find())
}

/// Lists every model: its provider's name and its own.
pub(super) fn models() -> impl Iterator<Item = (&'static str, &'static str)> {
    Calculator::bundled().providers().flat_map(|provider| {
        let id = provider.id();
        provider.models().map(move |model| (id, model.id()))
    })
}

fn probe(candidate: &Candidate, at: SystemTime) -> Probe<'_> {
    Probe {
        provider: None,
        model: &candidate.model,
        at,
        context: None,
    }
}

// === impl Probe ===

impl Probe<'_> {
    fn find(&self) -> Option<Found> {
        let nothing = self.ask(&Usage::new())?;
        let context_window = context_window(&nothing);
        let price = self.price(&nothing).filter(|price| !price.is_free());
        Some(Found {
            price,
            context_window,
        })
    }

    fn price(&self, nothing: &PriceCalculation) -> Option<ModelPrice> {
        let standard = Schedule {
            name: Schedule::STANDARD,
            tiers: self.tiers()?,
        };
        let mut schedules = vec![standard];
        for (name, key, value) in VARIANTS {
            let tiers = Probe {
                context: Some((key, value)),
                ..*self
            }
            .tiers()?;
            if tiers != schedules[0].tiers {
                schedules.push(Schedule { name, tiers });
            }
        }
        let searched = self.ask(&Usage::from([(UsageKey::WEB_SEARCHES, SEARCHES)]))?;
        let per_search = (searched.total_price - nothing.total_price) / SEARCHES;
        Some(ModelPrice {
            model: nothing.model_id.clone(),
            provider: Some(nothing.provider_id.clone()),
            source: Source::Builtin,
            caches_unasked: !nothing.model_id.to_lowercase().contains("claude"),
            schedules,
            per_call: money(nothing.total_price)?,
            per_second: Money::ZERO,
            per_search: money(per_search)?,
            multiplier_ppm: ONE_PPM,
        })
    }

    fn tiers(&self) -> Option<Vec<ContextTier>> {
        let first = ContextTier {
            above: 0,
            rates: self.rates(GRID[0])?,
        };
        let mut tiers = vec![first];
        for above in self.thresholds()? {
            tiers.push(ContextTier {
                above,
                rates: self.rates(above + 1)?,
            });
        }
        Some(tiers)
    }

    /// Returns the inputs above which some rate differs from the one below.
    fn thresholds(&self) -> Option<Vec<u64>> {
        let mut found = Vec::new();
        for pair in GRID.windows(2) {
            let mut low = pair[0];
            while !self.same(low, pair[1])? {
                let start = low;
                let mut high = pair[1];
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    let side = if self.same(start, middle)? {
                        &mut low
                    } else {
                        &mut high
                    };
                    *side = middle;
                }
                found.push(low);
                low = high;
            }
        }
        Some(found)
    }

    fn same(&self, one: u64, other: u64) -> Option<bool> {
        let (one, other) = (self.mean_rate(one)?, self.mean_rate(other)?);
        Some((one - other).abs() <= SAME * one.max(other))
    }

    /// Prices a call with input of several classes, per token of its input.
    fn mean_rate(&self, input: u64) -> Option<f64> {
        let input = input as f64;
        let usage = Usage::from([
            (UsageKey::INPUT_TOKENS, input),
            (UsageKey::CACHE_READ_TOKENS, input / 4.0),
            (UsageKey::CACHE_WRITE_TOKENS, input / 4.0),
            (UsageKey::OUTPUT_TOKENS, input / 4.0),
        ]);
        let price = self.ask(&usage)?;
        Some((price.input_price + price.output_price) / input)
    }

    fn rates(&self, input: u64) -> Option<Rates> {
        let mut rates = Rates::default();
        for class in TokenClass::ALL {
            rates.set(class, self.rate(class, input as f64)?);
        }
        // Every Claude price list charges twice the input for an hour; some entries leave it out.
        let get = |class| rates.get(class);
        let write = get(TokenClass::CacheWrite5m);
        let claude = self.model.contains("claude") && write > get(TokenClass::UncachedInput);
        if claude && get(TokenClass::CacheWrite1h) == write {
            let double = get(TokenClass::UncachedInput).pico().checked_mul(2)?;
            rates.set(
                TokenClass::CacheWrite1h,
                PicoUsdPerToken::from_pico(double)?.max(write),
            );
        }
        Some(rates)
    }

    fn rate(&self, class: TokenClass, input: f64) -> Option<PicoUsdPerToken> {
        let keys: &[UsageKey] = match class {
            TokenClass::UncachedInput | TokenClass::Output => &[],
            TokenClass::CacheRead => &[UsageKey::CACHE_READ_TOKENS],
            TokenClass::CacheWrite5m => &[
                UsageKey::CACHE_WRITE_TOKENS,
                UsageKey::CACHE_WRITE_5M_TOKENS,
            ],
            TokenClass::CacheWrite1h => &[
                UsageKey::CACHE_WRITE_TOKENS,
                UsageKey::CACHE_WRITE_1H_TOKENS,
            ],
            TokenClass::AudioInput => &[UsageKey::INPUT_AUDIO_TOKENS],
            TokenClass::ImageInput => &[UsageKey::INPUT_IMAGE_TOKENS],
            TokenClass::AudioOutput => &[UsageKey::OUTPUT_AUDIO_TOKENS],
            TokenClass::ImageOutput => &[UsageKey::OUTPUT_IMAGE_TOKENS],
        };
        let mut usage = Usage::from([(UsageKey::INPUT_TOKENS, input)]);
        let amount = if class.is_output() { MTOK } else { input };
        if class.is_output() {
            usage.insert(UsageKey::OUTPUT_TOKENS, amount);
        }
        for key in keys {
            usage.insert(key.clone(), amount);
        }
        let price = self.ask(&usage)?;
        let paid = if class.is_output() {
            price.output_price
        } else {
            price.input_price
        };
        PicoUsdPerToken::from_pico(whole(paid / amount * PICOS_PER_USD)?)
    }

    fn ask(&self, usage: &Usage) -> Option<PriceCalculation> {
        let mut request = PriceRequest::new(self.model, usage).with_timestamp(self.at);
        if let Some(provider) = self.provider {
            request = request.with_provider_id(provider);
        }
        if let Some((key, value)) = self.context {
            request = request.with_price_context(key, value);
        }
        Calculator::bundled().calculate(&request).ok()
    }
}

fn context_window(found: &PriceCalculation) -> Option<u64> {
    let mut providers = Calculator::bundled().providers();
    let provider = providers.find(|provider| provider.id() == found.provider_id)?;
    provider
        .models()
        .find(|model| model.id() == found.model_id)?
        .context_window()
}

fn money(usd: f64) -> Option<Money> {
    whole(usd * NANOS_PER_USD).map(Money::from_nanos)
}

/// Rounds a price to an integer; `None` when it is no price.
fn whole(units: f64) -> Option<i64> {
    const LIMIT: f64 = 9e18;
    (units.is_finite() && (0.0..LIMIT).contains(&units)).then(|| units.round() as i64)
}

#[cfg(test)]
mod tests;
