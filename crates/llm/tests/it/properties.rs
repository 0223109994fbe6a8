//! What holds for any stream and any body.

use bytes::Bytes;
use fisc_llm::{CapField, Edits, RequestFacts, StreamMeter, Tap, Wire, read_response};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::golden::meter;

const MESSAGE_DELTA: &str = r#"data: {"type":"message_delta",
data: "delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#;

/// Parts of which both valid and broken streams are made.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é\"}}],\"usage\":null}"),
        Just("data:{\"usage\": null , \"choices\":[{\"finish_reason\":\"stop\"}]}"),
        Just("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}"),
        Just("data: {\"choices\":[]"),
        Just("data: ,\"usage\":null}"),
        Just("data: [DONE]"),
        Just("event: message_delta"),
        Just(MESSAGE_DELTA),
        Just("data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":4}}}"),
        Just("data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\u00e9\"}}"),
        Just(": comment"),
        Just("data"),
        Just("id: 3"),
        Just("\u{feff}"),
        Just("\u{feff}data: {\"error\":1}"),
    ];
    let end = prop_oneof![
        4 => Just("\n"), 4 => Just("\n\n"), 2 => Just("\r\n"), 3 => Just("\r\n\r\n"),
        2 => Just("\r"), 2 => Just("\r\r"), 1 => Just("\r\n\r"), 1 => Just("\n\r"), 1 => Just(""),
    ];
    let made = (whole, end).prop_map(|(whole, end)| [whole.as_bytes(), end.as_bytes()].concat());
    prop_oneof![8 => made, 1 => prop::collection::vec(any::<u8>(), 0..8)]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(part(), 0..24).prop_map(|parts| parts.concat())
}

fn wire() -> impl Strategy<Value = Wire> {
    prop_oneof![Just(Wire::OpenAiChat), Just(Wire::AnthropicMessages)]
}

/// Cuts a stream where the sizes say.
fn cut<'s>(mut stream: &'s [u8], sizes: &[usize]) -> Vec<&'s [u8]> {
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, rest) = stream.split_at((*size).min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks.push(stream);
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn chunks_change_nothing(
        wire in wire(), strip: bool, stream in stream(),
        sizes in prop::collection::vec(0usize..90, 0..60),
    ) {
        let whole = meter(wire, strip, [&stream[..]]);
        let parts = meter(wire, strip, cut(&stream, &sizes));
        prop_assert_eq!(&parts.1, &whole.1);
        prop_assert_eq!(
            String::from_utf8_lossy(&parts.0), String::from_utf8_lossy(&whole.0)
        );
        if !strip {
            prop_assert_eq!(&whole.0, &stream);
        }
    }

    #[test]
    fn a_stripped_stream_never_shows_usage_nobody_asked_for(
        texts in prop::collection::vec("[a-z\"\\\\\n\u{e9}]{0,9}", 0..8),
        ends in prop::collection::vec(0usize..3, 12),
        sizes in prop::collection::vec(0usize..200, 0..20),
    ) {
        let end = |index: usize| ["\n\n", "\r\n\r\n", "\r\r"][ends[index % ends.len()]];
        let (mut full, mut bare) = (String::new(), String::new());
        for (index, text) in texts.iter().enumerate() {
            let text = Value::from(text.as_str());
            let chunk = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{text}}}}}]");
            full.extend([&chunk, ",\"usage\":null}", end(index)]);
            bare.extend([&chunk, "}", end(index)]);
        }
        full += "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
        full += end(9);
        let done = format!("data: [DONE]{}", end(10));
        let (relayed, reported) =
            meter(Wire::OpenAiChat, true, cut((full + &done).as_bytes(), &sizes));
        prop_assert_eq!(String::from_utf8_lossy(&relayed), bare + &done);
        prop_assert!(reported.complete);
        let said: usize = texts.iter().map(String::len).sum();
        prop_assert_eq!(reported.output_bytes, said as u64);
    }

    #[test]
    fn a_tap_agrees_with_a_plain_reading_of_the_standard(
        stream in stream(), sizes in prop::collection::vec(0usize..40, 0..40),
    ) {
        let mut events = Vec::new();
        let mut tap = Tap::new();
        for chunk in cut(&stream, &sizes) {
            tap.feed(chunk, &mut |event| {
                assert!(event.start < event.end);
                if let Some(at) = event.data_at {
                    let at = at as usize;
                    assert_eq!(&stream[at..at + event.data.len()], event.data);
                }
                events.push((event.name.to_vec(), event.data.to_vec()));
            });
        }
        prop_assert_eq!(events, plain_reading(&stream));
    }

    #[test]
    fn an_edit_keeps_every_other_byte(
        members in members(), order in any::<u64>(), cap in prop::option::of(1..1u64 << 62),
        include_usage: bool, model in prop::option::of("[a-z\"\u{e9}]{1,5}"), second: bool,
    ) {
        let body = write(&members, order);
        let facts = RequestFacts::read(Wire::OpenAiChat, body.as_bytes()).expect("a valid body");
        let cap_field =
            if second { CapField::MaxCompletionTokens } else { CapField::MaxTokens };
        let edits = Edits {
            output_cap: cap,
            cap_field,
            include_usage,
            model: model.as_deref(),
            ..Edits::default()
        };
        let edited = facts.edit(body.as_bytes(), &edits);
        let is: Value = serde_json::from_slice(&edited).expect("still JSON");
        prop_assert_eq!(&is, &expected(&members, &edits));
        if edits == Edits::default() {
            prop_assert_eq!(&edited, body.as_bytes());
        }
        let again = RequestFacts::read(Wire::OpenAiChat, &edited).expect("still valid");
        prop_assert_eq!(again.input.messages, facts.input.messages);
        // Untouched members keep their very bytes.
        let text = String::from_utf8(edited).expect("still UTF-8");
        let kept = UNTOUCHED.iter().all(|member| text.contains(member));
        prop_assert!(kept, "{}", text);
    }

    #[test]
    fn nothing_panics(wire in wire(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RequestFacts::read(wire, &bytes);
        read_response(wire, &bytes);
    }

    #[test]
    fn damaged_bodies_never_panic(
        wire in wire(), at in any::<prop::sample::Index>(), byte: u8, cut: bool,
    ) {
        let mut body = BODY.as_bytes().to_vec();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        if let Ok(facts) = RequestFacts::read(wire, &body) {
            let edits = Edits {
                output_cap: Some(1), include_usage: true, model: Some("m"), ..Edits::default()
            };
            let edited = facts.edit(&body, &edits);
            prop_assert!(RequestFacts::read(wire, &edited).is_ok());
        }
        read_response(wire, &body);
        let mut relay = Vec::new();
        let mut meter = StreamMeter::new(wire, true);
        meter.feed(Bytes::from([b"data: ", &body[..], b"\n\n"].concat()), &mut relay);
        meter.finish(&mut relay);
    }
}

