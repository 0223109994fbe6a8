//! The events of one stream, taken one by one: what adds up, and where the stream stands.

use std::ops::Range;

use super::Progress;
use super::calls::Calls;
use crate::report::{FlawKind, Reported, Tally, anthropic, openai};
use crate::sse::Event;
use crate::wire::Wire;

/// How many choices or blocks are followed, so that nothing grows without bound.
const PARTS_MAX: usize = 256;

/// What the events so far have said.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, no states"
)]
#[derive(Debug)]
pub(super) struct Events {
    wire: Wire,
    tally: Tally,
    /// Counts of the tally when the present chunk began.
    before: (u64, u64),
    terminal: bool,
    pub(super) id: Option<String>,
    /// Time of creation as the provider wrote it.
    pub(super) created: Option<u64>,
    /// Whether the message was begun (Anthropic).
    pub(super) begun: bool,
    /// The choices (OpenAI) or blocks of content (Anthropic) that were begun and not ended.
    pub(super) open: Vec<u64>,
    /// Calls of tools in what is open.
    pub(super) calls: Calls,
    /// Choices that were ended.
    ended: Vec<u64>,
    /// Whether the final usage was sent.
    pub(super) usage_sent: bool,
    mentions_usage: bool,
    done: bool,
}

/// What to do with an event where usage is stripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Drop,
    /// Leave out a part of the data.
    Cut(Range<usize>),
}

// === impl Events ===

impl Events {
    pub(super) fn new(wire: Wire) -> Events {
        Events {
            wire,
            tally: Tally::new(wire),
            before: (0, 0),
            terminal: false,
            id: None,
            created: None,
            begun: false,
            open: Vec::new(),
            calls: Calls::default(),
            ended: Vec::new(),
            usage_sent: false,
            mentions_usage: false,
            done: false,
        }
    }

    /// Begins a chunk, for [`Events::progress`].
    pub(super) fn start_chunk(&mut self) {
        self.before = self.output();
        self.terminal = false;
    }

    /// Returns what the present chunk added.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            terminal: self.terminal,
            output_bytes: self.tally.output_bytes - self.before.0,
            output_events: self.tally.output_events - self.before.1,
            open_tail: 0,
        }
    }

    /// Takes an event.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Verdict {
        if event.oversized {
            self.tally.flaws.add("event", FlawKind::Oversized);
            return Verdict::Keep;
        }
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Verdict::Keep;
        }
        match self.wire {
            Wire::OpenAiChat if data == b"[DONE]" => {
                self.done = true;
                self.terminal = true;
                self.tally.final_usage = true;
                Verdict::Keep
            }
            Wire::OpenAiChat => self.openai(event),
            Wire::AnthropicMessages => {
                self.anthropic(event);
                Verdict::Keep
            }
        }
    }

    pub(super) fn reported(&self) -> Reported {
        self.tally.reported()
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn mentions_usage(&self) -> bool {
        self.mentions_usage
    }

    /// Returns the bytes of output, and the events that carried them.
    pub(super) fn output(&self) -> (u64, u64) {
        (self.tally.output_bytes, self.tally.output_events)
    }

    pub(super) fn model(&self) -> &str {
        self.tally.model.get().unwrap_or("")
    }

    /// Says whether the reason for the end of the answer was sent.
    pub(super) fn has_finish(&self) -> bool {
        self.tally.finish.get().is_some()
    }

    fn openai(&mut self, event: &Event<'_>) -> Verdict {
        let mut chunk = openai::Chunk::default();
        let Events {
            tally,
            open,
            calls,
            ended,
            ..
        } = self;
        let read = openai::read(event.data, &mut chunk, &mut tally.flaws, &mut |choice| {
            tally.finish.update(choice.finish);
            follow(open, ended, choice);
            if let Some(call) = choice.call {
                calls.take(choice.index, call.number, call.arguments);
            }
        });
        chunk.error |= event.name == b"error";
        self.tally.openai(&chunk);
        self.terminal |= chunk.error;
        if self.id.is_none() {
            let id = chunk
                .id
                .filter(|id| !id.raw().is_empty())
                .and_then(|id| id.decode());
            self.id = id.map(std::borrow::Cow::into_owned);
        }
        if self.created.is_none() {
            self.created = chunk.created.and_then(|raw| crate::json::whole(raw).ok());
        }
        if read.is_err() {
            self.tally.flaws.add("event", FlawKind::Unreadable);
            return Verdict::Keep;
        }
        self.mentions_usage |= chunk.usage.is_some() || chunk.usage_null.is_some();
        if chunk.usage.is_some() {
            // Some servers count along on every chunk: final is what comes when all have ended.
            let all_ended = self.open.is_empty() && !self.ended.is_empty();
            self.tally.final_usage = chunk.no_choices || all_ended || self.done;
            self.usage_sent |= self.tally.final_usage;
        } else if chunk.output_bytes > 0 {
            self.tally.final_usage = false;
        }
        match chunk.usage_null {
            _ if chunk.no_choices && chunk.usage.is_some() => Verdict::Drop,
            Some(member) => Verdict::Cut(member),
            None => Verdict::Keep,
        }
    }

    fn anthropic(&mut self, event: &Event<'_>) {
        let mut said = anthropic::Event::default();
        if anthropic::read(event.data, &mut said, &mut self.tally.flaws).is_err() {
            self.tally.flaws.add("event", FlawKind::Unreadable);
        }
        let kind = said.kind.map_or(event.name, |kind| kind.plain());
        said.error |= kind == b"error";
        self.tally.anthropic(&said);
        self.terminal |= said.error;
        let block = said.index.unwrap_or(0);
        match kind {
            b"message_start" => self.begun = true,
            b"content_block_start" if self.open.len() < PARTS_MAX => {
                self.open.push(block);
                if said.awaits_input {
                    self.calls.take(block, None, None);
                }
            }
            b"content_block_delta" if said.partial_json.is_some() => {
                self.calls.take(block, None, said.partial_json);
            }
            b"content_block_stop" => self.open.retain(|open| *open != block),
            b"message_delta" => {
                self.usage_sent |= said.usage.is_some_and(|usage| usage.has_output());
                self.tally.final_usage = self.usage_sent && self.has_finish();
            }
            b"message_stop" => {
                self.done = true;
                self.terminal = true;
                self.tally.final_usage = self.usage_sent;
            }
            _ => {}
        }
    }
}

/// Notes that a choice has begun or ended.
fn follow(open: &mut Vec<u64>, ended: &mut Vec<u64>, choice: &openai::Choice<'_>) {
    if ended.contains(&choice.index) {
        return;
    }
    let place = open.iter().position(|index| *index == choice.index);
    if choice.finish.is_some_and(|finish| !finish.raw().is_empty()) {
        if let Some(place) = place {
            open.swap_remove(place);
        }
        if ended.len() < PARTS_MAX {
            ended.push(choice.index);
        }
    } else if place.is_none() && open.len() < PARTS_MAX {
        open.push(choice.index);
    }
}
