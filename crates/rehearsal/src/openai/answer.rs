//! Writes chat completions: the one object, or the chunks of a stream.

use std::slice;

use serde::Serialize;
use serde_json::{Value, json};

use crate::draw::{self, Draw};
use crate::plan::{Choice, Finish, Plan};
use crate::request::Request;
use crate::sse::Events;

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What all parts of one answer share.
pub(crate) struct Answer<'a> {
    pub(crate) request: &'a Request,
    pub(crate) plan: &'a Plan,
    /// The usage that is reported; nothing leaves the field out.
    pub(crate) usage: Option<Value>,
    /// When the answer was made, in seconds since 1970.
    pub(crate) created: u64,
    /// What makes the ids of this answer differ from others.
    pub(crate) nonce: u64,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Value>,
    service_tier: &'a str,
    system_fingerprint: String,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [ChunkChoice],
    /// Absent, `null`, or the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<String>,
}

#[derive(Serialize)]
struct ChunkChoice {
    index: usize,
    delta: Value,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// Writes chunks that share their heads.
struct Chunks<'a> {
    answer: &'a Answer<'a>,
    id: String,
    fingerprint: String,
    draw: Draw,
}

/// Returns how the wire calls an end.
pub(crate) fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::Tool => "tool_calls",
    }
}

// === impl Answer ===

impl Answer<'_> {
    /// Writes the answer as one object.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let choices = self.plan.choices.iter().enumerate();
        let completion = Completion {
            id: self.id(),
            object: "chat.completion",
            created: self.created,
            model: self.model(),
            choices: choices
                .map(|(index, choice)| self.choice(index, choice))
                .collect(),
            usage: self.usage.as_ref(),
            service_tier: &self.request.tier,
            system_fingerprint: self.fingerprint(),
        };
        serde_json::to_vec(&completion).expect("an answer has no fallible parts")
    }

    /// Writes the answer as a stream of chunks. With `failing`, an error ends it half-way.
    pub(crate) fn stream(&self, events: &mut Events, failing: bool) {
        let mut chunks = Chunks {
            answer: self,
            id: self.id(),
            fingerprint: self.fingerprint(),
            draw: Draw::new(self.nonce),
        };
        for (index, choice) in self.plan.choices.iter().enumerate() {
            chunks.send(
                events,
                Some(&head(index, self.tool_head(index, choice))),
                "",
                0,
            );
        }
        let mut queues: Vec<_> = self.plan.choices.iter().map(|c| chunks.deltas(c)).collect();
        let half = queues.iter().map(Vec::len).sum::<usize>() / 2;
        let mut sent = 0;
        // Several answers arrive in turns.
        while queues.iter().any(|queue| !queue.is_empty()) {
            for (index, queue) in queues.iter_mut().enumerate() {
                if failing && sent >= half {
                    return fail(events);
                }
                if let Some((delta, text, tokens)) = queue.pop() {
                    chunks.send(events, Some(&body(index, delta)), &text, tokens);
                    sent += 1;
                }
            }
        }
        if failing {
            return fail(events);
        }
        events.end_of_deltas();
        for (index, choice) in self.plan.choices.iter().enumerate() {
            let mut end = body(index, json!({}));
            end.finish_reason = Some(finish_reason(&choice.finish));
            chunks.send(events, Some(&end), "", 0);
        }
        if self.request.include_usage && self.usage.is_some() {
            chunks.send(events, None, "", 0);
        }
        events.event(None, "[DONE]");
    }

    fn choice(&self, index: usize, choice: &Choice) -> Value {
        let content = match (&choice.text, &choice.tool) {
            (Some(text), _) => json!(text.text()),
            (None, Some(_)) => Value::Null,
            (None, None) => json!(""),
        };
        let mut message = json!({
            "role": "assistant",
            "content": content,
            "refusal": null,
            "annotations": [],
        });
        if let Some(tool) = &choice.tool {
            message["tool_calls"] = json!([{
                "id": self.call_id(index),
                "type": "function",
                "function": { "name": tool.name, "arguments": tool.arguments.text() },
            }]);
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(&choice.finish),
        })
    }

    fn tool_head(&self, index: usize, choice: &Choice) -> Option<Value> {
        let tool = choice.tool.as_ref()?;
        Some(json!([{
            "index": 0,
            "id": self.call_id(index),
            "type": "function",
            "function": { "name": tool.name, "arguments": "" },
        }]))
    }

    fn model(&self) -> &str {
        super::snapshot(&self.request.model)
    }

    fn id(&self) -> String {
        format!(
            "chatcmpl-{}",
            Draw::new(draw::mix(self.nonce, 1)).name(LETTERS, 29)
        )
    }

    fn call_id(&self, index: usize) -> String {
        let mut draw = Draw::new(draw::mix(self.nonce, 2 + index as u64));
        format!("call_{}", draw.name(LETTERS, 24))
    }

    fn fingerprint(&self) -> String {
        let mut draw = Draw::new(draw::hash(0, self.model().as_bytes()));
        format!("fp_{}", draw.name("0123456789abcdef", 10))
    }
}

// === impl Chunks ===

impl Chunks<'_> {
    /// Sends one chunk: of a choice, or else of the usage.
    fn send(&mut self, events: &mut Events, choice: Option<&ChunkChoice>, text: &str, tokens: u64) {
        let request = self.answer.request;
        let asked = request.include_usage && self.answer.usage.is_some();
        let usage = match choice {
            Some(_) => asked.then_some(&Value::Null),
            None => self.answer.usage.as_ref(),
        };
        let pad = 16 - text.len() % 16;
        let obfuscation = (!request.plain).then(|| self.draw.name(LETTERS, pad));
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.answer.created,
            model: self.answer.model(),
            service_tier: &request.tier,
            system_fingerprint: &self.fingerprint,
            choices: choice.map_or(&[], slice::from_ref),
            usage,
            obfuscation,
        };
        let data = serde_json::to_string(&chunk).expect("a chunk has no fallible parts");
        if tokens > 0 {
            events.delta(None, &data, tokens);
        } else {
            events.event(None, &data);
        }
    }

    /// Returns a choice's deltas, the last first, each with its text and its tokens.
    fn deltas(&mut self, choice: &Choice) -> Vec<(Value, String, u64)> {
        let mut all = Vec::new();
        for delta in choice
            .text
            .iter()
            .flat_map(|text| text.deltas(&mut self.draw))
        {
            all.push((json!({ "content": delta.text }), delta.text, delta.tokens));
        }
        if let Some(tool) = &choice.tool {
            let mut name_tokens = tool.name_tokens;
            for delta in tool.arguments.deltas(&mut self.draw) {
                let call = json!([{ "index": 0, "function": { "arguments": delta.text } }]);
                let tokens = delta.tokens + std::mem::take(&mut name_tokens);
                all.push((json!({ "tool_calls": call }), delta.text, tokens));
            }
        }
        all.reverse();
        all
    }
}

fn head(index: usize, tool_calls: Option<Value>) -> ChunkChoice {
    let delta = match tool_calls {
        Some(calls) => {
            json!({ "role": "assistant", "content": null, "tool_calls": calls, "refusal": null })
        }
        None => json!({ "role": "assistant", "content": "", "refusal": null }),
    };
    body(index, delta)
}

fn body(index: usize, delta: Value) -> ChunkChoice {
    ChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason: None,
    }
}

fn fail(events: &mut Events) {
    events.event(None, &super::error(&super::failure(500)).to_string());
    events.close();
}
