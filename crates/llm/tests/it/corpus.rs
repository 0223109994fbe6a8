//! The kept corpora of the fuzz targets, replayed against their laws: what once was an exception
//! stays none, without a fuzzer.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use crate::laws::{request, response, tap};

#[test]
fn sse_tap() {
    replay("sse_tap", tap::hold);
}

#[test]
fn facts_and_splice() {
    replay("facts_and_splice", request::hold);
}

#[test]
fn usage_extractors() {
    replay("usage_extractors", response::hold);
}

/// Checks a law with every input that was kept for a target, and with every fixture.
#[track_caller]
fn replay(target: &str, hold: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = files(&root.join("../../fuzz/corpus").join(target));
    assert!(kept.len() > 50, "the corpus of {target} is missing");
    let wires = ["openai_chat", "anthropic_messages"];
    let fixtures = wires.map(|wire| files(&root.join("tests/fixtures").join(wire)));
    for path in kept.into_iter().chain(fixtures.into_iter().flatten()) {
        let bytes = fs::read(&path).expect("a readable input");
        let held = panic::catch_unwind(|| hold(&bytes));
        assert!(held.is_ok(), "{} breaks a law", path.display());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of inputs");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    paths
}
