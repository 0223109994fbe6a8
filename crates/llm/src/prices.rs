//! The price book: what models cost, in exact integers.
//!
//! Rates come from the built-in catalogue (`catalogue.rs`, the only file that knows where from)
//! and from the owner's overlay, which always wins. A model that neither prices is *unpriced*: a
//! state of its own, never a price of zero. A resolved price is an [`Arc`] that a hold keeps, so
//! that a call is settled at the prices it was held at. Files, feeds and clocks are the caller's.

mod catalogue;
mod model_price;
mod name;
mod overlay;
mod rate;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fisc_core::Timestamp;

pub use self::model_price::{CallBound, ContextTier, ModelPrice, Rates, Schedule, Source};
use self::name::{MAX_MODEL_BYTES, candidates};
use self::overlay::Overlay;
pub use self::overlay::OverlayError;
pub use self::rate::{DecimalError, PicoUsdPerToken};
use crate::models::{self, ModelLimits};

/// The most models that are remembered; names come from clients, so memory must not follow them.
const MAX_CACHED: usize = 4_096;

/// What a model costs, or that nobody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// The model's price.
    Known(Arc<ModelPrice>),
    /// Neither the catalogue nor the overlay prices the model.
    Unpriced,
}

/// A model of which a price book has something to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedModel {
    /// Its provider; `None` where the owner's entry is for any.
    pub provider: Option<String>,
    /// Its name; of an owner's entry also the beginning of names, followed by `*`.
    pub model: String,
}

/// Prices of all models, immutable but for its memory of what was looked up.
pub struct PriceBook {
    version: String,
    overlay: Overlay,
    /// Provider, then model as asked, so that a lookup allocates nothing.
    cache: RwLock<Cache>,
}

#[derive(Default)]
struct Cache {
    by_provider: HashMap<String, HashMap<String, Resolved>>,
    models: usize,
}

#[derive(Debug, Clone)]
struct Resolved {
    price: Price,
    limits: ModelLimits,
    valid_until: Timestamp,
    valid_from: Timestamp,
}

// === impl Price ===

impl Price {
    /// Returns the price where it is known.
    pub fn known(&self) -> Option<&Arc<ModelPrice>> {
        match self {
            Price::Known(price) => Some(price),
            Price::Unpriced => None,
        }
    }
}

// === impl PriceBook ===

impl PriceBook {
    /// Returns the built-in catalogue alone. Decodes it, which takes tens of milliseconds once.
    pub fn builtin() -> PriceBook {
        catalogue::warm();
        PriceBook {
            version: catalogue::VERSION.to_owned(),
            overlay: Overlay::default(),
            cache: RwLock::default(),
        }
    }

    /// Returns the built-in catalogue under an overlay of this text (TOML).
    pub fn with_overlay(toml: &str) -> Result<PriceBook, OverlayError> {
        let overlay = Overlay::parse(toml)?;
        let version = format!("{}+overlay-{:016x}", catalogue::VERSION, fingerprint(toml));
        Ok(PriceBook {
            version,
            overlay,
            ..PriceBook::builtin()
        })
    }

    /// Returns the version that ledger entries name: the catalogue's, and a hash of the overlay.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Lists what the owner's entries match, as written, then the models of the catalogue; not
    /// all of them have a price.
    pub fn models(&self) -> Vec<ListedModel> {
        let owners = self.overlay.models().map(|(provider, model)| ListedModel {
            provider: provider.map(str::to_owned),
            model,
        });
        let builtin = catalogue::models().map(|(provider, model)| ListedModel {
            provider: Some(provider.to_owned()),
            model: model.to_owned(),
        });
        owners.chain(builtin).collect()
    }

    /// Returns the price of a model at a time.
    ///
    /// `provider` is the catalogue's or overlay's name of the upstream; where it does not sell
    /// the model, the model's own prefix and then its name decide.
    pub fn price(&self, provider: Option<&str>, model: &str, at: Timestamp) -> Price {
        self.resolved(provider, model, at).price
    }

    /// Returns what is known of a model's size at a time.
    pub fn limits(&self, provider: Option<&str>, model: &str, at: Timestamp) -> ModelLimits {
        self.resolved(provider, model, at).limits
    }

    fn resolved(&self, provider: Option<&str>, model: &str, at: Timestamp) -> Resolved {
        let provider_key = provider.unwrap_or_default();
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let cached = cache
            .by_provider
            .get(provider_key)
            .and_then(|models| models.get(model));
        if let Some(resolved) = cached.filter(|resolved| resolved.covers(at)) {
            return resolved.clone();
        }
        drop(cache);
        let resolved = self.resolve(provider, model, at);
        if model.len() <= MAX_MODEL_BYTES && provider_key.len() <= MAX_MODEL_BYTES {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            cache.insert(provider_key, model, resolved.clone());
        }
        resolved
    }

    fn resolve(&self, provider: Option<&str>, model: &str, at: Timestamp) -> Resolved {
        let slot = at.0.div_euclid(catalogue::VALID_US);
        let valid_from = Timestamp(slot.saturating_mul(catalogue::VALID_US));
        let valid_until = Timestamp(valid_from.0.saturating_add(catalogue::VALID_US));
        if model.len() > MAX_MODEL_BYTES {
            let limits = models::limits("", None, None);
            return Resolved {
                price: Price::Unpriced,
                limits,
                valid_until,
                valid_from,
            };
        }
        let candidates = candidates(model);
        let found = catalogue::find(provider, &candidates, at);
        let entry = self.overlay.find(provider, &candidates);
        let base = found.as_ref().and_then(|found| found.price.as_ref());
        let price = match entry {
            Some(entry) => entry.price(model, base),
            None => base.cloned(),
        };
        let window = entry
            .and_then(|entry| entry.context_window)
            .or(found.as_ref().and_then(|found| found.context_window));
        let output = entry.and_then(|entry| entry.max_output);
        let name = candidates
            .iter()
            .find(|candidate| candidate.prefix.is_some());
        let name = name.map_or(candidates[0].model.as_str(), |candidate| &candidate.model);
        Resolved {
            price: price.map_or(Price::Unpriced, |price| Price::Known(Arc::new(price))),
            limits: models::limits(name, output, window),
            valid_until,
            valid_from,
        }
    }
}

impl fmt::Debug for PriceBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceBook")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

// === impl Cache ===

impl Cache {
    fn insert(&mut self, provider: &str, model: &str, resolved: Resolved) {
        if self.models >= MAX_CACHED {
            *self = Cache::default();
        }
        let models = self.by_provider.entry(provider.to_owned()).or_default();
        if models.insert(model.to_owned(), resolved).is_none() {
            self.models += 1;
        }
    }
}

// === impl Resolved ===

impl Resolved {
    fn covers(&self, at: Timestamp) -> bool {
        self.valid_from <= at && at < self.valid_until
    }
}

/// FNV-1a: a label of the overlay's text that is the same on every machine. It tells versions
/// apart; it is no protection against forgery.
fn fingerprint(text: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests;
