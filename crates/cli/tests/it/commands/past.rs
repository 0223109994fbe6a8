//! Reports of a ledger with a past: hours, tags, two providers and refusals, written by hand.

use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, Money, TimeUs, Timestamp, TokenClass, Tokens, Usage};
use fisc_ledger::{CallLabel, Durability, Entry, Facts, Journal, Options, Outcome};
use serde_json::{Value, json};

use super::parsed;
use crate::sdk::World;

/// 2024-01-01T00:00Z, in hours since 1970.
const NEW_YEAR: i64 = 473_352;

type Tags = &'static [(&'static str, &'static str)];

/// A served budget with these calls: hour of the new year, agent, provider, tags, dollars.
const CALLS: [(i64, u32, &str, Tags, i64); 5] = [
    (0, 1, "openai", &[("task", "sow")], 1),
    (0, 1, "openai", &[("task", "sow"), ("trace", "t1")], 2),
    (5, 2, "openai", &[], 4),
    (5, 2, "azure", &[("task", "reap")], 8),
    (6, 1, "openai", &[("task", "reap")], 16),
];

struct Past {
    world: World,
    db: String,
}

// === impl Past ===

impl Past {
    #[track_caller]
    fn new() -> Past {
        let world = World::new();
        let path = world.dir.join("past.db");
        let options = Options::new(&path, Durability::Process, at(0));
        let (journal, _) = Journal::open(options).expect("a new ledger");
        for (budget, name) in [(0, "farm"), (1, "ann"), (2, "bob")] {
            let entry = Entry::Allocate {
                budget: BudgetId(budget),
                parent: (budget > 0).then_some(BudgetId(0)),
                name: name.to_owned(),
                terms: String::new(),
            };
            let _ = journal.append(at(0), entry);
        }
        for (number, (hour, agent, provider, tags, dollars)) in CALLS.into_iter().enumerate() {
            let id = HoldId(number as u128 + 1);
            let call = label(provider);
            let amount = cost(dollars);
            let hold = Entry::Hold {
                id,
                budget: BudgetId(agent),
                amount,
                call: call.clone(),
            };
            let _ = journal.append(at(hour), hold);
            let settle = Entry::Settle {
                id,
                amount,
                overrun: Amount::ZERO,
                facts: Box::new(facts(call, tags)),
            };
            let _ = journal.append(at(hour), settle);
        }
        // The second call cost a dollar more, and was of another size.
        let correct = Entry::Correct {
            id: HoldId(2),
            by: cost(1),
            usage: Some(usage(7)),
            reason: "found".to_owned(),
        };
        let _ = journal.append(at(1), correct);
        for (hour, agent, model) in [(5, 2, "mill"), (6, 1, "wheat"), (6, 1, "wheat"), (9, 1, "")] {
            journal.refuse(at(hour), BudgetId(agent), "work", model, "over_limit");
        }
        journal.close().expect("a closed ledger");
        let db = path.display().to_string();
        Past { world, db }
    }

    #[track_caller]
    fn report(&self, args: &[&str]) -> Value {
        parsed(&self.text(&[args, &["--json"]].concat()))
    }

    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        let args = [&["report", "--db", &self.db], args].concat();
        self.world.done(args).success().stdout
    }
}

fn at(hour: i64) -> Timestamp {
    Timestamp((NEW_YEAR + hour) * 3_600_000_000 + 60_000_000)
}

fn cost(dollars: i64) -> Amount {
    Amount::new(
        Tokens(10),
        Money::from_nanos(dollars * 1_000_000_000),
        TimeUs(1),
    )
}

fn usage(output: u64) -> Usage {
    Usage::default().with(TokenClass::Output, output)
}

fn label(provider: &str) -> CallLabel {
    CallLabel {
        operation: "work".into(),
        model: "wheat".into(),
        provider: provider.into(),
        price_version: "p".into(),
        attempt: 1,
        bounded: true,
    }
}

fn facts(call: CallLabel, tags: &[(&str, &str)]) -> Facts {
    let pair = |(key, value): &(&str, &str)| (Arc::from(*key), Arc::from(*value));
    Facts {
        call,
        usage: usage(5),
        estimated: false,
        outcome: Outcome::Completed,
        duration: TimeUs(1),
        tags: tags.iter().map(pair).collect(),
    }
}

/// Returns the rows of a list as what they are told apart by and these members.
fn rows(report: &Value, list: &str, members: &[&str]) -> Vec<Value> {
    let rows = report[list].as_array().expect("a list");
    let row = |row: &Value| members.iter().map(|name| row[name].clone()).collect();
    rows.iter().map(row).collect()
}

