//! How each wire ends a stream before the model does, and how it tells an error within one.

use std::fmt::Write as _;

use fisc_core::{TokenClass, Usage};

use super::calls::BEGUN;
use super::events::Events;
use crate::facts::quoted;
use crate::wire::Wire;

/// Returns what ends the stream as if the output cap had been met; empty when it has ended.
pub(super) fn ending(events: &Events, shown: &Usage, usage_asked: bool) -> String {
    if events.is_done() {
        return String::new();
    }
    match events.wire() {
        Wire::OpenAiChat => openai(events, shown, usage_asked),
        Wire::AnthropicMessages => anthropic(events, shown),
    }
}

/// Returns the wire's event for an error.
pub(super) fn error(wire: Wire, message: &str, code: &str) -> String {
    let (message, code) = (quoted(message), quoted(code));
    match wire {
        Wire::OpenAiChat => format!(
            "data: {{\"error\":{{\"message\":{message},\"type\":\"server_error\",\
             \"param\":null,\"code\":{code}}}}}\n\n"
        ),
        Wire::AnthropicMessages => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\
             \"message\":{message},\"details\":{{\"error_code\":{code}}}}}}}\n\n"
        ),
    }
}

fn openai(events: &Events, shown: &Usage, usage_asked: bool) -> String {
    let id = quoted(events.id.as_deref().unwrap_or("chatcmpl-0"));
    let model = quoted(events.model());
    let created = events.created.unwrap_or(0);
    let head = format!(
        "data: {{\"id\":{id},\"object\":\"chat.completion.chunk\",\"created\":{created},\
         \"model\":{model},\"choices\":"
    );
    let no_usage = if usage_asked { ",\"usage\":null" } else { "" };
    let nothing_begun = events.open.is_empty() && !events.has_finish();
    let open = if nothing_begun {
        &[0][..]
    } else {
        &events.open
    };
    let mut text = String::new();
    for index in open {
        // A client must not act on a call of which it has not got all.
        if let Some(call) = events.calls.deceptive(*index) {
            let call = match call.number {
                Some(number) => format!(
                    "\"tool_calls\":[{{\"index\":{number},\"function\":\
                     {{\"arguments\":\"{BEGUN}\"}}}}]"
                ),
                None => format!("\"function_call\":{{\"arguments\":\"{BEGUN}\"}}"),
            };
            let _ = write!(
                text,
                "{head}[{{\"index\":{index},\"delta\":{{{call}}},\"logprobs\":null,\
                 \"finish_reason\":null}}]{no_usage}}}\n\n"
            );
        }
        let _ = write!(
            text,
            "{head}[{{\"index\":{index},\"delta\":{{}},\"logprobs\":null,\
             \"finish_reason\":\"length\"}}]{no_usage}}}\n\n"
        );
    }
    if usage_asked && !events.usage_sent {
        let (input, output) = (shown.input(), output_shown(events, shown));
        let total = input.saturating_add(output);
        let cached = shown.get(TokenClass::CacheRead);
        let reasoning = shown.reasoning;
        let _ = write!(
            text,
            "{head}[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\
             \"total_tokens\":{total},\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}}}\n\n"
        );
    }
    text + "data: [DONE]\n\n"
}

fn anthropic(events: &Events, shown: &Usage) -> String {
    let mut text = String::new();
    if !events.begun {
        let input = shown.get(TokenClass::UncachedInput);
        let model = quoted(events.model());
        let _ = write!(
            text,
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\
             \"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":{model},\
             \"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
             \"usage\":{{\"input_tokens\":{input},\"output_tokens\":0}}}}}}\n\n"
        );
    }
    for index in &events.open {
        // The wire has a block stopped even where the cap was met within its input. Clients read
        // a block without any input as a call without arguments, so this one gets a beginning.
        if events.calls.deceptive(*index).is_some() {
            let _ = write!(
                text,
                "event: content_block_delta\n\
                 data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":\
                 {{\"type\":\"input_json_delta\",\"partial_json\":\"{BEGUN}\"}}}}\n\n"
            );
        }
        let _ = write!(
            text,
            "event: content_block_stop\n\
             data: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        );
    }
    if !events.has_finish() {
        let output = output_shown(events, shown);
        let _ = write!(
            text,
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\
             \"stop_reason\":\"max_tokens\",\"stop_sequence\":null}},\
             \"usage\":{{\"output_tokens\":{output}}}}}\n\n"
        );
    }
    text + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
}

/// An event carries at least one token, whatever was reported so far.
fn output_shown(events: &Events, shown: &Usage) -> u64 {
    shown.output().max(events.output().1)
}
