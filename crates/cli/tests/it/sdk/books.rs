//! The three books of a rehearsed run, made comparable: the provider's truth, the ledger's
//! entries and the JSON report.
//!
//! What the truth costs is the word of `expected_cost.py`, which shares nothing with the product.

use std::collections::BTreeMap;
use std::path::Path;

use fisc_core::{Amount, TokenClass, Usage};
use fisc_ledger::{Entry, GroupBy, Outcome, Reader};
use fisc_testkit::{process, python};
use serde_json::Value;

use super::world::PATIENCE;

/// The budget that pays what is added to calls.
const NOTICES: &str = "run/fisc";

/// Where the caller's names end up: from the wire and the program's own names of agent and
/// operation to the agent's path and the operation.
pub(crate) type Naming<'a> = &'a dyn Fn(&str, &str, &str) -> (String, String);

/// One charged call, as either side tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallRow {
    pub(crate) agent: String,
    pub(crate) operation: String,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) tokens: Tokens,
    pub(crate) nanos: i64,
}

/// Tokens by class; `reasoning` is a part of `output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write_5m: u64,
    pub(crate) cache_write_1h: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

/// What calls come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    calls: u64,
    tokens: Tokens,
    fresh: i64,
    nanos: i64,
}

/// Compares the ledger with the truth: call by call, and summed up by agent, operation and model.
/// Returns how many calls there are.
#[track_caller]
pub(crate) fn compare(truth: &Path, ledger: &Path, naming: Naming<'_>) -> usize {
    let (expected, total) = true_calls(truth, naming);
    let booked = booked_calls(ledger);
    let absent = |rows: &[CallRow], from: &[CallRow]| {
        let mut left = from.to_vec();
        let mut absent = Vec::new();
        for row in rows {
            match left.iter().position(|other| other == row) {
                Some(at) => drop(left.swap_remove(at)),
                None => absent.push(row.clone()),
            }
        }
        absent
    };
    let (lost, invented) = (absent(&expected, &booked), absent(&booked, &expected));
    assert!(
        lost.is_empty() && invented.is_empty(),
        "of {} true calls these were not booked so:\n{lost:#?}\nbut these were:\n{invented:#?}",
        expected.len(),
    );
    assert_eq!(
        rollups(ledger),
        sums(&expected, by_all),
        "the roll-ups differ"
    );
    let nanos: i64 = expected.iter().map(|row| row.nanos).sum();
    assert_eq!(nanos, total, "the script contradicts itself");
    let calls = expected.len();
    println!("compared {calls} calls, {nanos} nano-dollars: 0 differences");
    calls
}

/// Compares a JSON report with the truth, by agent, by operation and by model, and in all.
#[track_caller]
pub(crate) fn compare_report(truth: &Path, report: &Value, naming: Naming<'_>) {
    let (expected, total) = true_calls(truth, naming);
    let reported = |list: &str, keys: &[&str]| reported(&report[list], keys);
    let agents = sums(&expected, |row| vec![row.agent.clone()]);
    assert_eq!(reported("agents", &["agent"]), agents);
    let operations = sums(&expected, |row| {
        vec![row.agent.clone(), row.operation.clone()]
    });
    assert_eq!(reported("operations", &["agent", "operation"]), operations);
    let models = sums(&expected, |row| {
        vec![row.provider.clone(), row.model.clone()]
    });
    assert_eq!(reported("models", &["provider", "model"]), models);
    let whole = sums(&expected, |_| Vec::new());
    let hours = reported("hours", &["hour"]);
    assert_eq!(added(hours.values()), added(whole.values()));
    let root = &report["budgets"][0];
    assert_eq!(root["cost"]["spent"], total);
    assert_eq!(root["tokens"]["spent"], added(whole.values()).fresh);
    for budget in report["budgets"].as_array().expect("a list") {
        for resource in ["tokens", "cost", "active_time"] {
            assert_eq!(budget[resource]["held"], 0, "{budget}");
        }
    }
    for count in ["refused", "estimated", "in_doubt"] {
        assert_eq!(report[count], 0, "{count}");
    }
}

