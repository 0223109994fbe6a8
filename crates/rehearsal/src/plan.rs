//! What is generated for a call: lengths, words, tools and ends, the same on both wires.

use serde_json::{Map, Value, json};

use crate::directions::Directions;
use crate::draw::{self, Draw};
use crate::request::{Request, Thinking, Tool, ToolChoice};
use crate::speech::Speech;
use crate::tokens;

/// The usual length of an answer, in tokens.
const OUTPUT_MIDDLE: u64 = 150;
/// The most that an answer is long by itself.
const OUTPUT_MAX: u64 = 1_200;
/// The usual length of visible thinking.
const THINKING_MIDDLE: u64 = 120;
/// The most hidden reasoning.
const REASONING_MAX: u64 = 4_096;
/// Hidden reasoning is counted in steps of so many tokens, as `OpenAI` does.
const REASONING_STEP: u64 = 64;
/// How many properties of a tool are filled in when it requires none.
const FREE_PROPERTIES: usize = 2;

/// Everything that is generated for a call.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) choices: Vec<Choice>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// Reasoning tokens that are never shown.
    pub(crate) hidden: u64,
    /// Thinking that is shown.
    pub(crate) thinking: Option<Speech>,
    pub(crate) text: Option<Speech>,
    pub(crate) tool: Option<ToolUse>,
    pub(crate) finish: Finish,
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub(crate) struct ToolUse {
    pub(crate) name: String,
    pub(crate) name_tokens: u64,
    pub(crate) arguments: Speech,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    StopSequence(String),
    Length,
    Tool,
}

// === impl Plan ===

impl Plan {
    /// Decides what is generated. With `preface`, a tool's call may come after some words.
    pub(crate) fn new(
        seed: u64,
        request: &Request,
        directions: &Directions,
        preface: bool,
    ) -> Plan {
        let choice = |index| {
            let mut draw = Draw::new(draw::mix(draw::mix(seed, request.hash), index));
            Choice::new(&mut draw, request, directions, preface)
        };
        Plan {
            choices: (0..request.choices).map(choice).collect(),
        }
    }

    /// Sums hidden reasoning and visible thinking.
    pub(crate) fn reasoning(&self) -> u64 {
        self.choices.iter().map(Choice::reasoning).sum()
    }

    /// Sums what is said and called.
    pub(crate) fn output(&self) -> u64 {
        self.choices.iter().map(Choice::output).sum()
    }

    /// Sums hidden reasoning.
    pub(crate) fn hidden(&self) -> u64 {
        self.choices.iter().map(|choice| choice.hidden).sum()
    }

    /// Sums all that a client gets to see.
    pub(crate) fn visible(&self) -> u64 {
        self.output() + self.reasoning() - self.hidden()
    }
}

// === impl Choice ===

impl Choice {
    fn new(draw: &mut Draw, request: &Request, directions: &Directions, preface: bool) -> Choice {
        let reasoning = reasoning(draw, request.thinking, directions);
        let tool = tool(draw, request, directions);
        let length = draw.length(OUTPUT_MIDDLE, OUTPUT_MAX);
        let length = directions.tokens.unwrap_or(length);
        let mut choice = Choice {
            hidden: 0,
            thinking: None,
            text: None,
            tool: None,
            finish: Finish::Stop,
        };
        match request.thinking {
            Thinking::Visible(_) if reasoning > 0 => {
                choice.thinking = Some(Speech::say(draw, reasoning));
            }
            Thinking::Hidden(_) => choice.hidden = reasoning,
            _ => {}
        }
        if let (true, Some(cap)) = (directions.over_max, request.max_tokens) {
            let usual = cap.saturating_add(cap / 4).saturating_add(16);
            let beyond = directions.tokens.unwrap_or(usual.min(1_000_000));
            choice.text = Some(Speech::say(
                draw,
                beyond.saturating_sub(choice.reasoning()).max(1),
            ));
            return choice;
        }
        if let Some(tool) = tool {
            let words = draw.between(8, 30);
            if preface && draw.below(2) == 0 {
                choice.text = Some(Speech::say(draw, words));
            }
            choice.tool = Some(ToolUse::new(draw, tool));
            choice.finish = Finish::Tool;
        } else {
            choice.text = Some(Speech::say(draw, length));
        }
        choice.end(request);
        choice
    }

