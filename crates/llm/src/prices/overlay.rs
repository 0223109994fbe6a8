//! The owner's price file: self-hosted models, discounts, prices per call, second or search.
//!
//! Text in, checked entries out; every number is a decimal in quotes, read exactly. An entry wins
//! over the catalogue wherever it says something. Reading the file from disk is not done here.
//!
//! ```toml
//! [[model]]
//! match = "llama-*"        # exact, or a prefix followed by *
//! provider = "my-vllm"     # optional
//! input = "0.20"           # dollars per million tokens
//! output = "0.60"
//! ```

use std::fmt;

use fisc_core::{Money, ParseMoneyError, TokenClass};
use serde::Deserialize;
use toml::Spanned;

use super::model_price::{ContextTier, ModelPrice, Rates, Schedule, Source};
use super::name::Candidate;
use super::rate::{DecimalError, ONE_PPM, PicoUsdPerToken, parse_millionths};

/// The most entries of one file.
const MAX_ENTRIES: usize = 10_000;

/// Says where a price file is wrong and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prices, line {line}: {message}")]
pub struct OverlayError {
    line: usize,
    message: String,
    hint: String,
}

/// The checked entries of a price file.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    entries: Vec<Entry>,
}

/// One checked `[[model]]`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pattern: Pattern,
    provider: Option<String>,
    rates: [Option<PicoUsdPerToken>; TokenClass::COUNT],
    per_call: Option<Money>,
    per_second: Option<Money>,
    per_search: Option<Money>,
    multiplier_ppm: Option<i64>,
    free: bool,
    pub(super) max_output: Option<u64>,
    pub(super) context_window: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    model: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    provider: Option<String>,
    input: Option<Spanned<String>>,
    output: Option<Spanned<String>>,
    cache_read: Option<Spanned<String>>,
    cache_write_5m: Option<Spanned<String>>,
    cache_write_1h: Option<Spanned<String>>,
    audio_input: Option<Spanned<String>>,
    image_input: Option<Spanned<String>>,
    audio_output: Option<Spanned<String>>,
    image_output: Option<Spanned<String>>,
    per_call: Option<Spanned<String>>,
    per_second: Option<Spanned<String>>,
    per_search: Option<Spanned<String>>,
    multiplier: Option<Spanned<String>>,
    max_output: Option<Spanned<u64>>,
    context_window: Option<Spanned<u64>>,
    #[serde(default)]
    free: bool,
}

/// Turns offsets in the text into lines of errors.
struct Reader<'a> {
    text: &'a str,
}

// === impl OverlayError ===

impl OverlayError {
    /// Returns the line of the file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Suggests how to mend the file.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

// === impl Pattern ===

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(name) => f.write_str(name),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

// === impl Overlay ===

impl Overlay {
    pub(super) fn parse(text: &str) -> Result<Overlay, OverlayError> {
        let reader = Reader { text };
        let file: RawFile = toml::from_str(text).map_err(|error| reader.toml(&error))?;
        if file.model.len() > MAX_ENTRIES {
            let message = format!("more than {MAX_ENTRIES} models");
            return Err(reader.error(0, message, "match families of models with a trailing *"));
        }
        let mut overlay = Overlay::default();
        for raw in file.model {
            let offset = raw.span().start;
            let entry = reader.entry(offset, raw.into_inner())?;
            let same =
                |other: &&Entry| other.pattern == entry.pattern && other.provider == entry.provider;
            if overlay.entries.iter().find(same).is_some() {
                let message = "a second entry for the same match and provider".to_owned();
                return Err(reader.error(offset, message, "keep one of the two"));
            }
            overlay.entries.push(entry);
        }
        Ok(overlay)
    }

    /// Lists what the entries match, as written: a provider, if one is named, and a pattern.
    pub(super) fn models(&self) -> impl Iterator<Item = (Option<&str>, String)> {
        self.entries
            .iter()
            .map(|entry| (entry.provider.as_deref(), entry.pattern.to_string()))
    }

    /// Returns the most specific entry for a model: exact before prefix, longer before shorter,
    /// with a provider before without.
    pub(super) fn find(&self, provider: Option<&str>, candidates: &[Candidate]) -> Option<&Entry> {
        let matching = self
            .entries
            .iter()
            .filter(|entry| entry.matches(provider, candidates));
        matching.max_by_key(|entry| entry.specificity())
    }
}

// === impl Entry ===

impl Entry {
    /// Puts the entry on top of the catalogue's price; `None` leaves the model unpriced.
    pub(super) fn price(&self, model: &str, base: Option<&ModelPrice>) -> Option<ModelPrice> {
        if !self.says_price() {
            return base.cloned();
        }
        let mut price = match base {
            Some(base) if !self.free => base.clone(),
            _ => self.blank(model)?,
        };
        price.source = Source::Overlay;
        for tier in price
            .schedules
            .iter_mut()
            .flat_map(|schedule| &mut schedule.tiers)
        {
            self.replace(&mut tier.rates);
        }
        price.per_call = self.per_call.unwrap_or(price.per_call);
        price.per_second = self.per_second.unwrap_or(price.per_second);
        price.per_search = self.per_search.unwrap_or(price.per_search);
        price.multiplier_ppm = self.multiplier_ppm.unwrap_or(price.multiplier_ppm);
        Some(price)
    }

