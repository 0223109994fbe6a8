//! A stream that its budget ends in the middle, because its provider ignores the cap: to the
//! official SDKs it is an answer that reached its length, and the ledger has an estimate
//! of what was generated that is not below it.

use fisc_ledger::{Entry, Outcome, Reader};
use fisc_testkit::process;
use serde_json::Value;

use super::world::{PATIENCE, World};

/// How many tokens the provider would generate.
const TOKENS: u64 = 900;
/// How many of them may be under way when a stream is closed.
const UNDER_WAY: u64 = 100;

#[test]
fn a_stream_that_outgrows_its_budget_ends_as_if_it_were_long_enough() {
    let world = World::new();
    let provider = world.provider("5");
    let args = ["-b", "openai=tokens=400", "-b", "anthropic=tokens=400"];
    let args = [&args[..], &["--json", "report.json"]].concat();
    let finished = process::run(&mut world.run_python(&provider, &args, "cut.py"), PATIENCE);
    let finished = finished.success();
    let truth = provider.end();
    let lines = finished.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ends = lines.iter().map(|line| line["finish"].as_str());
    let ends: Vec<Option<&str>> = ends.collect();
    assert_eq!(ends, [Some("length"), Some("max_tokens")]);
    let report = world.json("report.json");
    let ledger = world.ledger_of(report["run"].as_str().expect("a run"));
    let reader = Reader::open(&ledger).expect("a ledger");
    let entries = reader.entries(0, usize::MAX).expect("entries");
    let settled: Vec<_> = entries
        .into_iter()
        .filter_map(|row| match row.entry {
            Entry::Settle { facts, .. } => Some(facts),
            _ => None,
        })
        .collect();
    let records = std::fs::read_to_string(truth).expect("the truth");
    let records = records
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let written: Vec<u64> = records
        .filter(|record: &Value| record["state"] == "ended")
        .map(|record| record["written_output_tokens"].as_u64().expect("a count"))
        .collect();
    assert_eq!((lines.len(), settled.len(), written.len()), (2, 2, 2));
    for ((line, facts), written) in lines.iter().zip(&settled).zip(written) {
        assert_eq!(line["sent"], 1, "nobody retries: {line}");
        assert_eq!(facts.outcome, Outcome::Cut, "{facts:?}");
        let (text, booked) = (
            line["text"].as_u64().expect("a length"),
            facts.usage.output(),
        );
        println!(
            "{}: {text} characters relayed, booked {booked}, the provider wrote {written} tokens",
            line["agent"],
        );
        assert!(text > 0 && written < TOKENS, "cut in the middle: {line}");
        // Nobody reports what a closed stream has used. No token is shorter than a byte, and what
        // was under way when it was closed is not much.
        assert!(facts.estimated, "{facts:?}");
        assert!(booked + UNDER_WAY >= written, "{booked} {written}");
    }
    world.done(["verify"]).success();
}