    /// Returns hidden reasoning and visible thinking.
    pub(crate) fn reasoning(&self) -> u64 {
        self.hidden + self.thinking.as_ref().map_or(0, Speech::tokens)
    }

    /// Returns what is said and called.
    pub(crate) fn output(&self) -> u64 {
        let tool = self.tool.as_ref().map_or(0, ToolUse::tokens);
        self.text.as_ref().map_or(0, Speech::tokens) + tool
    }

    /// Applies the cap and the stop sequences.
    fn end(&mut self, request: &Request) {
        let mut room = request.max_tokens.unwrap_or(u64::MAX);
        let mut capped = self.hidden > room;
        self.hidden = self.hidden.min(room);
        room -= self.hidden;
        for speech in [&mut self.thinking, &mut self.text].into_iter().flatten() {
            capped |= speech.cap(room);
            room -= speech.tokens();
        }
        if let Some(tool) = &mut self.tool {
            if room <= tool.name_tokens {
                self.tool = None;
                capped = true;
            } else {
                capped |= tool.arguments.cap(room - tool.name_tokens);
            }
        }
        if capped {
            self.finish = Finish::Length;
        }
        let stop = self
            .text
            .as_mut()
            .and_then(|text| text.stop_at(&request.stops));
        if let Some(stop) = stop {
            self.tool = None;
            self.finish = Finish::StopSequence(stop);
        }
    }
}

// === impl ToolUse ===

impl ToolUse {
    fn new(draw: &mut Draw, tool: &Tool) -> ToolUse {
        let arguments = arguments(draw, &tool.schema).to_string();
        ToolUse {
            name: tool.name.clone(),
            name_tokens: tokens::count(draw.any(), &tool.name),
            arguments: Speech::of(draw, arguments),
        }
    }

    /// Returns the tokens of the name and the arguments.
    pub(crate) fn tokens(&self) -> u64 {
        self.name_tokens + self.arguments.tokens()
    }
}

fn reasoning(draw: &mut Draw, thinking: Thinking, directions: &Directions) -> u64 {
    let drawn = match thinking {
        Thinking::None => return 0,
        Thinking::Hidden(0) => 0,
        Thinking::Hidden(middle) => draw
            .length(middle, REASONING_MAX)
            .next_multiple_of(REASONING_STEP),
        Thinking::Visible(budget) => draw.length(THINKING_MIDDLE.min(budget), budget),
    };
    // A directed length is the whole length, unless reasoning is directed too.
    let directed = directions.tokens.map(|_| 0);
    directions.reasoning.or(directed).unwrap_or(drawn)
}

fn tool<'a>(draw: &mut Draw, request: &'a Request, directions: &Directions) -> Option<&'a Tool> {
    let by_itself = !request.after_tool && directions.tokens.is_none();
    let drawn = draw.below(2) == 0;
    let any = draw.below(request.tools.len() as u64) as usize;
    match &request.tool_choice {
        ToolChoice::Named(name) => request.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::Any => request.tools.get(any),
        ToolChoice::Auto if directions.tool.unwrap_or(by_itself && drawn) => request.tools.get(any),
        ToolChoice::Never | ToolChoice::Auto => None,
    }
}

/// Invents arguments that a tool's schema accepts: what it requires, or else its first texts.
fn arguments(draw: &mut Draw, schema: &Value) -> Value {
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<&str> = required.iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        let texts = properties
            .iter()
            .filter(|(_, property)| property["type"] == "string");
        names = texts
            .map(|(name, _)| name.as_str())
            .take(FREE_PROPERTIES)
            .collect();
    }
    let mut arguments = Map::new();
    for name in names {
        let property = properties.get(name).unwrap_or(&Value::Null);
        arguments.insert(name.to_owned(), argument(draw, property));
    }
    Value::Object(arguments)
}

fn argument(draw: &mut Draw, property: &Value) -> Value {
    if let Some(first) = property.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    let kind = match &property["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("integer" | "number") => {
            let min = property.get("minimum").and_then(Value::as_i64).unwrap_or(1);
            json!(min.saturating_add(draw.below(5) as i64))
        }
        Some("boolean") => json!(draw.below(2) == 0),
        Some("array") => json!([]),
        Some("object") => arguments(draw, property),
        Some("null") => Value::Null,
        _ => {
            let tokens = draw.length(12, 120);
            json!(Speech::say(draw, tokens).text())
        }
    }
}
