//! Golden files: `fixtures/<wire>/<case>.json` and `.sse`, each with what is expected of it in
//! `<case>.expect`. `UPDATE_EXPECT=1` writes the expectations anew.
//!
//! `request_…` are read as requests, `response_…` as bodies, `.sse` as streams.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fisc_core::{TokenClass, Usage};
use fisc_llm::{
    CapField, Edits, InputShape, Reported, RequestFacts, StreamMeter, Wire, read_response,
};

#[test]
fn openai_chat() {
    check_all(Wire::OpenAiChat);
}

#[test]
fn anthropic_messages() {
    check_all(Wire::AnthropicMessages);
}

/// Lists the fixtures of a wire.
pub(crate) fn fixtures(wire: Wire) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(wire.name());
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the wire has fixtures")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "json" || end == "sse")
        })
        .collect();
    paths.sort();
    paths
}

/// Feeds a stream in the given pieces; returns what was relayed and reported.
pub(crate) fn meter<'c>(
    wire: Wire,
    strip: bool,
    chunks: impl IntoIterator<Item = &'c [u8]>,
) -> (Vec<u8>, Reported) {
    let mut meter = StreamMeter::new(wire, strip);
    let mut relay = Vec::new();
    for chunk in chunks {
        meter.feed(Bytes::copy_from_slice(chunk), &mut relay);
    }
    let reported = meter.finish(&mut relay);
    (relay.concat(), reported)
}

fn check_all(wire: Wire) {
    let paths = fixtures(wire);
    assert!(paths.len() >= 25, "fixtures of {wire} are missing");
    for path in paths {
        check(wire, &path);
    }
}

#[track_caller]
fn check(wire: Wire, path: &Path) {
    let bytes = fs::read(path).expect("a readable fixture");
    let case = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a name in ASCII");
    let shown = match path.extension().and_then(|end| end.to_str()) {
        Some("sse") => show_stream(wire, &bytes),
        _ if case.starts_with("request_") => show_request(wire, &bytes),
        _ => show_reported(&read_response(wire, &bytes)),
    };
    let expect_path = path.with_extension("expect");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&expect_path, &shown).expect("a writable folder");
        return;
    }
    let expected = fs::read_to_string(&expect_path).unwrap_or_default();
    assert!(
        shown == expected,
        "{}:\n--- expected\n{expected}--- is\n{shown}",
        path.display()
    );
}

fn show_request(wire: Wire, body: &[u8]) -> String {
    let facts = match RequestFacts::read(wire, body) {
        Ok(facts) => facts,
        Err(error) => return format!("refused: {error}\n"),
    };
    let mut text = String::new();
    let _ = writeln!(text, "model {:?}", facts.model);
    let _ = writeln!(text, "stream {}", facts.stream);
    let _ = writeln!(text, "output_cap {:?}", facts.output_cap);
    let _ = writeln!(text, "choices {}", facts.choices);
    let _ = writeln!(text, "include_usage {:?}", facts.include_usage);
    let _ = writeln!(text, "service_tier {:?}", facts.service_tier);
    text += &show_input(&facts.input);
    let edits = Edits {
        output_cap: Some(7),
        cap_field: CapField::MaxCompletionTokens,
        include_usage: true,
        model: Some("cheap \"one\""),
        ..Edits::default()
    };
    let edited = facts.edit(body, &edits);
    let _ = writeln!(
        text,
        "edited {}",
        String::from_utf8(edited).expect("UTF-8 stays UTF-8")
    );
    text
}

fn show_input(input: &InputShape) -> String {
    let after: Vec<u64> = input
        .prefixes
        .iter()
        .map(|prefix| prefix.bytes_after)
        .collect();
    let mut text = format!(
        "bytes {} of which head {}\nmessages {} with bytes after {after:?}\n",
        input.body_bytes, input.head_bytes, input.messages
    );
    for (name, count) in [
        ("images", input.images),
        ("files", input.files),
        ("audio", input.audio),
        ("searches_max", input.searches_max),
        ("opaque", u64::from(input.opaque)),
        ("hidden_prompt", u64::from(input.hidden_prompt)),
        ("cache_writes", u64::from(input.cache_writes)),
        ("cache_ttl_1h", u64::from(input.cache_ttl_1h)),
        ("predicted", u64::from(input.predicted)),
        ("audio_out", u64::from(input.audio_out)),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{name} {count}");
        }
    }
    text
}

fn show_stream(wire: Wire, stream: &[u8]) -> String {
    let (relayed, reported) = meter(wire, false, [stream]);
    assert_eq!(relayed, stream, "without stripping nothing changes");
    let mut text = show_reported(&reported);
    let (stripped, same) = meter(wire, true, [stream]);
    assert_eq!(same, reported, "stripping changes no figure");
    if stripped != stream {
        let _ = writeln!(text, "--- stripped\n{}", visible(&stripped));
    }
    let mut whole = StreamMeter::new(wire, false);
    whole.feed(Bytes::copy_from_slice(stream), &mut Vec::new());
    let ending = whole.ending();
    if !ending.is_empty() {
        let _ = writeln!(text, "--- ending\n{}", visible(&ending));
    }
    text
}

fn show_reported(reported: &Reported) -> String {
    let mut text = match &reported.usage {
        Some(usage) => format!("usage {}\n", show_usage(usage)),
        None => "usage none\n".to_owned(),
    };
    let _ = writeln!(text, "complete {}", reported.complete);
    let _ = writeln!(text, "input_seen {}", reported.input_seen);
    if !reported.flaws.is_empty() {
        let _ = writeln!(text, "flaws {}", reported.flaws);
    }
    let _ = writeln!(text, "model {:?}", reported.model);
    let _ = writeln!(text, "service_tier {:?}", reported.service_tier);
    let (bytes, events) = (reported.output_bytes, reported.output_events);
    let _ = writeln!(text, "output {bytes} bytes in {events} events");
    let _ = writeln!(text, "finish {:?}", reported.finish);
    let _ = writeln!(text, "error {}", reported.error);
    text
}

fn show_usage(usage: &Usage) -> String {
    let classes = TokenClass::ALL
        .into_iter()
        .map(|class| (class.name(), usage.get(class)));
    let apart = [
        ("reasoning", usage.reasoning),
        ("searches", usage.units.searches),
    ];
    let shown = classes.chain(apart).filter(|(_, count)| *count > 0);
    shown
        .map(|(name, count)| format!("{name}={count}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shows CR, which would else get lost between editors.
fn visible(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "␍")
}
