//! What a hold needs to know of a request, borrowed from its body, and the edits of that body.
//!
//! Reads one pass over the bytes and copies no message. What it evaluates is what is forwarded:
//! a body that two parsers could understand differently in something that bills is refused. It
//! estimates nothing and knows no price.

mod body;
mod content;
mod edit;
mod names;
mod places;
mod prefix;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use self::edit::{CapField, Edits, TaskBudget};
use self::places::Places;
use crate::json::Fault;
use crate::wire::Wire;

/// How many choices (`n`) one request may ask for.
pub const CHOICES_MAX: u64 = 128;

/// How many searches a server-side search tool may make in one request when the body sets no
/// `max_uses`: the provider pauses the turn after so many rounds.
pub const SEARCHES_DEFAULT: u64 = 10;

/// The facts of one request.
#[derive(Debug, Clone)]
pub struct RequestFacts<'a> {
    /// The wire that the body was read as.
    pub wire: Wire,
    /// The model asked for.
    pub model: Cow<'a, str>,
    /// Whether the response is to be streamed.
    pub stream: bool,
    /// The most tokens of output, as sent; the larger one where two names give it.
    pub output_cap: Option<u64>,
    /// How much of the output is set aside for thinking (`thinking.budget_tokens`), in tokens;
    /// the provider refuses a cap that does not lie above it.
    pub thinking: u64,
    /// How many answers are asked for (`n`), at least 1.
    pub choices: u64,
    /// `stream_options.include_usage` as sent.
    pub include_usage: Option<bool>,
    /// The service tier asked for.
    pub service_tier: Option<Cow<'a, str>>,
    /// The shape and size of the input.
    pub input: InputShape,
    places: Places,
}

/// The shape and size of a request's input.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, no states"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputShape {
    /// Bytes of the whole body.
    pub body_bytes: u64,
    /// One for what stands before the messages, if anything does, then one for each message, in
    /// their order.
    pub prefixes: Vec<Prefix>,
    /// Bytes of what stands before the messages in the prompt: system, tools, schemas, and every
    /// member that is not known to be outside the prompt.
    pub head_bytes: u64,
    /// Whether something may make the provider add a prompt of its own that explains it to the
    /// model: tools, formats of the output, members that are not known.
    pub hidden_prompt: bool,
    /// Number of messages.
    pub messages: u64,
    /// Number of images.
    pub images: u64,
    /// Number of documents and files.
    pub files: u64,
    /// Number of audio clips.
    pub audio: u64,
    /// Whether the request refers to input that the body does not show: files by id, images and
    /// documents by URL, tools that the provider runs, kinds of content that are not known.
    pub opaque: bool,
    /// The most searches that the provider may make; 0 without a search tool.
    pub searches_max: u64,
    /// Whether something asks for a cache write that is priced apart.
    pub cache_writes: bool,
    /// Whether a cache write is to live an hour.
    pub cache_ttl_1h: bool,
    /// Whether a predicted output is sent, whose rejected tokens are billed as output.
    pub predicted: bool,
    /// Whether spoken output is asked for.
    pub audio_out: bool,
}

/// The input up to and including one message, or up to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Hash of the wire, the model, everything before the messages, and the messages so far, as
    /// written but for cache marks. Cryptographic: prefixes that collide cannot be made cheaply.
    pub hash: u128,
    /// Bytes of the messages after it.
    pub bytes_after: u64,
}

/// Says why a request is not understood well enough to be paid for; the caller's fault, and no
/// retry of the same bytes helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Some byte is no UTF-8.
    #[error("the body is not UTF-8 (byte {at}): send JSON encoded as UTF-8")]
    NotUtf8 {
        /// Offset of the first such byte.
        at: usize,
    },
    /// Not one JSON text.
    #[error("the body is not valid JSON (byte {at}): send one JSON object and nothing after it")]
    Syntax {
        /// Offset where it stops being JSON.
        at: usize,
    },
    /// Containers inside one another without end.
    #[error(
        "the body is nested too deeply (byte {at}): use at most {} levels",
        crate::json::DEPTH_MAX
    )]
    TooDeep {
        /// Offset where the limit is passed.
        at: usize,
    },
    /// JSON, but not an object.
    #[error("the body is not a JSON object: send {{\"model\": …, \"messages\": […]}}")]
    NotAnObject,
    /// No model.
    #[error("`model` is missing: name the model, it decides the price")]
    ModelMissing,
    /// A member that bills twice in one object.
    #[error(
        "`{name}` appears twice in {place}: send it once, since servers differ in which counts"
    )]
    Duplicate {
        /// The member.
        name: &'static str,
        /// Where it stands.
        place: &'static str,
    },
    /// A member that bills under a name that only some parsers take for it.
    #[error("`{name}` is spelt in disguise in {place}: write it in plain lower case letters")]
    Disguised {
        /// The member it could be taken for.
        name: &'static str,
        /// Where it stands.
        place: &'static str,
    },
    /// A member that bills with a value of the wrong kind.
    #[error("`{name}` in {place} has a wrong value: send {expected}")]
    WrongType {
        /// The member.
        name: &'static str,
        /// Where it stands.
        place: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}

// === impl RequestFacts ===

impl<'a> RequestFacts<'a> {
    /// Reads the facts of a body.
    ///
    /// # Errors
    /// When the body is no JSON object in UTF-8, names no model, or says something that bills
    /// twice, in disguise or with a value of the wrong kind.
    pub fn read(wire: Wire, body: &'a [u8]) -> Result<RequestFacts<'a>, FactsError> {
        body::read(wire, body)
    }
}

/// Writes a text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text can be written as JSON")
}

// === impl FactsError ===

impl From<Fault> for FactsError {
    fn from(fault: Fault) -> FactsError {
        match fault {
            Fault::Syntax(at) => FactsError::Syntax { at },
            Fault::TooDeep(at) => FactsError::TooDeep { at },
        }
    }
}
