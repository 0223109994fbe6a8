//! What a stream's chunks make of its meter: every way to cut every fixture, and the endings.

use bytes::Bytes;
use fisc_core::{TokenClass, Usage};
use fisc_llm::{StreamMeter, Wire};

use crate::golden::{fixtures, meter};

/// The mutant that adds usage up has to die here.
#[test]
fn anthropic_usage_is_cumulative_never_summed() {
    let stream = concat!(
        r#"data: {"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1,"#,
        r#""cache_creation_input_tokens":30,"cache_read_input_tokens":400,"cache_creation":"#,
        r#"{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}}}"#,
        "\n\n",
        r#"data: {"type":"message_delta","delta":{},"usage":{"output_tokens":9}}"#,
        "\n\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":"#,
        r#"{"input_tokens":25,"cache_creation_input_tokens":30,"cache_read_input_tokens":400,"#,
        r#""output_tokens":15,"server_tool_use":{"web_search_requests":2}}}"#,
        "\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    let (_, reported) = meter(Wire::AnthropicMessages, false, [stream.as_bytes()]);
    let mut expected = Usage::default()
        .with(TokenClass::UncachedInput, 25)
        .with(TokenClass::CacheRead, 400)
        .with(TokenClass::CacheWrite5m, 10)
        .with(TokenClass::CacheWrite1h, 20)
        .with(TokenClass::Output, 15);
    expected.units.searches = 2;
    assert_eq!(reported.usage, Some(expected));
    assert!(reported.complete);
}

#[test]
fn cached_prompt_tokens_are_counted_once() {
    let body = br#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":30,
        "prompt_tokens_details":{"cached_tokens":60},
        "completion_tokens_details":{"reasoning_tokens":20}}}"#;
    let usage = fisc_llm::read_response(Wire::OpenAiChat, body)
        .usage
        .expect("usage");
    assert_eq!(
        (usage.input(), usage.output(), usage.reasoning),
        (100, 30, 20)
    );
    assert_eq!(usage.get(TokenClass::UncachedInput), 40);
}

#[test]
fn every_fixture_means_the_same_cut_at_every_byte() {
    for (wire, stream) in all_streams() {
        for strip in [false, true] {
            let whole = meter(wire, strip, [&stream[..]]);
            for cut in 0..=stream.len() {
                let parts = meter(wire, strip, [&stream[..cut], &stream[cut..]]);
                assert!(
                    parts == whole,
                    "cut at {cut}: {}",
                    String::from_utf8_lossy(&stream)
                );
            }
            assert!(
                meter(wire, strip, stream.chunks(1)) == whole,
                "byte by byte"
            );
        }
    }
}

#[test]
fn nothing_is_kept_back_where_nothing_is_stripped() {
    for (wire, stream) in all_streams() {
        let mut meter = StreamMeter::new(wire, false);
        for chunk in stream.chunks(7) {
            let chunk = Bytes::copy_from_slice(chunk);
            let mut relay = Vec::new();
            meter.feed(chunk.clone(), &mut relay);
            assert_eq!(relay.len(), 1);
            assert_eq!(relay[0].as_ptr(), chunk.as_ptr(), "relayed without a copy");
            assert_eq!(relay[0].len(), chunk.len());
        }
    }
}

#[test]
fn an_event_within_one_chunk_is_relayed_without_a_copy() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
    let chunk = Bytes::from([text, text].concat());
    let mut meter = StreamMeter::new(Wire::OpenAiChat, true);
    let mut relay = Vec::new();
    meter.feed(chunk.clone(), &mut relay);
    let inside = chunk.as_ptr_range();
    assert!(relay.iter().all(|part| inside.contains(&part.as_ptr())));
    assert_eq!(
        relay.concat(),
        text.replace(",\"usage\":null", "").repeat(2).into_bytes()
    );
}

#[test]
fn the_end_is_told_with_the_chunk_that_holds_it() {
    for (wire, last) in [
        (Wire::OpenAiChat, "data: [DONE]\n\n"),
        (
            Wire::OpenAiChat,
            "data: {\"error\":{\"message\":\"x\"}}\n\n",
        ),
        (
            Wire::OpenAiChat,
            "event: error\ndata: {\"message\":\"x\"}\n\n",
        ),
        (
            Wire::AnthropicMessages,
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            Wire::AnthropicMessages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
        ),
    ] {
        let mut meter = StreamMeter::new(wire, false);
        let (head, tail) = last.split_at(last.len() - 1);
        let first = meter.feed(Bytes::copy_from_slice(head.as_bytes()), &mut Vec::new());
        assert!(!first.terminal, "{last}");
        assert_eq!(first.open_tail, head.len() as u64);
        let second = meter.feed(Bytes::copy_from_slice(tail.as_bytes()), &mut Vec::new());
        assert!(second.terminal, "{last}");
        assert_eq!(second.open_tail, 0);
    }
}

#[test]
fn an_event_in_many_pieces_is_open_from_its_first_byte_on() {
    let whole = "data: {\"choices\":[]}\n\n";
    let event = whole.repeat(2);
    let mut meter = StreamMeter::new(Wire::OpenAiChat, false);
    for (at, byte) in event.bytes().enumerate() {
        let chunk = Bytes::copy_from_slice(&[byte]);
        let progress = meter.feed(chunk, &mut Vec::new());
        assert_eq!(progress.open_tail, ((at + 1) % whole.len()) as u64, "{at}");
    }
}

