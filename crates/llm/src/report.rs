//! What a response reported and visibly generated.
//!
//! Every figure is either what the provider validly said or absent: absent is not 0 and not
//! `null`, nonsense is absent and told as a flaw. Whether an absent figure is then estimated is
//! not decided here.

pub(crate) mod anthropic;
mod flaws;
pub(crate) mod openai;
mod tally;
mod usage;

use fisc_core::Usage;

use crate::wire::Wire;

pub use flaws::{Flaw, FlawKind, Flaws};
pub(crate) use tally::Tally;

/// What a response, or the part of it that has passed, said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// What was reported as used, in disjoint classes. While [`Reported::complete`] is false some
    /// classes may be missing, and count 0 here. `None` when nothing was reported.
    pub usage: Option<Usage>,
    /// What was reported and cannot be.
    pub flaws: Flaws,
    /// The model that answered.
    pub model: Option<String>,
    /// The service tier that was used.
    pub service_tier: Option<String>,
    /// Bytes of text, arguments of tools and visible reasoning that were generated.
    pub output_bytes: u64,
    /// Events of a stream that carried such bytes; 0 for a body.
    pub output_events: u64,
    /// Why the answer ended, in the wire's words; the last reason where there are several.
    pub finish: Option<String>,
    /// Whether the response carried an error.
    pub error: bool,
    /// Whether the input's size was validly reported, whatever came after.
    pub input_seen: bool,
    /// Whether the wire's final usage was validly reported.
    pub complete: bool,
}

/// Reads a response that is not a stream. A body that is cut or no JSON gives what could be read
/// of it, with a flaw.
pub fn read_response(wire: Wire, body: &[u8]) -> Reported {
    let mut tally = Tally::new(wire);
    let read = match wire {
        Wire::OpenAiChat => {
            let mut chunk = openai::Chunk::default();
            let read = openai::read(body, &mut chunk, &mut tally.flaws, &mut |choice| {
                tally.finish.update(choice.finish);
            });
            tally.openai(&chunk);
            read
        }
        Wire::AnthropicMessages => {
            let mut event = anthropic::Event::default();
            let read = anthropic::read(body, &mut event, &mut tally.flaws);
            tally.anthropic(&event);
            read
        }
    };
    tally.output_events = 0;
    tally.final_usage = read.is_ok();
    if read.is_err() {
        tally.flaws.add("body", FlawKind::Unreadable);
    }
    tally.reported()
}