/// Returns every call that the provider generated something for, and what all of them cost.
#[track_caller]
pub(crate) fn true_calls(truth: &Path, naming: Naming<'_>) -> (Vec<CallRow>, i64) {
    let mut script = python::command("expected_cost.py");
    let said = process::run(script.arg("--calls").arg(truth), PATIENCE).success();
    let said: Value = serde_json::from_str(&said.stdout).expect("the script prints JSON");
    let calls = said["by_call"].as_array().expect("a list");
    let row = |call: &Value| {
        let label = call["label"]
            .as_str()
            .expect("every program labels its calls");
        let (agent, operation) = label.split_once('|').expect("agent|op");
        let text = |name: &str| call[name].as_str().expect("a text").to_owned();
        let (agent, operation) = naming(&text("wire"), agent, operation);
        let count = |name: &str| call["tokens"][name].as_u64().unwrap_or(0);
        CallRow {
            agent,
            operation,
            provider: text("wire"),
            model: text("answered_model"),
            tokens: Tokens {
                input: count("input"),
                cache_read: count("cache_read"),
                cache_write_5m: count("cache_write_5m"),
                cache_write_1h: count("cache_write_1h"),
                output: count("output") + count("reasoning"),
                reasoning: count("reasoning"),
            },
            nanos: call["nanos"].as_i64().expect("an integer"),
        }
    };
    let total = said["total_nanos"].as_i64().expect("an integer");
    (calls.iter().map(row).collect(), total)
}

/// Returns every settlement of a ledger. All must be exact, complete and within their budgets.
#[track_caller]
fn booked_calls(ledger: &Path) -> Vec<CallRow> {
    let reader = Reader::open(ledger).expect("a ledger");
    let paths = paths(&reader);
    let entries = reader.entries(0, usize::MAX).expect("entries");
    let notices = notices(&reader);
    let mut rows = Vec::new();
    for row in entries {
        let Entry::Settle {
            id,
            mut amount,
            overrun,
            facts,
        } = row.entry
        else {
            continue;
        };
        if paths[&row.budget.0] == NOTICES {
            continue;
        }
        if let Some(notice) = notices.get(&id.to_string()) {
            amount = amount.checked_add(*notice).expect("in range");
        }
        assert!(!facts.estimated, "an estimate: {facts:?}");
        assert_eq!(facts.outcome, Outcome::Completed, "{facts:?}");
        assert_eq!(overrun.cost().nanos(), 0, "{facts:?}");
        assert_eq!(overrun.tokens().0, 0, "{facts:?}");
        let usage = Tokens::of(&facts.usage);
        assert_eq!(amount.tokens().0, usage.fresh(), "{facts:?}");
        rows.push(CallRow {
            agent: paths[&row.budget.0].clone(),
            operation: facts.call.operation.to_string(),
            provider: facts.call.provider.to_string(),
            model: facts.call.model.to_string(),
            tokens: usage,
            nanos: amount.cost().nanos(),
        });
    }
    rows
}

/// Returns what notices in calls were taken to cost, which the budget of Fisc paid of each, by the
/// call. All are estimates.
#[track_caller]
fn notices(reader: &Reader) -> BTreeMap<String, Amount> {
    let paths = paths(reader);
    let entries = reader.entries(0, usize::MAX).expect("entries");
    let paid = entries.into_iter().filter_map(|row| match row.entry {
        Entry::Settle { amount, facts, .. } if paths[&row.budget.0] == NOTICES => {
            assert!(
                facts.estimated && facts.usage == Usage::default(),
                "{facts:?}"
            );
            let call = facts.tags.iter().find(|(name, _)| &**name == "call");
            Some((call.expect("the call").1.to_string(), amount))
        }
        _ => None,
    });
    paid.collect()
}

/// Returns the roll-ups; what the budget of Fisc paid of a call is counted as the call's.
#[track_caller]
fn rollups(ledger: &Path) -> BTreeMap<Vec<String>, Sums> {
    let mut sums = booked_rollups(ledger);
    sums.retain(|key, _| key[0] != NOTICES);
    let reader = Reader::open(ledger).expect("a ledger");
    let (notices, paths) = (notices(&reader), paths(&reader));
    for row in reader.entries(0, usize::MAX).expect("entries") {
        if let Entry::Settle { id, facts, .. } = row.entry
            && let Some(notice) = notices.get(&id.to_string())
        {
            let key = vec![
                paths[&row.budget.0].clone(),
                facts.call.operation.to_string(),
                facts.call.provider.to_string(),
                facts.call.model.to_string(),
            ];
            let sums = sums.get_mut(&key).expect("a call that was told");
            sums.fresh += notice.tokens().0;
            sums.nanos += notice.cost().nanos();
        }
    }
    sums
}

#[track_caller]
fn booked_rollups(ledger: &Path) -> BTreeMap<Vec<String>, Sums> {
    let reader = Reader::open(ledger).expect("a ledger");
    let paths = paths(&reader);
    let by = GroupBy {
        budget: true,
        operation: true,
        model: true,
        provider: true,
        hour: false,
    };
    let rows = reader
        .rollups(&fisc_ledger::Filter::default(), by)
        .expect("roll-ups");
    let keyed = rows.iter().map(|row| {
        let text = |name: &Option<std::sync::Arc<str>>| name.as_deref().unwrap_or("").to_owned();
        let agent = paths[&row.budget.expect("told apart by budget").0].clone();
        let key = vec![
            agent,
            text(&row.operation),
            text(&row.provider),
            text(&row.model),
        ];
        let sums = Sums {
            calls: row.totals.calls,
            tokens: Tokens::of(&row.totals.usage),
            fresh: row.totals.amount.tokens().0,
            nanos: row.totals.amount.cost().nanos(),
        };
        (key, sums)
    });
    keyed.collect()
}