    fn says_price(&self) -> bool {
        let fee = self
            .per_call
            .or(self.per_second)
            .or(self.per_search)
            .is_some();
        let rate = self.rates.iter().any(Option::is_some);
        self.free || fee || rate || self.multiplier_ppm.is_some()
    }

    /// A price without a catalogue beneath: only when the entry alone says what tokens cost.
    fn blank(&self, model: &str) -> Option<ModelPrice> {
        let of = |class: TokenClass| self.rates[class.index()];
        let tokens = of(TokenClass::UncachedInput).is_some() && of(TokenClass::Output).is_some();
        let no_rates = self.rates.iter().all(Option::is_none);
        let fees_only = no_rates && self.per_call.or(self.per_second).is_some();
        if !(self.free || tokens || fees_only) {
            return None;
        }
        let tiers = vec![ContextTier {
            above: 0,
            rates: Rates::default(),
        }];
        Some(ModelPrice {
            model: model.trim().to_lowercase(),
            provider: self.provider.clone(),
            source: Source::Overlay,
            schedules: vec![Schedule {
                name: Schedule::STANDARD,
                tiers,
            }],
            per_call: Money::ZERO,
            per_second: Money::ZERO,
            per_search: Money::ZERO,
            multiplier_ppm: ONE_PPM,
            caches_unasked: true,
        })
    }

    /// Replaces what the entry names; a class that was not priced apart follows its parent.
    fn replace(&self, rates: &mut Rates) {
        let before = *rates;
        for class in TokenClass::ALL {
            let parent = parent(class);
            let followed = parent != class && before.get(class) == before.get(parent);
            if let Some(rate) = self.rates[class.index()] {
                rates.set(class, rate);
            } else if followed {
                rates.set(class, rates.get(parent));
            }
        }
    }

    fn matches(&self, provider: Option<&str>, candidates: &[Candidate]) -> bool {
        candidates.iter().any(|candidate| {
            let model = match &self.pattern {
                Pattern::Exact(name) => candidate.model == *name,
                Pattern::Prefix(prefix) => candidate.model.starts_with(prefix.as_str()),
            };
            let is = |wanted: &str, given: &str| wanted.eq_ignore_ascii_case(given);
            let provider = self.provider.as_deref().is_none_or(|wanted| {
                provider.is_some_and(|given| is(wanted, given))
                    || candidate
                        .prefix
                        .as_deref()
                        .is_some_and(|given| is(wanted, given))
            });
            model && provider
        })
    }

