//! Counts as the wires report them, merged over a stream, and made disjoint.

use fisc_core::{TokenClass, Units, Usage};

use super::flaws::{FlawKind, Flaws};
use crate::json::{self, Fault, Kind, NotWhole, Reader};
use crate::wire::Wire;

/// The counts of one usage object, `None` where a field is absent, `null` or nonsense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// OpenAI: all input. Anthropic: input outside the cache.
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    /// All cache writes, whatever their life.
    pub(super) cache_write: Option<u64>,
    pub(super) cache_write_5m: Option<u64>,
    pub(super) cache_write_1h: Option<u64>,
    pub(super) audio_input: Option<u64>,
    pub(super) image_input: Option<u64>,
    pub(super) reasoning: Option<u64>,
    pub(super) audio_output: Option<u64>,
    pub(super) image_output: Option<u64>,
    pub(super) searches: Option<u64>,
}

/// A total from which parts are taken until it is used up.
struct Total<'f> {
    left: u64,
    flaws: &'f mut Flaws,
}

/// Reads a count; what is no count is a flaw and missing.
pub(super) fn count(
    reader: &mut Reader<'_>,
    field: &'static str,
    flaws: &mut Flaws,
) -> Result<Option<u64>, Fault> {
    let kind = reader.kind()?;
    let span = reader.skip()?;
    let flaw = match kind {
        Kind::Null => return Ok(None),
        Kind::Number => match json::whole(reader.slice(span)) {
            Ok(count) => return Ok(Some(count)),
            Err(NotWhole::Negative) => FlawKind::Negative,
            Err(NotWhole::Fraction) => FlawKind::Fraction,
            Err(NotWhole::TooLarge) => FlawKind::TooLarge,
        },
        _ => FlawKind::WrongType,
    };
    flaws.add(field, flaw);
    Ok(None)
}

/// Opens an object of counts; what is neither an object nor `null` is a flaw and passed over.
pub(super) fn open(
    reader: &mut Reader<'_>,
    field: &'static str,
    flaws: &mut Flaws,
) -> Result<bool, Fault> {
    let kind = reader.kind()?;
    if kind == Kind::Object {
        reader.open_object()?;
        return Ok(true);
    }
    if kind != Kind::Null {
        flaws.add(field, FlawKind::WrongType);
    }
    reader.pass()?;
    Ok(false)
}

// === impl Counts ===

impl Counts {
    /// Says whether the output was reported.
    pub(crate) fn has_output(&self) -> bool {
        self.output.is_some()
    }

    /// Takes over every field that a later usage object reports: they are cumulative on both
    /// wires, and may correct what came before. Never a sum.
    pub(super) fn merge(&mut self, later: &Counts) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cache_read = later.cache_read.or(self.cache_read);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.cache_write_5m = later.cache_write_5m.or(self.cache_write_5m);
        self.cache_write_1h = later.cache_write_1h.or(self.cache_write_1h);
        self.audio_input = later.audio_input.or(self.audio_input);
        self.image_input = later.image_input.or(self.image_input);
        self.reasoning = later.reasoning.or(self.reasoning);
        self.audio_output = later.audio_output.or(self.audio_output);
        self.image_output = later.image_output.or(self.image_output);
        self.searches = later.searches.or(self.searches);
    }

    /// Returns the counts in disjoint classes, or `None` when nothing was reported.
    pub(super) fn usage(&self, wire: Wire, flaws: &mut Flaws) -> Option<Usage> {
        if *self == Counts::default() {
            return None;
        }
        let (mut usage, reasoning) = match wire {
            Wire::OpenAiChat => (self.inclusive(flaws), "reasoning_tokens"),
            Wire::AnthropicMessages => (self.exclusive(flaws), "thinking_tokens"),
        };
        let mut output = Total {
            left: usage.get(TokenClass::Output),
            flaws,
        };
        usage.reasoning = output.take(reasoning, self.reasoning);
        usage.units = Units {
            searches: self.searches.unwrap_or(0),
        };
        Some(usage)
    }

    /// OpenAI: cached, written, spoken and seen input lie within the prompt, as the kinds of
    /// output lie within the completion.
    fn inclusive(&self, flaws: &mut Flaws) -> Usage {
        let mut prompt = Total {
            left: self.input.unwrap_or(0),
            flaws,
        };
        let cache_read = prompt.take("cached_tokens", self.cache_read);
        let cache_write = prompt.take("cache_write_tokens", self.cache_write);
        let audio_input = prompt.take("prompt audio_tokens", self.audio_input);
        let image_input = prompt.take("prompt image_tokens", self.image_input);
        let uncached = prompt.left;
        let mut completion = Total {
            left: self.output.unwrap_or(0),
            flaws,
        };
        let audio_output = completion.take("completion audio_tokens", self.audio_output);
        let image_output = completion.take("completion image_tokens", self.image_output);
        Usage::default()
            .with(TokenClass::UncachedInput, uncached)
            .with(TokenClass::CacheRead, cache_read)
            .with(TokenClass::CacheWrite5m, cache_write)
            .with(TokenClass::AudioInput, audio_input)
            .with(TokenClass::ImageInput, image_input)
            .with(TokenClass::Output, completion.left)
            .with(TokenClass::AudioOutput, audio_output)
            .with(TokenClass::ImageOutput, image_output)
    }

    /// Anthropic: input, cache reads and cache writes exclude one another; only the writes have
    /// parts, by how long they live. What the split leaves out lives five minutes.
    fn exclusive(&self, flaws: &mut Flaws) -> Usage {
        let split = [self.cache_write_5m, self.cache_write_1h].map(|part| part.unwrap_or(0));
        let written = self
            .cache_write
            .unwrap_or_else(|| split[0].saturating_add(split[1]));
        let mut writes = Total {
            left: written,
            flaws,
        };
        let hour = writes.take("ephemeral_1h_input_tokens", self.cache_write_1h);
        let minutes = writes.left;
        writes.take("ephemeral_5m_input_tokens", self.cache_write_5m);
        Usage::default()
            .with(TokenClass::UncachedInput, self.input.unwrap_or(0))
            .with(TokenClass::CacheRead, self.cache_read.unwrap_or(0))
            .with(TokenClass::CacheWrite5m, minutes)
            .with(TokenClass::CacheWrite1h, hour)
            .with(TokenClass::Output, self.output.unwrap_or(0))
    }
}

// === impl Total ===

impl Total<'_> {
    /// Takes a part, at most what is left; more is a flaw.
    fn take(&mut self, field: &'static str, part: Option<u64>) -> u64 {
        let part = part.unwrap_or(0);
        if part > self.left {
            self.flaws.add(field, FlawKind::ExceedsTotal);
        }
        let taken = part.min(self.left);
        self.left -= taken;
        taken
    }
}
