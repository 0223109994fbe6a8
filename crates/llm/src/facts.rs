//! What a hold needs to know of a request, borrowed from its body, and the edits of that body.
//!
//! Reads one pass over the bytes and copies no message. What it evaluates is what is forwarded:
//! a body that two parsers could understand differently in something that bills is refused. It
//! estimates nothing and knows no price.

mod body;
mod content;
mod names;
mod prefix;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::json::Fault;
use crate::splice::Splices;
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

/// The member that carries an output cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CapField {
    /// `max_tokens`: Anthropic, and most servers that speak OpenAI's wire.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's newer models, which refuse the other.
    MaxCompletionTokens,
}

/// What to change in a body before it is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edits<'e> {
    /// The output cap to set.
    pub output_cap: Option<u64>,
    /// Which member to add when the body has no cap; one that is there is replaced instead.
    /// Anthropic's wire knows but `max_tokens`.
    pub cap_field: CapField,
    /// Whether to ask for usage in the stream. No effect but on OpenAI's streamed requests.
    pub include_usage: bool,
    /// The model to ask for instead.
    pub model: Option<&'e str>,
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

/// Where the members stand that may be edited.
#[derive(Debug, Clone, Default)]
struct Places {
    /// Offset after the opening brace.
    open: usize,
    model: Range<usize>,
    max_tokens: Option<Slot>,
    max_completion_tokens: Option<Slot>,
    stream_options: Option<OptionsPlace>,
}

/// Where an output cap stands.
#[derive(Debug, Clone)]
struct Slot {
    span: Range<usize>,
    /// Whether the value is `null`, which is as good as absent.
    null: bool,
}

/// Where the stream options stand.
#[derive(Debug, Clone)]
enum OptionsPlace {
    /// The value is `null`.
    Null(Range<usize>),
    /// An object that has `include_usage`, whose value this is.
    Has(Range<usize>),
    /// An object without it.
    Lacks { open: usize, empty: bool },
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

    /// Returns the body with the edits made; every other byte is as it was.
    ///
    /// # Panics
    /// When `body` has not the length of the body that was read.
    pub fn edit(&self, body: &[u8], edits: &Edits<'_>) -> Vec<u8> {
        assert_eq!(
            body.len() as u64,
            self.input.body_bytes,
            "not the body that was read"
        );
        let mut splices = Splices::default();
        if let Some(model) = edits.model {
            splices.replace(self.places.model.clone(), quoted(model));
        }
        if let Some(cap) = edits.output_cap {
            self.edit_cap(&mut splices, cap, edits.cap_field);
        }
        if edits.include_usage && self.stream && self.wire == Wire::OpenAiChat {
            self.edit_include_usage(&mut splices);
        }
        splices.apply(body)
    }

    fn edit_cap(&self, splices: &mut Splices, cap: u64, field: CapField) {
        let slots = [&self.places.max_tokens, &self.places.max_completion_tokens];
        let mut replaced = false;
        for slot in slots.into_iter().flatten().filter(|slot| !slot.null) {
            splices.replace(slot.span.clone(), cap.to_string());
            replaced = true;
        }
        if replaced {
            return;
        }
        let (name, slot) = match (self.wire, field) {
            (Wire::OpenAiChat, CapField::MaxCompletionTokens) => {
                ("max_completion_tokens", slots[1])
            }
            _ => ("max_tokens", slots[0]),
        };
        match slot {
            Some(null) => splices.replace(null.span.clone(), cap.to_string()),
            None => splices.insert(self.places.open, format!("\"{name}\":{cap},")),
        }
    }

    fn edit_include_usage(&self, splices: &mut Splices) {
        const OPTIONS: &str = r#"{"include_usage":true}"#;
        match &self.places.stream_options {
            None => splices.insert(self.places.open, format!("\"stream_options\":{OPTIONS},")),
            Some(OptionsPlace::Null(span)) => splices.replace(span.clone(), OPTIONS),
            Some(OptionsPlace::Has(span)) => splices.replace(span.clone(), "true"),
            Some(OptionsPlace::Lacks { open, empty }) => {
                let comma = if *empty { "" } else { "," };
                splices.insert(*open, format!("\"include_usage\":true{comma}"));
            }
        }
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
