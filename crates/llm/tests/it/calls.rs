//! Calls of tools in streams that are ended early: wherever that is, a client must not take
//! arguments for whole that the provider had not sent whole.

use bytes::Bytes;
use fisc_llm::{StreamMeter, Wire};
use serde_json::{Value, json};

/// How a provider cuts the arguments of a call into pieces.
struct Play {
    wire: Wire,
    /// The calls, one after the other: the pieces of each one's arguments.
    calls: Vec<Vec<&'static str>>,
}

/// A call as a client has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Has {
    arguments: String,
    /// Whether the provider had sent all of it.
    whole: bool,
}

const WIRES: [Wire; 2] = [Wire::OpenAiChat, Wire::AnthropicMessages];

/// The arguments that are played, in pieces that a client might misread.
fn plays() -> Vec<Play> {
    let all: Vec<Vec<Vec<&'static str>>> = vec![
        vec![vec!["", "{\"path\"", ": \"/tmp\"", ", \"size\": 1", "2}"]],
        vec![vec!["", "  ", "\n{", "}"]],
        vec![vec!["{}"]],
        vec![
            vec!["", "{\"a\":[1", "]", "}", " "],
            vec!["", "{\"b\":", "{}", "}"],
        ],
        vec![vec!["{\"a\":1}"], vec!["", "{\"b\":2}"], vec!["{", "}"]],
        // No tool of today takes these, but nothing forbids them.
        vec![vec!["", "12", "34", ".5"]],
        vec![vec!["-", "1", "e3"]],
        vec![vec!["\"ab", "cd\""]],
        vec![vec!["tr", "ue"]],
        vec![vec!["[1, ", "2", "]"]],
    ];
    let mut plays = Vec::new();
    for wire in WIRES {
        plays.extend(all.iter().cloned().map(|calls| Play { wire, calls }));
    }
    plays
}

#[test]
fn no_cut_makes_arguments_look_whole_that_are_not() {
    for play in plays() {
        let events = play.events();
        for cut in 0..=events.len() {
            let mut meter = StreamMeter::new(play.wire, false);
            let mut relayed = Vec::new();
            for event in &events[..cut] {
                meter.feed(Bytes::from(event.clone()), &mut relayed);
            }
            let ending = meter.ending();
            let text = [relayed.concat(), ending.to_vec()].concat();
            let text = String::from_utf8(text).expect("UTF-8");
            let sent = play.calls_in(&events[..cut].concat());
            let has = play.calls_in(&text);
            assert_eq!(sent.len(), has.len(), "no call is made up: {text}");
            for (number, (has, sent)) in has.iter().zip(&sent).enumerate() {
                let pieces = &play.calls[number];
                let is_sent = sent.whole || is_closed(&sent.arguments, pieces);
                assert!(
                    is_sent || !is_taken(&has.arguments),
                    "{:?} of {:?}: {text}",
                    has.arguments,
                    pieces.concat()
                );
                assert!(has.arguments.starts_with(&sent.arguments), "{text}");
            }
            assert!(meter.feed(ending.clone(), &mut Vec::new()).terminal || ending.is_empty());
            assert!(meter.is_done(), "{text}");
        }
    }
}

#[test]
fn a_call_in_the_form_of_old_is_not_taken_for_whole_either() {
    let chunk = |call: Value| {
        let choice = json!({ "index": 0, "delta": { "function_call": call } });
        Bytes::from(format!(
            "data: {}\n\n",
            json!({ "id": "x", "choices": [choice] })
        ))
    };
    let mut meter = StreamMeter::new(Wire::OpenAiChat, false);
    let start = chunk(json!({ "name": "wipe", "arguments": "" }));
    meter.feed(start, &mut Vec::new());
    let begun = r#""delta":{"function_call":{"arguments":"{"}}"#;
    let text = String::from_utf8(meter.ending().to_vec()).expect("UTF-8");
    assert!(text.contains(begun), "{text}");
    meter.feed(chunk(json!({ "arguments": "{\"all\"" })), &mut Vec::new());
    let text = String::from_utf8(meter.ending().to_vec()).expect("UTF-8");
    assert!(!text.contains("function_call"), "{text}");
}

#[test]
fn a_tool_that_takes_free_text_gets_none_of_ours() {
    let call = json!([{ "index": 0, "id": "c", "type": "custom",
        "custom": { "name": "shell", "input": "" } }]);
    let choice = json!({ "index": 0, "delta": { "tool_calls": call } });
    let chunk = format!("data: {}\n\n", json!({ "id": "x", "choices": [choice] }));
    let mut meter = StreamMeter::new(Wire::OpenAiChat, false);
    meter.feed(Bytes::from(chunk), &mut Vec::new());
    let text = String::from_utf8(meter.ending().to_vec()).expect("UTF-8");
    assert!(!text.contains("tool_calls"), "{text}");
}