#[test]
fn refusals_count_where_they_belong() {
    let past = Past::new();
    let report = past.report(&[]);
    let dollars = |row: &[&str]| rows(&report, row[0], &row[1..]);
    assert_eq!(
        dollars(&["agents", "agent", "calls", "refused"]),
        [json!(["farm/ann", 3, 3]), json!(["farm/bob", 2, 1])]
    );
    // Two providers sold wheat: whose call was refused is not known.
    assert_eq!(
        dollars(&["models", "provider", "model", "calls", "refused"]),
        [
            json!(["azure", "wheat", 1, 0]),
            json!(["openai", "wheat", 4, 0]),
            json!([null, "", 0, 1]),
            json!([null, "mill", 0, 1]),
            json!([null, "wheat", 0, 2]),
        ]
    );
    assert_eq!(
        dollars(&["hours", "hour", "calls", "refused"]),
        [
            json!(["2024-01-01T00:00Z", 2, 0]),
            json!(["2024-01-01T05:00Z", 2, 1]),
            json!(["2024-01-01T06:00Z", 1, 2]),
            json!(["2024-01-01T09:00Z", 0, 1]),
        ]
    );
    for list in ["agents", "operations", "models", "hours"] {
        let sum: i64 = dollars(&[list, "refused"])
            .iter()
            .map(|row| row[0].as_i64().expect("a count"))
            .sum();
        assert_eq!(json!(sum), report["refused"], "{list}");
    }
    let text = past.text(&["--by", "hour"]);
    assert!(text.contains(" 2024-01-01T09:00Z"), "{text}");
}

#[test]
fn since_tells_of_later_calls_only() {
    let past = Past::new();
    let report = past.report(&["--since", "2024-01-01T05:59Z"]);
    assert_eq!(report["since"], "2024-01-01T05:00Z");
    let agents = rows(
        &report,
        "agents",
        &["agent", "calls", "cost_usd", "refused"],
    );
    assert_eq!(
        agents,
        [
            json!(["farm/ann", 1, "16.00", 3]),
            json!(["farm/bob", 2, "12.00", 1])
        ]
    );
    let hours = rows(&report, "hours", &["hour"]);
    assert_eq!(
        json!(hours),
        json!([
            ["2024-01-01T05:00Z"],
            ["2024-01-01T06:00Z"],
            ["2024-01-01T09:00Z"]
        ])
    );
    assert_eq!(report["refused"], 4);
    // Balances are of all time.
    assert_eq!(
        report["budgets"][0]["cost"]["spent"],
        json!(32_000_000_000_i64)
    );
    let late = past.report(&["--since", "2024-01-01T09:00Z"]);
    assert_eq!(
        (&late["refused"], &late["agents"][0]["calls"]),
        (&json!(1), &json!(0))
    );
    let text = past.text(&["--since", "2024-01-01T05:00Z"]);
    assert!(
        text.contains("\n calls since 2024-01-01T05:00Z:\n"),
        "{text}"
    );
    assert_eq!(past.report(&[]).get("since"), None);
}

#[test]
fn tags_tell_calls_apart() {
    let past = Past::new();
    let members = ["tag", "calls", "completed", "tokens", "cost_usd"];
    let report = past.report(&["--by", "tag"]);
    assert_eq!(
        rows(&report, "tags", &members),
        [
            json!(["", 1, 1, 10, "4.00"]),
            json!(["task=reap", 2, 2, 20, "24.00"]),
            json!(["task=sow", 2, 2, 30, "4.00"]),
            json!(["trace=t1", 1, 1, 20, "3.00"]),
        ]
    );
    // A correction replaces the usage that was known, and nothing else.
    let output: Vec<_> = rows(&report, "tags", &["usage"])
        .iter()
        .map(|row| row[0]["output"].clone())
        .collect();
    assert_eq!(output, [json!(5), json!(10), json!(12), json!(7)]);
    assert_eq!(report["tags"][0].get("refused"), None, "nobody knows");
    let late = past.report(&["--by", "tag", "--since", "2024-01-01T06:00Z"]);
    assert_eq!(
        rows(&late, "tags", &members),
        [json!(["task=reap", 1, 1, 10, "16.00"])]
    );
    let text = past.text(&["--by", "tag"]);
    let row = text.lines().find(|line| line.starts_with(" task=reap"));
    let row = row.expect("a row of the tag");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(&words[..4], ["task=reap", "$24.00", "2", "20"], "{text}");
    assert_eq!(words.last(), Some(&"-"), "{text}");
    assert_eq!(
        past.report(&[]).get("tags"),
        None,
        "read only when asked for"
    );
}

#[test]
fn what_is_no_time_is_told_with_right_ones() {
    let past = Past::new();
    let args = ["report", "--db", &past.db, "--since", "yesterday"];
    let told = past.world.done(args);
    assert_eq!((told.code(), told.stdout.as_str()), (2, ""));
    assert_eq!(
        told.stderr,
        "error: --since: \"yesterday\" is no time\n\nhint: write a time ago as 90m, 24h or 7d, \
         or a UTC date or time as 2026-11-20 or 2026-11-20T15:00Z\n"
    );
}
