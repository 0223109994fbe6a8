//! A call as both wires understand it: what is asked, in the rehearsal's own terms.

use std::time::Duration;

use serde_json::Value;

use crate::directions::Directions;
use crate::draw;
use crate::tokens;

/// What a call asks for.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of a request, as the wires have them"
)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) max_tokens: Option<u64>,
    /// How many answers are asked for.
    pub(crate) choices: u64,
    pub(crate) stops: Vec<String>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) tool_choice: ToolChoice,
    /// Whether the last message answers a tool's call.
    pub(crate) after_tool: bool,
    pub(crate) thinking: Thinking,
    pub(crate) blocks: Vec<Block>,
    pub(crate) label: Option<String>,
    pub(crate) tier: String,
    /// Whether a stream is asked to report its usage (`OpenAI`).
    pub(crate) include_usage: bool,
    /// Whether a stream is asked not to pad its events (`OpenAI`).
    pub(crate) plain: bool,
    pub(crate) directions: Option<Directions>,
    /// A hash of what is asked, without what a proxy may edit.
    pub(crate) hash: u64,
}

/// A part of the prompt whose tokens count by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) hash: u64,
    pub(crate) tokens: u64,
    /// Whether the prefix that ends here is asked to be cached.
    pub(crate) mark: Option<Lifetime>,
}

/// How long a marked prefix is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    FiveMinutes,
    Hour,
}

/// A function that the model may call.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: Value,
}

/// Whether a tool is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Auto,
    Never,
    Any,
    Named(String),
}

/// What goes on before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    None,
    /// Hidden reasoning, around so many tokens.
    Hidden(u64),
    /// Visible thinking, of at most so many tokens.
    Visible(u64),
}

/// Why a call is refused: the provider's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
}

/// The blocks of a prompt as they are gathered.
pub(crate) struct Prompt {
    seed: u64,
    pub(crate) blocks: Vec<Block>,
    frame: u64,
}

// === impl Request ===

impl Request {
    /// Sums the tokens of the prompt.
    pub(crate) fn input_tokens(&self) -> u64 {
        tokens::CALL_TOKENS + self.blocks.iter().map(|block| block.tokens).sum::<u64>()
    }
}

// === impl Lifetime ===

impl Lifetime {
    /// Returns the span.
    pub(crate) fn duration(self) -> Duration {
        match self {
            Lifetime::FiveMinutes => Duration::from_mins(5),
            Lifetime::Hour => Duration::from_hours(1),
        }
    }
}

// === impl Reject ===

impl Reject {
    /// A request that is wrong in itself.
    pub(crate) fn invalid(message: impl Into<String>) -> Reject {
        Reject {
            status: 400,
            kind: "invalid_request_error",
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// Adds where and what, as `OpenAI` tells.
    pub(crate) fn about(mut self, param: impl Into<String>, code: Option<&'static str>) -> Reject {
        self.param = Some(param.into());
        self.code = code;
        self
    }
}

// === impl Prompt ===

impl Prompt {
    /// Starts an empty prompt.
    pub(crate) fn new(seed: u64) -> Prompt {
        Prompt {
            seed,
            blocks: Vec::new(),
            frame: 0,
        }
    }

    /// Opens a message, a tool or a system prompt; its frame counts with its first block.
    pub(crate) fn open(&mut self) {
        self.frame = tokens::MESSAGE_TOKENS;
    }

    /// Adds a text of `role`.
    pub(crate) fn text(&mut self, role: &str, text: &str) {
        self.add(role, text, tokens::count(self.seed, text));
    }

    /// Adds something of which only the hash matters.
    pub(crate) fn attachment(&mut self, role: &str, value: &Value) {
        self.add(role, &value.to_string(), tokens::ATTACHMENT_TOKENS);
    }

    /// Closes a message, which may have been empty.
    pub(crate) fn close(&mut self, role: &str) {
        if self.frame > 0 {
            self.add(role, "", 0);
        }
    }

    /// Marks the prefix up to here to be cached.
    pub(crate) fn mark(&mut self, control: Option<&Value>) {
        let Some(control) = control.filter(|control| control.is_object()) else {
            return;
        };
        let lifetime = match control.get("ttl").and_then(Value::as_str) {
            Some("1h") => Lifetime::Hour,
            _ => Lifetime::FiveMinutes,
        };
        if let Some(block) = self.blocks.last_mut() {
            block.mark = Some(lifetime);
        }
    }

    fn add(&mut self, role: &str, text: &str, tokens: u64) {
        let hash = draw::hash(draw::hash(self.frame, role.as_bytes()), text.as_bytes());
        let tokens = self.frame + tokens;
        self.frame = 0;
        self.blocks.push(Block {
            hash,
            tokens,
            mark: None,
        });
    }
}

/// Hashes what a call asks for, without `ignored` fields and whatever the order of the others.
pub(crate) fn hash(seed: u64, body: &Value, ignored: &[&str]) -> u64 {
    let fields = body.as_object().into_iter().flatten();
    let asked = fields.filter(|(name, _)| !ignored.contains(&name.as_str()));
    let hashes = asked.map(|(name, value)| {
        let name = draw::hash(seed, name.as_bytes());
        draw::hash(name, value.to_string().as_bytes())
    });
    // A sum, because it does not depend on the order.
    hashes.fold(seed, u64::wrapping_add)
}

/// Returns a field that is an unsigned number, nothing when it is absent or null.
pub(crate) fn number(body: &Value, name: &str) -> Result<Option<u64>, Reject> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let wrong = || {
                let message = format!("Invalid type for '{name}': expected an integer.");
                Reject::invalid(message).about(name, Some("invalid_type"))
            };
            value.as_u64().map(Some).ok_or_else(wrong)
        }
    }
}

/// Returns a field's text, empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a field's elements, none when it is no array.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let array = value.get(name).and_then(Value::as_array);
    array.map_or(&[], Vec::as_slice)
}

/// Says whether a field is `true`.
pub(crate) fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool) == Some(true)
}
