//! The law of responses: any bytes are read without a panic, however they are cut; where usage
//! is not stripped the client gets the very bytes; where it is, it gets every event but for the
//! usage; and a stream can be ended anywhere so that its client sees the end.

use bytes::Bytes;
use fisc_core::TokenClass;
use fisc_llm::{Progress, Reported, StreamMeter, Wire, read_response};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::members::members;
use super::plain::plain_reading;

/// How deep a body may be nested.
const DEPTH_MAX: usize = 128;

/// What one metering of a stream came to.
#[derive(Debug, PartialEq, Eq)]
struct Metered {
    relayed: Vec<u8>,
    /// What was reported before the stream's end, and after.
    reported: (Reported, Reported),
    terminal: bool,
    output: (u64, u64),
    ending: Bytes,
    done: bool,
}

/// Checks the law for a body and for a stream.
pub(crate) fn hold(bytes: &[u8]) {
    for wire in [Wire::OpenAiChat, Wire::AnthropicMessages] {
        body(wire, bytes);
        for strip in [false, true] {
            stream(wire, strip, bytes);
        }
    }
}

fn body(wire: Wire, bytes: &[u8]) {
    let reported = read_response(wire, bytes);
    assert_eq!(reported.output_events, 0);
    sane(&reported);
    let unreadable = reported.flaws.iter().any(|flaw| flaw.field == "body");
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    let readable = is_json && is_object && depth(bytes) <= DEPTH_MAX;
    assert_eq!(readable, !unreadable, "another parser says otherwise");
    // With escapes two spellings of a name may stand side by side.
    if readable && !bytes.contains(&b'\\') {
        figures(wire, bytes, &reported);
    }
}

/// What another parser takes for the totals is what is reported.
fn figures(wire: Wire, bytes: &[u8], reported: &Reported) {
    let Ok(said) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let count = |name: &str| {
        said["usage"][name]
            .as_u64()
            .filter(|count| *count <= 1 << 62)
    };
    let usage = reported.usage.unwrap_or_default();
    match wire {
        Wire::OpenAiChat => {
            assert!(count("prompt_tokens").is_none_or(|said| said == usage.input()));
            assert!(count("completion_tokens").is_none_or(|said| said == usage.output()));
        }
        Wire::AnthropicMessages if said["message"].is_null() => {
            let class = |class| usage.get(class);
            let input = count("input_tokens");
            assert!(input.is_none_or(|said| said == class(TokenClass::UncachedInput)));
            let cached = count("cache_read_input_tokens");
            assert!(cached.is_none_or(|said| said == class(TokenClass::CacheRead)));
            assert!(count("output_tokens").is_none_or(|said| said == usage.output()));
        }
        Wire::AnthropicMessages => {}
    }
}

fn sane(reported: &Reported) {
    if reported.complete {
        assert!(reported.usage.is_some() && reported.input_seen);
    }
    if let Some(usage) = reported.usage {
        assert!(usage.reasoning <= usage.get(TokenClass::Output));
    }
    assert!(reported.output_events <= reported.output_bytes);
    assert_eq!(
        reported.flaws.is_empty(),
        reported.flaws.to_string().is_empty()
    );
}