    fn specificity(&self) -> (bool, usize, bool) {
        let (exact, length) = match &self.pattern {
            Pattern::Exact(name) => (true, name.len()),
            Pattern::Prefix(prefix) => (false, prefix.len()),
        };
        (exact, length, self.provider.is_some())
    }
}

/// The class whose rate a class has when it is not priced apart. Parents come first in
/// [`TokenClass::ALL`].
fn parent(class: TokenClass) -> TokenClass {
    match class {
        TokenClass::UncachedInput
        | TokenClass::CacheRead
        | TokenClass::CacheWrite5m
        | TokenClass::AudioInput
        | TokenClass::ImageInput => TokenClass::UncachedInput,
        TokenClass::CacheWrite1h => TokenClass::CacheWrite5m,
        TokenClass::Output | TokenClass::AudioOutput | TokenClass::ImageOutput => {
            TokenClass::Output
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn entry(&self, offset: usize, raw: RawEntry) -> Result<Entry, OverlayError> {
        let mut rates = [None; TokenClass::COUNT];
        for class in TokenClass::ALL {
            rates[class.index()] = self.rate(class, raw.rate(class))?;
        }
        let entry = Entry {
            pattern: self.pattern(&raw.pattern)?,
            rates,
            per_call: self.money("per_call", raw.per_call.as_ref())?,
            per_second: self.money("per_second", raw.per_second.as_ref())?,
            per_search: self.money("per_search", raw.per_search.as_ref())?,
            multiplier_ppm: self.multiplier(raw.multiplier.as_ref())?,
            max_output: self.count("max_output", raw.max_output.as_ref())?,
            context_window: self.count("context_window", raw.context_window.as_ref())?,
            provider: raw.provider,
            free: raw.free,
        };
        if entry.free
            && (Entry {
                free: false,
                ..entry.clone()
            })
            .says_price()
        {
            let message = "free = true beside a price".to_owned();
            return Err(self.error(offset, message, "remove the price, or free = true"));
        }
        if !entry.says_price() && entry.max_output.or(entry.context_window).is_none() {
            let message = "an entry that says nothing of the model".to_owned();
            return Err(self.error(offset, message, "give a price, or free = true"));
        }
        Ok(entry)
    }

    fn pattern(&self, text: &Spanned<String>) -> Result<Pattern, OverlayError> {
        let pattern = text.get_ref().trim().to_lowercase();
        let (stem, prefix) = match pattern.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (pattern.as_str(), false),
        };
        if stem.contains('*') || (stem.is_empty() && !prefix) {
            let message = format!("match = {:?} is no model name", text.get_ref());
            let hint = "write a model's name, or a prefix followed by one *, as \"llama-*\"";
            return Err(self.error(text.span().start, message, hint));
        }
        let stem = stem.to_owned();
        Ok(if prefix {
            Pattern::Prefix(stem)
        } else {
            Pattern::Exact(stem)
        })
    }

    fn rate(
        &self,
        class: TokenClass,
        text: Option<&Spanned<String>>,
    ) -> Result<Option<PicoUsdPerToken>, OverlayError> {
        let Some(text) = text else { return Ok(None) };
        let rate = PicoUsdPerToken::from_usd_per_mtok(text.get_ref());
        rate.map(Some)
            .map_err(|error| self.decimal(class.name(), text, error))
    }

    fn multiplier(&self, text: Option<&Spanned<String>>) -> Result<Option<i64>, OverlayError> {
        let Some(text) = text else { return Ok(None) };
        match parse_millionths(text.get_ref()) {
            Ok(0) => {
                let message = "multiplier = \"0\" would make the model free".to_owned();
                Err(self.error(text.span().start, message, "write free = true instead"))
            }
            Ok(ppm) => Ok(Some(ppm)),
            Err(error) => Err(self.decimal("multiplier", text, error)),
        }
    }

    fn money(
        &self,
        key: &str,
        text: Option<&Spanned<String>>,
    ) -> Result<Option<Money>, OverlayError> {
        let Some(text) = text else { return Ok(None) };
        let money = text.get_ref().parse::<Money>();
        money.map(Some).map_err(|error: ParseMoneyError| {
            let message = format!("{key} = {:?}: {error}", text.get_ref());
            self.error(text.span().start, message, error.hint())
        })
    }

    fn count(&self, key: &str, count: Option<&Spanned<u64>>) -> Result<Option<u64>, OverlayError> {
        let Some(count) = count else { return Ok(None) };
        if *count.get_ref() == 0 {
            let message = format!("{key} = 0");
            return Err(self.error(
                count.span().start,
                message,
                "give a number of tokens above 0",
            ));
        }
        Ok(Some(*count.get_ref()))
    }

    fn decimal(&self, key: &str, text: &Spanned<String>, error: DecimalError) -> OverlayError {
        let message = format!("{key} = {:?}: {error}", text.get_ref());
        self.error(text.span().start, message, error.hint())
    }

    fn toml(&self, error: &toml::de::Error) -> OverlayError {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().to_owned();
        let hint = if message.contains("expected a string") {
            "write prices in quotes, as input = \"0.15\", so that they stay exact"
        } else {
            "see the price file's reference for the keys of [[model]]"
        };
        self.error(offset, message, hint)
    }

    fn error(&self, offset: usize, message: String, hint: &str) -> OverlayError {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        OverlayError {
            line,
            message,
            hint: hint.to_owned(),
        }
    }
}

// === impl RawEntry ===

impl RawEntry {
    fn rate(&self, class: TokenClass) -> Option<&Spanned<String>> {
        let rate = match class {
            TokenClass::UncachedInput => &self.input,
            TokenClass::CacheRead => &self.cache_read,
            TokenClass::CacheWrite5m => &self.cache_write_5m,
            TokenClass::CacheWrite1h => &self.cache_write_1h,
            TokenClass::AudioInput => &self.audio_input,
            TokenClass::ImageInput => &self.image_input,
            TokenClass::Output => &self.output,
            TokenClass::AudioOutput => &self.audio_output,
            TokenClass::ImageOutput => &self.image_output,
        };
        rate.as_ref()
    }
}

#[cfg(test)]
mod tests;
