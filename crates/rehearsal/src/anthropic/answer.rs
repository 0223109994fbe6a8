//! Writes messages: the one object, or the events of a stream.

use serde::Serialize;
use serde_json::{Value, json};

use crate::draw::{self, Draw};
use crate::plan::{Choice, Finish, Plan};
use crate::request::Request;
use crate::speech::Speech;
use crate::sse::Events;

const LETTERS: &str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789";
/// What `message_start` says of an output that has hardly begun.
const FIRST_TOKENS_MAX: u64 = 4;

/// What all parts of one answer share.
pub(crate) struct Answer<'a> {
    pub(crate) request: &'a Request,
    pub(crate) plan: &'a Plan,
    /// The usage that is reported; nothing leaves the field out.
    pub(crate) usage: Option<Value>,
    /// What makes the ids of this answer differ from others.
    pub(crate) nonce: u64,
    pub(crate) request_id: &'a str,
}

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Value>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct MessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
}

/// One block of content as a stream sends it.
struct Block<'a> {
    start: Value,
    /// The type of its deltas, and the field that carries their text.
    delta: (&'static str, &'static str),
    speech: &'a Speech,
    extra_tokens: u64,
    signature: Option<String>,
}

/// Returns how the wire calls an end.
pub(crate) fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::Tool => "tool_use",
    }
}

// === impl Answer ===

impl Answer<'_> {
    /// Writes the answer as one object.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let choice = self.choice();
        let content = self.blocks().iter().map(Block::whole).collect();
        let mut message = self.message(content, self.usage.clone());
        message.stop_reason = Some(stop_reason(&choice.finish));
        message.stop_sequence = stop_sequence(choice);
        serde_json::to_vec(&message).expect("a message has no fallible parts")
    }

    /// Writes the answer as a stream of events. With `failing`, an error ends it half-way.
    pub(crate) fn stream(&self, events: &mut Events, failing: bool) {
        let mut draw = Draw::new(self.nonce);
        self.start(events, &mut draw);
        let blocks = self.blocks();
        let mut left = self.plan.visible() / 2;
        for (index, block) in blocks.iter().enumerate() {
            let start = json!({
                "type": "content_block_start", "index": index, "content_block": block.start,
            });
            events.event(Some("content_block_start"), &start.to_string());
            if index == 0 {
                events.event(Some("ping"), r#"{"type": "ping"}"#);
            }
            let mut extra = block.extra_tokens;
            for delta in block.speech.deltas(&mut draw) {
                if failing && left == 0 {
                    return self.fail(events);
                }
                let tokens = delta.tokens + std::mem::take(&mut extra);
                left = left.saturating_sub(tokens);
                events.delta(
                    Some("content_block_delta"),
                    &block.delta(index, &delta.text),
                    tokens,
                );
            }
            if let Some(signature) = &block.signature {
                let delta = json!({ "type": "signature_delta", "signature": signature });
                let data = json!({ "type": "content_block_delta", "index": index, "delta": delta });
                events.event(Some("content_block_delta"), &data.to_string());
            }
            let stop = json!({ "type": "content_block_stop", "index": index });
            events.event(Some("content_block_stop"), &stop.to_string());
        }
        if failing {
            return self.fail(events);
        }
        events.end_of_deltas();
        self.end(events);
    }

    fn start(&self, events: &mut Events, draw: &mut Draw) {
        let usage = self.usage.clone().map(|mut usage| {
            if let Some(output) = usage.get("output_tokens").and_then(Value::as_u64) {
                usage["output_tokens"] = json!(output.min(draw.between(1, FIRST_TOKENS_MAX)));
            }
            if let Some(usage) = usage.as_object_mut() {
                usage.remove("output_tokens_details");
            }
            usage
        });
        let start = MessageStart {
            kind: "message_start",
            message: self.message(Vec::new(), usage),
        };
        let data = serde_json::to_string(&start).expect("a message has no fallible parts");
        events.event(Some("message_start"), &data);
    }

    fn end(&self, events: &mut Events) {
        let choice = self.choice();
        let mut delta = json!({
            "type": "message_delta",
            "delta": {
                "stop_reason": stop_reason(&choice.finish),
                "stop_sequence": stop_sequence(choice),
            },
        });
        if let Some(mut usage) = self.usage.clone() {
            if let Some(usage) = usage.as_object_mut() {
                usage.remove("cache_creation");
                usage.remove("service_tier");
            }
            delta["usage"] = usage;
        }
        events.event(Some("message_delta"), &delta.to_string());
        events.event(Some("message_stop"), r#"{"type":"message_stop"}"#);
    }

    fn fail(&self, events: &mut Events) {
        let error = super::error(&super::failure(529), self.request_id);
        events.event(Some("error"), &error.to_string());
        events.close();
    }

    fn message(&self, content: Vec<Value>, usage: Option<Value>) -> Message<'_> {
        Message {
            id: self.id("msg_01", 1),
            kind: "message",
            role: "assistant",
            model: super::snapshot(&self.request.model),
            content,
            stop_reason: None,
            stop_sequence: None,
            usage,
        }
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let choice = self.choice();
        let mut blocks = Vec::new();
        if let Some(thinking) = &choice.thinking {
            blocks.push(Block {
                start: json!({ "type": "thinking", "thinking": "", "signature": "" }),
                delta: ("thinking_delta", "thinking"),
                speech: thinking,
                extra_tokens: 0,
                signature: Some(self.id("Ep8C", 3).repeat(4)),
            });
        }
        if let Some(text) = choice.text.as_ref().filter(|text| text.tokens() > 0) {
            blocks.push(Block {
                start: json!({ "type": "text", "text": "" }),
                delta: ("text_delta", "text"),
                speech: text,
                extra_tokens: 0,
                signature: None,
            });
        }
        if let Some(tool) = &choice.tool {
            blocks.push(Block {
                start: json!({
                    "type": "tool_use",
                    "id": self.id("toolu_01", 2),
                    "name": tool.name,
                    "input": {},
                }),
                delta: ("input_json_delta", "partial_json"),
                speech: &tool.arguments,
                extra_tokens: tool.name_tokens,
                signature: None,
            });
        }
        blocks
    }

    fn choice(&self) -> &Choice {
        &self.plan.choices[0]
    }

    fn id(&self, start: &str, salt: u64) -> String {
        let mut draw = Draw::new(draw::mix(self.nonce, salt));
        format!("{start}{}", draw.name(LETTERS, 22))
    }
}

// === impl Block ===

impl Block<'_> {
    fn delta(&self, index: usize, text: &str) -> String {
        let (kind, field) = self.delta;
        let delta = json!({ "type": kind, field: text });
        json!({ "type": "content_block_delta", "index": index, "delta": delta }).to_string()
    }

    /// Returns the block as it stands in an answer that does not stream.
    fn whole(&self) -> Value {
        let mut block = self.start.clone();
        match self.delta.1 {
            // A call that was cut by the cap has no valid input; the service then sends none.
            "partial_json" => {
                let input = serde_json::from_str(self.speech.text());
                block["input"] = input.unwrap_or_else(|_| json!({}));
            }
            field => block[field] = json!(self.speech.text()),
        }
        if let Some(signature) = &self.signature {
            block["signature"] = json!(signature);
        }
        block
    }
}

fn stop_sequence(choice: &Choice) -> Option<&str> {
    match &choice.finish {
        Finish::StopSequence(stop) => Some(stop),
        _ => None,
    }
}