fn stream(wire: Wire, strip: bool, bytes: &[u8]) {
    let whole = meter(wire, strip, [bytes]);
    sane(&whole.reported.1);
    let seed = bytes.iter().fold(bytes.len(), |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    // Byte by byte is slow, and says little more of a long stream.
    let small = if bytes.len() < 600 { 1 } else { 5 + seed % 11 };
    for size in [small, 17 + seed % 101] {
        let parts = meter(wire, strip, bytes.chunks(size));
        assert!(
            parts == whole,
            "cut at every {size}: {parts:?}, not {whole:?}"
        );
    }
    if !strip || wire == Wire::AnthropicMessages {
        assert_eq!(whole.relayed, bytes);
    } else {
        stripped(bytes, &whole.relayed);
        let kept = meter(wire, false, [bytes]);
        assert_eq!(kept.reported, whole.reported, "stripping changes no figure");
    }
    let cut = seed % (bytes.len() + 1);
    ended(wire, strip, &bytes[..cut]);
    ended(wire, strip, bytes);
}

fn meter<'c>(wire: Wire, strip: bool, chunks: impl IntoIterator<Item = &'c [u8]>) -> Metered {
    let mut meter = StreamMeter::new(wire, strip);
    let mut relay = Vec::new();
    let mut sum = Progress::default();
    let strips = strip && wire == Wire::OpenAiChat;
    let mut held = 0;
    for chunk in chunks {
        held += if strips { 0 } else { chunk.len() as u64 };
        let progress = meter.feed(Bytes::copy_from_slice(chunk), &mut relay);
        assert!(progress.open_tail <= held);
        sum.terminal |= progress.terminal;
        sum.output_bytes += progress.output_bytes;
        sum.output_events += progress.output_events;
    }
    let output = (sum.output_bytes, sum.output_events);
    let (before, ending, done) = (meter.reported(), meter.ending(), meter.is_done());
    assert_eq!((before.output_bytes, before.output_events), output);
    let after = meter.finish(&mut relay);
    Metered {
        relayed: relay.concat(),
        reported: (before, after),
        terminal: sum.terminal,
        output,
        ending,
        done,
    }
}

/// Where usage is stripped, every event arrives, or differs by its usage, or said nothing else.
fn stripped(bytes: &[u8], relayed: &[u8]) {
    let relayed = plain_reading(relayed);
    let mut arrived = relayed.iter().peekable();
    for (name, data) in &plain_reading(bytes) {
        let same_name = arrived.peek().filter(|(other, _)| other == name);
        if same_name.is_some_and(|(_, other)| other == data) {
            arrived.next();
            continue;
        }
        let readable = lossy(data);
        let said = members(readable.as_bytes()).expect("only objects are edited");
        let other = same_name.map(|(_, other)| lossy(other)).unwrap_or_default();
        if members(other.as_bytes()).is_some_and(|other| but_usage(&other) == but_usage(&said)) {
            arrived.next();
            continue;
        }
        let choices = said.iter().rfind(|(name, _)| name == "choices");
        let none = choices.is_some_and(|(_, list)| matches!(inside(list), Some("")));
        assert!(none, "lost: {readable}");
    }
    assert_eq!(arrived.next(), None, "an event from nowhere");
}

/// Reads data as text where UTF-8 or an escape is broken, which is nothing to us.
fn lossy(data: &[u8]) -> String {
    String::from_utf8_lossy(data).replace("\\u", "u")
}

fn but_usage<'a>(members: &'a [(String, &'a str)]) -> Vec<&'a (String, &'a str)> {
    members.iter().filter(|(name, _)| name != "usage").collect()
}

/// Returns what stands between the brackets of a list.
fn inside(list: &str) -> Option<&str> {
    Some(list.strip_prefix('[')?.strip_suffix(']')?.trim())
}

/// A stream that we end says so to its client, whatever came before.
fn ended(wire: Wire, strip: bool, bytes: &[u8]) {
    let mut meter = StreamMeter::new(wire, strip);
    let mut relay = Vec::new();
    meter.feed(Bytes::copy_from_slice(bytes), &mut relay);
    let relayed = relay.concat();
    let last = |text: &[u8]| {
        let seen = plain_reading(&[&relayed[..], text].concat());
        let (_, data) = seen.last().expect("an ending is an event").clone();
        String::from_utf8(data).expect("an ending is text")
    };
    let error = last(&meter.error_event("over \"budget\"", "budget_exhausted"));
    let error: Value = serde_json::from_str(&error).expect("an error is JSON");
    assert_eq!(error["error"]["message"], "over \"budget\"");
    let ending = meter.ending();
    assert_eq!(ending.is_empty(), meter.is_done());
    if ending.is_empty() {
        return;
    }
    match wire {
        Wire::OpenAiChat => assert_eq!(last(&ending), "[DONE]"),
        Wire::AnthropicMessages => assert_eq!(last(&ending), r#"{"type":"message_stop"}"#),
    }
    let progress = meter.feed(ending, &mut relay);
    let held_back = strip && wire == Wire::OpenAiChat;
    assert!(held_back || (progress.terminal && meter.is_done()));
}

/// Counts how many containers of a valid JSON text stand inside one another.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
