//! What the official SDKs see as a budget is used up, level by level, on both wires, whole and
//! streamed: told, slowed, served by a cheaper model, allowed to wrap up, and stopped. What it
//! cost is the provider's truth throughout.

use std::path::Path;

use fisc_ledger::{Entry, Reader};
use fisc_testkit::process;
use serde_json::Value;

use super::books::compare;
use super::by_name;
use super::world::{PATIENCE, World};

/// Each agent has a budget of its own. Calls cost 0.2 to 0.4 cents.
const BUDGET: [&str; 6] = [
    "--cost",
    "1",
    "--fallback-model",
    "gpt-4o=gpt-4o-mini",
    "--fallback-model",
    "claude-sonnet*=claude-haiku-4-5",
];

/// Lets one agent of `levels.py` use up its budget; returns what it saw, call by call, and how
/// many of its calls marked so the provider saw at once.
#[track_caller]
fn used_up(agent: &str) -> (Vec<Value>, usize) {
    let world = World::new();
    let provider = world.provider("5");
    let budget = format!("{agent}=0.1");
    let own = [
        "--notice",
        "message",
        "-b",
        &budget,
        "--json",
        "report.json",
    ];
    let args: Vec<&str> = BUDGET.into_iter().chain(own).collect();
    let mut command = world.run_python(&provider, &args, "levels.py");
    command.env("AGENTS", agent);
    let finished = process::run(&mut command, PATIENCE);
    let finished = finished.success();
    let truth = provider.end();
    let report = world.json("report.json");
    let run = report["run"].as_str().expect("a run");
    let ledger = world.ledger_of(run);
    compare(&truth, &ledger, &by_name);
    println!("{}", finished.stdout);
    let lines = finished.stdout.lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("the program prints JSON"));
    let lines: Vec<Value> = lines.collect();
    let told = lines.iter().map(|line| text(line, "changed").to_owned());
    let mut told: Vec<String> = told.filter(|changed| !changed.is_empty()).collect();
    told.sort();
    assert_eq!(
        told,
        changes(&ledger),
        "the header and the ledger say the same"
    );
    (lines, most_at_once(&truth, &format!("{agent}|slowed")))
}

/// Returns what the ledger says was changed of requests.
fn changes(ledger: &Path) -> Vec<String> {
    let reader = Reader::open(ledger).expect("a ledger");
    let entries = reader.entries(0, usize::MAX).expect("entries");
    // Beside the call is a part of it that the budget of Fisc paid; it has other tags.
    let tags = entries.into_iter().flat_map(|row| match row.entry {
        Entry::Settle { facts, .. } => facts.tags,
        _ => Vec::new(),
    });
    let changed = tags.filter(|(name, _)| &**name == "changed");
    let mut changes: Vec<String> = changed.map(|(_, what)| what.to_string()).collect();
    changes.sort();
    changes
}

/// Returns how many calls of one label were generated at once at most.
#[track_caller]
fn most_at_once(truth: &Path, label: &str) -> usize {
    let text = std::fs::read_to_string(truth).expect("the truth");
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .filter(|record: &Value| record["state"] == "ended" && record["label"] == label)
        .collect();
    assert_eq!(records.len(), 4, "each slowed call is made once");
    let at = |record: &Value, name: &str| record[name].as_u64().expect("a time");
    let running = |when: u64| {
        let spans = records
            .iter()
            .map(|r| (at(r, "started_ms"), at(r, "ended_ms")));
        spans
            .filter(|(start, end)| *start <= when && when < *end)
            .count()
    };
    let starts = records.iter().map(|record| at(record, "started_ms"));
    starts.map(running).max().unwrap_or(0)
}

fn text<'v>(line: &'v Value, name: &str) -> &'v str {
    line[name].as_str().unwrap_or_default()
}

/// Checks one agent's way from Green to its end.
#[track_caller]
fn check(agent: &str, models: [&str; 2], at_red: &[&str], ended: &str) {
    let (lines, at_once) = used_up(agent);
    let served = |model: &str, of: &str| model == of || model.starts_with(&format!("{of}-"));
    // Each level is told once, in order, the last with the wrap-up call.
    let told: Vec<&str> = lines
        .iter()
        .flat_map(|line| text(line, "changed").split(' '))
        .filter_map(|change| change.strip_prefix("notice="))
        .collect();
    assert_eq!(
        told,
        ["yellow", "orange", "red", "last"],
        "as printed above"
    );
    // From Red on a cheaper model serves, and nothing else is asked for than fits.
    for line in lines.iter().filter(|line| line["status"] == 200) {
        let changed = text(line, "changed");
        let cheaper = changed.contains("model=");
        let expected = models[usize::from(cheaper)];
        assert!(served(text(line, "model"), expected), "{line}");
        // The last calls get what is left, and may be cut short by it.
        let shortened = changed.contains("cap=");
        assert!(shortened || line["finish"] == ended, "{line}");
        for step in at_red.iter().filter(|_| cheaper) {
            assert!(changed.contains(step), "{line}");
        }
    }
    let cheaper = |line: &&Value| text(line, "changed").contains("model=");
    let wrap_up = |line: &&Value| text(line, "changed").contains("notice=last");
    assert!(
        lines.iter().filter(cheaper).count() >= 3,
        "as printed above"
    );
    // Half of what was in flight before: two of four, and all four are served in the end.
    assert_eq!(at_once, 2, "calls at Orange");
    let slowed = lines.iter().filter(|line| line["op"] == "slowed");
    assert!(
        slowed.clone().all(|line| line["status"] == 200),
        "{lines:#?}"
    );
    // The wrap-up call is the last ordinary one; the next is refused, and nobody retries it.
    let [.., last, refused, end] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert!(wrap_up(&last), "{last}");
    assert_eq!(refused["status"], 402, "{refused}");
    assert_eq!(refused["reason"], "budget_exhausted");
    assert_eq!(refused["sent"], 1, "no SDK retries a stop");
    assert!(
        text(refused, "message").contains(&format!("run/{agent}")),
        "{refused}"
    );
    // What is marked as wrapping up may still use what is kept for that.
    assert_eq!(
        (&end["op"], &end["status"]),
        (&"end".into(), &200.into()),
        "{end}"
    );
}

#[test]
fn openai_whole_answers() {
    let models = ["gpt-4o", "gpt-4o-mini"];
    check("openai-whole", models, &["choices=1"], "stop");
}

#[test]
fn openai_streams() {
    check("openai-stream", ["gpt-4o", "gpt-4o-mini"], &[], "stop");
}

#[test]
fn anthropic_whole_answers() {
    let models = ["claude-sonnet-4-5", "claude-haiku-4-5"];
    check("anthropic-whole", models, &[], "end_turn");
}

#[test]
fn anthropic_streams() {
    let models = ["claude-sonnet-4-5", "claude-haiku-4-5"];
    check("anthropic-stream", models, &[], "end_turn");
}