#[test]
fn progress_is_what_each_chunk_added() {
    let event = "data: {\"type\":\"content_block_delta\",\"index\":0,\
                 \"delta\":{\"type\":\"text_delta\",\"text\":\"h\\u00e9\\n\"}}\n\n";
    let mut meter = StreamMeter::new(Wire::AnthropicMessages, false);
    for chunk in 1..=3u64 {
        let progress = meter.feed(Bytes::from(event.repeat(2)), &mut Vec::new());
        assert_eq!((progress.output_bytes, progress.output_events), (8, 2));
        assert_eq!(
            (
                meter.reported().output_bytes,
                meter.reported().output_events
            ),
            (8 * chunk, 2 * chunk)
        );
    }
}

/// A stream that is ended early reads like one that met its cap.
#[test]
fn an_ended_stream_reads_as_one_that_met_its_cap() {
    for (wire, stream) in all_streams() {
        for end in event_ends(&stream) {
            let mut meter = StreamMeter::new(wire, false);
            meter.feed(Bytes::copy_from_slice(&stream[..end]), &mut Vec::new());
            let before = meter.reported();
            let ending = meter.ending();
            if before.error || ending.is_empty() {
                continue;
            }
            let ending_text = String::from_utf8(ending.to_vec()).expect("UTF-8");
            let begun = ending_text.matches(r#"":"{"}"#).count() as u64;
            let progress = meter.feed(ending, &mut Vec::new());
            let after = meter.reported();
            let text = String::from_utf8_lossy(&stream[..end]);
            assert!(progress.terminal && meter.is_done(), "{text}");
            let finish = before.finish.as_deref().unwrap_or(match wire {
                Wire::OpenAiChat => "length",
                Wire::AnthropicMessages => "max_tokens",
            });
            if wire == Wire::AnthropicMessages || before.finish.is_none() {
                assert_eq!(after.finish.as_deref(), Some(finish), "{text}");
            }
            assert_eq!(
                after.output_bytes,
                before.output_bytes + begun,
                "an ending says nothing but the beginning of a call's arguments"
            );
            assert!(
                meter.ending().is_empty(),
                "an ended stream has no other ending"
            );
        }
    }
}

#[test]
fn an_ending_shows_usage_to_who_asked_for_it() {
    let chunk = |usage: &str| {
        let text = format!(
            "data: {{\"id\":\"c-1\",\"created\":5,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}}}}]{usage}}}\n\n"
        );
        Bytes::from(text)
    };
    let shown = Usage::default()
        .with(TokenClass::UncachedInput, 8)
        .with(TokenClass::Output, 3);
    let end = |strip, usage, asked: Option<bool>| {
        let mut meter = StreamMeter::new(Wire::OpenAiChat, strip);
        if let Some(asked) = asked {
            meter = meter.usage_asked(asked);
        }
        meter.feed(chunk(usage), &mut Vec::new());
        String::from_utf8(meter.ending_with(&shown).to_vec()).expect("UTF-8")
    };
    let usage = "\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":3,\"total_tokens\":11,";
    assert!(end(false, ",\"usage\":null", None).contains(usage));
    assert!(end(false, "", Some(true)).contains(usage));
    assert!(!end(false, "", None).contains("usage"));
    assert!(!end(false, ",\"usage\":null", Some(false)).contains("usage"));
    assert!(!end(true, ",\"usage\":null", None).contains("usage"));
    assert!(end(true, "", None).contains("\"id\":\"c-1\",\"object\":\"chat.completion.chunk\""));
}

#[test]
fn an_error_event_is_an_error_on_its_wire() {
    for wire in [Wire::OpenAiChat, Wire::AnthropicMessages] {
        let mut meter = StreamMeter::new(wire, false);
        // Half an event went to the client: the error has to stand alone all the same.
        meter.feed(Bytes::from_static(b"data: {\"cho"), &mut Vec::new());
        let event = meter.error_event("no \"budget\" left\n", "budget_exhausted");
        let text = String::from_utf8(event.to_vec()).expect("UTF-8");
        let data = text.split("data: ").nth(1).expect("data");
        let value: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(value["error"]["message"], "no \"budget\" left\n");
        assert!(text.starts_with("\n\n") && text.ends_with("\n\n"));
        assert!(meter.feed(event, &mut Vec::new()).terminal);
        assert!(meter.reported().error);
    }
}

#[test]
fn an_event_too_large_passes_unmetered_and_the_rest_is_read() {
    let huge = format!(
        "data: {{\"choices\":[],\"x\":\"{}\"}}\n\n",
        "y".repeat(5 << 20)
    );
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let stream = [&huge, usage, "data: [DONE]\n\n"].concat().into_bytes();
    for strip in [false, true] {
        for size in [stream.len(), 64 << 10] {
            let (relayed, reported) = meter(Wire::OpenAiChat, strip, stream.chunks(size));
            let dropped = if strip { usage.len() } else { 0 };
            assert_eq!(relayed.len(), stream.len() - dropped);
            assert_eq!(reported.flaws.to_string(), "event is too large to meter");
            assert!(reported.complete);
        }
    }
}

fn all_streams() -> Vec<(Wire, Vec<u8>)> {
    let mut streams = Vec::new();
    for wire in [Wire::OpenAiChat, Wire::AnthropicMessages] {
        for path in fixtures(wire) {
            if path.extension().is_some_and(|end| end == "sse") {
                streams.push((wire, std::fs::read(path).expect("a readable fixture")));
            }
        }
    }
    assert!(streams.len() > 40, "fixtures of streams are missing");
    streams
}

/// Where events end that end with LF LF.
fn event_ends(stream: &[u8]) -> Vec<usize> {
    (2..=stream.len())
        .filter(|end| &stream[end - 2..*end] == b"\n\n")
        .collect()
}
