//! What adds up over the events of one response.

use super::flaws::Flaws;
use super::usage::Counts;
use super::{Reported, anthropic, openai};
use crate::json::Text;
use crate::wire::Wire;

/// What a response has said so far.
#[derive(Debug)]
pub(crate) struct Tally {
    wire: Wire,
    counts: Counts,
    /// What was wrong in what was read; parts larger than their totals come on top.
    pub(crate) flaws: Flaws,
    pub(crate) model: Latest,
    service_tier: Latest,
    pub(crate) finish: Latest,
    pub(crate) output_bytes: u64,
    pub(crate) output_events: u64,
    pub(crate) error: bool,
    /// Whether the usage that was read is the final one.
    pub(crate) final_usage: bool,
}

/// A string of which the latest non-empty value counts.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    value: Option<String>,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn new(wire: Wire) -> Tally {
        Tally {
            wire,
            counts: Counts::default(),
            flaws: Flaws::default(),
            model: Latest::default(),
            service_tier: Latest::default(),
            finish: Latest::default(),
            output_bytes: 0,
            output_events: 0,
            error: false,
            final_usage: false,
        }
    }

    /// Adds what a chunk says, but for the ends of its choices.
    pub(crate) fn openai(&mut self, chunk: &openai::Chunk<'_>) {
        self.model.update(chunk.model);
        self.service_tier.update(chunk.service_tier);
        self.add(chunk.usage.as_ref(), chunk.output_bytes, chunk.error);
    }

    /// Adds what an event says.
    pub(crate) fn anthropic(&mut self, event: &anthropic::Event<'_>) {
        self.model.update(event.model);
        self.service_tier.update(event.service_tier);
        self.finish.update(event.stop_reason);
        self.add(event.usage.as_ref(), event.output_bytes, event.error);
    }

    /// Returns what was said so far.
    pub(crate) fn reported(&self) -> Reported {
        let mut flaws = self.flaws.clone();
        let usage = self.counts.usage(self.wire, &mut flaws);
        let input_seen = self.counts.input.is_some();
        Reported {
            usage,
            flaws,
            model: self.model.value.clone(),
            service_tier: self.service_tier.value.clone(),
            output_bytes: self.output_bytes,
            output_events: self.output_events,
            finish: self.finish.value.clone(),
            error: self.error,
            input_seen,
            complete: self.final_usage && input_seen && self.counts.output.is_some(),
        }
    }

    fn add(&mut self, counts: Option<&Counts>, output_bytes: u64, error: bool) {
        if let Some(counts) = counts {
            self.counts.merge(counts);
        }
        self.output_bytes = self.output_bytes.saturating_add(output_bytes);
        self.output_events += u64::from(output_bytes > 0);
        self.error |= error;
    }
}

// === impl Latest ===

impl Latest {
    /// Takes over a value that says something.
    pub(crate) fn update(&mut self, text: Option<Text<'_>>) {
        let Some(text) = text.filter(|text| !text.raw().is_empty()) else {
            return;
        };
        // The same on each of a thousand chunks: compared before it is copied.
        if self
            .value
            .as_ref()
            .is_some_and(|value| value.as_bytes() == text.plain())
        {
            return;
        }
        if let Some(decoded) = text.decode() {
            self.value = Some(decoded.into_owned());
        }
    }

    pub(crate) fn get(&self) -> Option<&str> {
        self.value.as_deref()
    }
}