/// Says whether a client may act on arguments: clients take none at all for an empty object.
fn is_taken(arguments: &str) -> bool {
    arguments.trim().is_empty() || serde_json::from_str::<Value>(arguments).is_ok()
}

/// Says whether all was sent but the event that says so, of arguments whose end is their own.
fn is_closed(sent: &str, pieces: &[&str]) -> bool {
    let number = sent.trim_start().starts_with(['-', '1']);
    sent.trim() == pieces.concat().trim() && !number
}

// === impl Play ===

impl Play {
    /// Returns the stream, event by event, without its end.
    fn events(&self) -> Vec<String> {
        match self.wire {
            Wire::OpenAiChat => self.openai(),
            Wire::AnthropicMessages => self.anthropic(),
        }
    }

    fn openai(&self) -> Vec<String> {
        let chunk = |delta: Value, finish: Option<&str>| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
            let chunk = json!({ "id": "x", "object": "chat.completion.chunk", "created": 1,
                "model": "m", "choices": [choice] });
            format!("data: {chunk}\n\n")
        };
        let mut events = vec![chunk(json!({ "role": "assistant", "content": null }), None)];
        for (number, pieces) in self.calls.iter().enumerate() {
            for (place, piece) in pieces.iter().enumerate() {
                let mut call = json!({ "index": number, "function": { "arguments": piece } });
                if place == 0 {
                    call["id"] = json!(format!("call_{number}"));
                    call["type"] = json!("function");
                    call["function"]["name"] = json!("wipe");
                }
                events.push(chunk(json!({ "tool_calls": [call] }), None));
            }
        }
        events.push(chunk(json!({}), Some("tool_calls")));
        events
    }

    fn anthropic(&self) -> Vec<String> {
        let event = |data: Value| {
            let kind = data["type"].as_str().expect("a type").to_owned();
            format!("event: {kind}\ndata: {data}\n\n")
        };
        let mut events = vec![event(json!({ "type": "message_start", "message": {
            "id": "m", "type": "message", "role": "assistant", "content": [], "model": "m",
            "usage": { "input_tokens": 9, "output_tokens": 1 } } }))];
        for (index, pieces) in self.calls.iter().enumerate() {
            let block = json!({ "type": "tool_use", "id": format!("toolu_{index}"),
                "name": "wipe", "input": {} });
            events.push(event(json!({
                "type": "content_block_start", "index": index, "content_block": block,
            })));
            for piece in pieces {
                let delta = json!({ "type": "input_json_delta", "partial_json": piece });
                events.push(event(json!({
                    "type": "content_block_delta", "index": index, "delta": delta,
                })));
            }
            events.push(event(
                json!({ "type": "content_block_stop", "index": index }),
            ));
        }
        events.push(event(json!({ "type": "message_delta",
            "delta": { "stop_reason": "tool_use", "stop_sequence": null },
            "usage": { "output_tokens": 20 } })));
        events
    }

    /// Returns the calls as a client puts them together.
    fn calls_in(&self, stream: &str) -> Vec<Has> {
        let mut calls: Vec<Has> = Vec::new();
        let data = stream
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        for data in data.filter(|data| *data != "[DONE]") {
            let event: Value = serde_json::from_str(data).expect("JSON");
            match self.wire {
                Wire::OpenAiChat => take_openai(&event, &mut calls),
                Wire::AnthropicMessages => take_anthropic(&event, &mut calls),
            }
        }
        calls
    }
}

fn take_openai(event: &Value, calls: &mut Vec<Has>) {
    let choice = &event["choices"][0];
    for call in choice["delta"]["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let index = call["index"].as_u64().expect("an index") as usize;
        if index == calls.len() {
            // The one before is over when the next begins.
            if let Some(last) = calls.last_mut() {
                last.whole = true;
            }
            calls.push(Has::default());
        }
        let arguments = call["function"]["arguments"].as_str();
        calls[index].arguments += arguments.unwrap_or_default();
    }
    if choice["finish_reason"] == "tool_calls"
        && let Some(last) = calls.last_mut()
    {
        last.whole = true;
    }
}

fn take_anthropic(event: &Value, calls: &mut Vec<Has>) {
    match event["type"].as_str() {
        Some("content_block_start") => calls.push(Has::default()),
        Some("content_block_delta") => {
            let last = calls.last_mut().expect("a block has begun");
            *last = Has {
                arguments: last.arguments.clone()
                    + event["delta"]["partial_json"].as_str().expect("JSON"),
                ..Has::default()
            };
        }
        Some("content_block_stop") => calls.last_mut().expect("a block").whole = true,
        _ => {}
    }
}