const BODY: &str = r#"{"model":"m","stream":true,"max_tokens":5,"stream_options":{"a":1},
    "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64"},
    "cache_control":{"type":"ephemeral","ttl":"1h"}}]}],"tools":[{"type":"web_search_1",
    "max_uses":2}],"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],
    "usage":{"prompt_tokens":1,"input_tokens":2,"output_tokens":3}}"#;

/// Members that no edit may touch.
const UNTOUCHED: [&str; 2] = [
    r#""messages" : [ {"content":"\u0041", "role": "user"} ]"#,
    r#""temperature":1.00e-1"#,
];

/// A request's members that an edit may touch.
#[derive(Debug, Clone)]
struct Members {
    stream: Option<bool>,
    max_tokens: Option<Value>,
    max_completion_tokens: Option<Value>,
    stream_options: Option<Value>,
}

fn members() -> impl Strategy<Value = Members> {
    let cap = || prop_oneof![Just(Value::Null), (1u64..9_999).prop_map(Value::from)];
    let options = prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!({"include_usage": false})),
        Just(json!({"include_usage": null, "z": [1]})),
        Just(json!({"a": {"include_usage": 1}})),
    ];
    (
        any::<Option<bool>>(),
        prop::option::of(cap()),
        prop::option::of(cap()),
        prop::option::of(options),
    )
        .prop_map(
            |(stream, max_tokens, max_completion_tokens, stream_options)| Members {
                stream,
                max_tokens,
                max_completion_tokens,
                stream_options,
            },
        )
}

/// Writes a body with its members in some order.
fn write(members: &Members, order: u64) -> String {
    let mut parts = vec![r#""model":"gpt""#.to_owned()];
    parts.extend(UNTOUCHED.map(str::to_owned));
    for (name, value) in listed(members) {
        parts.push(format!("\"{name}\" : {value} "));
    }
    let turn = order as usize % parts.len();
    parts.rotate_left(turn);
    format!(" {{ {}}}\n", parts.join(","))
}

fn listed(members: &Members) -> Vec<(&'static str, Value)> {
    let all = [
        ("stream", members.stream.map(Value::from)),
        ("max_tokens", members.max_tokens.clone()),
        (
            "max_completion_tokens",
            members.max_completion_tokens.clone(),
        ),
        ("stream_options", members.stream_options.clone()),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Makes the same edits on a parsed body.
fn expected(members: &Members, edits: &Edits<'_>) -> Value {
    let mut body: Map<String, Value> = listed(members)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    body.insert("model".into(), edits.model.unwrap_or("gpt").into());
    body.insert("messages".into(), json!([{"content": "A", "role": "user"}]));
    body.insert("temperature".into(), json!(0.1));
    if let Some(cap) = edits.output_cap {
        let names = ["max_tokens", "max_completion_tokens"];
        let set: Vec<&str> = names
            .into_iter()
            .filter(|name| body.get(*name).is_some_and(Value::is_u64))
            .collect();
        let added = match edits.cap_field {
            CapField::MaxTokens => "max_tokens",
            CapField::MaxCompletionTokens => "max_completion_tokens",
        };
        for name in if set.is_empty() { vec![added] } else { set } {
            body.insert(name.into(), cap.into());
        }
    }
    if edits.include_usage && members.stream == Some(true) {
        let options = body.entry("stream_options").or_insert(json!({}));
        if options.is_null() {
            *options = json!({});
        }
        options["include_usage"] = json!(true);
    }
    Value::Object(body)
}

/// Reads events as the standard's algorithm is written, all at once and by copies.
fn plain_reading(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    while let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = &text[..end];
        let crlf = text[end..].starts_with(b"\r\n");
        text = &text[end + 1 + usize::from(crlf)..];
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            events.extend(data.take().map(|data| (name, data)));
            continue;
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => {
                let before = data.take().map(|mut data| {
                    data.push(b'\n');
                    data
                });
                data = Some([before.unwrap_or_default(), value.to_vec()].concat());
            }
            _ => {}
        }
    }
    events
}