/// Returns the paths of all budgets by their ids.
fn paths(reader: &Reader) -> BTreeMap<u32, String> {
    let mut paths = BTreeMap::new();
    for row in reader.budgets().expect("budgets") {
        let path = match row.parent {
            Some(parent) => format!("{}/{}", paths[&parent.0], row.name),
            None => row.name.clone(),
        };
        paths.insert(row.id.0, path);
    }
    paths
}

fn by_all(row: &CallRow) -> Vec<String> {
    [&row.agent, &row.operation, &row.provider, &row.model]
        .map(Clone::clone)
        .to_vec()
}

fn sums(rows: &[CallRow], key: impl Fn(&CallRow) -> Vec<String>) -> BTreeMap<Vec<String>, Sums> {
    let mut sums: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
    for row in rows {
        let one = Sums {
            calls: 1,
            tokens: row.tokens,
            fresh: row.tokens.fresh(),
            nanos: row.nanos,
        };
        sums.entry(key(row)).or_default().add(&one);
    }
    sums
}

fn added<'a>(all: impl Iterator<Item = &'a Sums>) -> Sums {
    let mut total = Sums::default();
    for sums in all {
        total.add(sums);
    }
    total
}

#[track_caller]
fn reported(rows: &Value, keys: &[&str]) -> BTreeMap<Vec<String>, Sums> {
    let rows = rows.as_array().expect("a list").iter();
    let keyed = rows.map(|row| {
        let text = |name: &&str| row[name].as_str().expect("a text").to_owned();
        let usage = &row["usage"];
        let count = |name: &str| usage[name].as_u64().expect("a count");
        let nanos = row["cost_nanousd"].as_i64().expect("an integer");
        assert_eq!(row["cost_usd"], decimal(nanos), "{row}");
        assert_eq!(row["attempts"], row["calls"], "{row}");
        assert_eq!(row["completed"], row["calls"], "{row}");
        let tokens = Tokens {
            input: count("input"),
            cache_read: count("cache_read"),
            cache_write_5m: count("cache_write_5m"),
            cache_write_1h: count("cache_write_1h"),
            output: count("output"),
            reasoning: count("reasoning"),
        };
        let sums = Sums {
            calls: row["calls"].as_u64().expect("a count"),
            tokens,
            fresh: row["tokens"].as_i64().expect("an integer"),
            nanos,
        };
        (keys.iter().map(text).collect(), sums)
    });
    keyed.collect()
}

/// Writes nano-dollars as dollars, exactly, with two digits at least.
fn decimal(nanos: i64) -> String {
    let digits = format!("{:09}", nanos % 1_000_000_000);
    let kept = digits.trim_end_matches('0').len().max(2);
    format!("{}.{}", nanos / 1_000_000_000, &digits[..kept])
}

// === impl Tokens ===

impl Tokens {
    /// What counts under `--tokens`: all but what was read from a cache.
    fn fresh(&self) -> i64 {
        let count = self.input + self.cache_write_5m + self.cache_write_1h + self.output;
        i64::try_from(count).expect("few tokens")
    }

    #[track_caller]
    fn of(usage: &Usage) -> Tokens {
        let tokens = Tokens {
            input: usage.get(TokenClass::UncachedInput),
            cache_read: usage.get(TokenClass::CacheRead),
            cache_write_5m: usage.get(TokenClass::CacheWrite5m),
            cache_write_1h: usage.get(TokenClass::CacheWrite1h),
            output: usage.get(TokenClass::Output),
            reasoning: usage.reasoning,
        };
        let all: u64 = TokenClass::ALL.iter().map(|class| usage.get(*class)).sum();
        let known = tokens.input
            + tokens.cache_read
            + tokens.cache_write_5m
            + tokens.cache_write_1h
            + tokens.output;
        assert_eq!(all, known, "classes that no provider here has: {usage:?}");
        tokens
    }
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, other: &Sums) {
        let (into, from) = (&mut self.tokens, &other.tokens);
        into.input += from.input;
        into.cache_read += from.cache_read;
        into.cache_write_5m += from.cache_write_5m;
        into.cache_write_1h += from.cache_write_1h;
        into.output += from.output;
        into.reasoning += from.reasoning;
        self.calls += other.calls;
        self.fresh += other.fresh;
        self.nanos += other.nanos;
    }
}
