//! What the official SDKs make of a refusal: one attempt, the whole message, a program that
//! fails, and a run that says why.

use std::path::Path;

use fisc_testkit::process;
use serde_json::{Value, json};

use super::books::compare;
use super::nobody;
use super::world::{PATIENCE, World};

/// What `over_budget.py` and the run told.
struct Refused {
    openai: Value,
    anthropic: Value,
    code: i32,
    stderr: String,
    report: Value,
    /// How many calls the provider generated something for.
    generated: usize,
    /// How many requests reached the provider, however they were answered.
    reached: usize,
}

/// Lets `over_budget.py` call until it is refused.
#[track_caller]
fn refused(budget: &[&str]) -> Refused {
    let world = World::new();
    let provider = world.provider("3");
    let args = [budget, &["--json", "report.json"]].concat();
    let mut command = world.run_python(&provider, &args, "over_budget.py");
    let finished = process::run(&mut command, PATIENCE);
    let truth = provider.end();
    let reached = generations(&truth).len();
    let report = world.json("report.json");
    let run = report["run"].as_str().expect("a run");
    let generated = compare(&truth, &world.ledger_of(run), &nobody);
    let mut lines = finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("the program prints JSON"));
    Refused {
        openai: lines.next().expect("a line"),
        anthropic: lines.next().expect("a second line"),
        code: finished.code(),
        stderr: finished.stderr,
        report,
        generated,
        reached,
    }
}

/// Returns the provider's last record of each request to generate something, however it was
/// answered; to have tokens counted costs nothing.
#[track_caller]
fn generations(truth: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(truth).expect("the truth");
    let records = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect("a record");
        record
    });
    let ended = records.filter(|record| record["state"] == "ended");
    ended
        .filter(|record| record["path"] != "/v1/messages/count_tokens")
        .collect()
}

#[test]
fn an_exhausted_budget_raises_once_with_the_whole_message() {
    let refused = refused(&["--cost", "0.001"]);
    let Refused {
        openai,
        anthropic,
        report,
        ..
    } = &refused;
    let (first, second) = (&openai["succeeded"], &anthropic["succeeded"]);
    let succeeded = first.as_u64().expect("a count") + second.as_u64().expect("a count");
    assert!(succeeded > 0, "nothing fitted: {openai}");
    assert_eq!(
        refused.reached as u64, succeeded,
        "a refused call reached the provider"
    );
    assert_eq!(refused.generated as u64, succeeded);

    assert_eq!(
        (&openai["type"], &openai["status"]),
        (&json!("APIStatusError"), &json!(402))
    );
    assert_eq!(openai["code"], "budget_exhausted");
    assert_eq!(openai["should_retry"], "false");
    let message = openai["body"]["message"].as_str().expect("a message");
    assert_eq!(openai["message"], format!("Error code: 402 - {message}"));
    assert!(
        message.starts_with("budget 'run' is exhausted: $"),
        "{message}"
    );
    let rest = " of $0.001 used, $0.00005 kept for wrapping up, this call needs up to $";
    assert!(message.contains(rest), "{message}");
    assert!(
        message.ends_with(". Raise its cost limit; a retry cannot succeed"),
        "{message}"
    );

    let kind = (&anthropic["type"], &anthropic["status"]);
    assert_eq!(kind, (&json!("PaymentRequiredError"), &json!(402)));
    let bases = anthropic["bases"].as_array().expect("a list");
    assert!(
        bases.contains(&json!("anthropic.APIStatusError")),
        "{bases:?}"
    );
    let error = &anthropic["body"]["error"];
    assert_eq!(error["type"], "billing_error");
    assert_eq!(error["details"]["error_code"], "budget_exhausted");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(rest), "{message}");
    let shown = anthropic["message"].as_str().expect("a text");
    assert!(
        shown.contains(message),
        "the exception hides the message: {shown}"
    );

    // Two SDKs, one refusal each: neither tried again.
    assert_eq!(report["refused"], 2);
    assert_eq!(report["agents"][0]["refused"], 2);
    assert_eq!((refused.code, &report["exit_code"]), (122, &json!(122)));
    assert_eq!(report["outcome"], "exhausted");
    assert_eq!(
        report["limiting"],
        json!({ "budget": "run", "resource": "cost" })
    );
    assert!(
        refused.stderr.contains(" stopped by: cost of budget run\n"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("exhausted, exit 122"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_call_that_can_never_fit_is_refused_before_anything_is_sent() {
    let refused = refused(&["--tokens", "20"]);
    assert_eq!((refused.reached, refused.generated), (0, 0));
    assert_eq!(refused.openai["code"], "request_exceeds_budget");
    let message = refused.openai["body"]["message"]
        .as_str()
        .expect("a message");
    let expected = "more than budget 'run' has in all (20 tokens, 1 tokens kept for wrapping up). \
                    Send less input or a smaller max_tokens, or raise the limit";
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(refused.report["refused"], 2);
    assert_eq!(refused.code, 122);
    assert_eq!(
        refused.report["limiting"],
        json!({ "budget": "run", "resource": "tokens" })
    );
    assert_eq!(refused.report["budgets"][0]["tokens"]["spent"], 0);
}

#[test]
fn a_model_without_a_price_is_refused_but_exhausts_nothing() {
    let world = World::new();
    let provider = world.provider("3");
    let mut command = world.run_python(
        &provider,
        &["--cost", "1", "--json", "report.json"],
        "unpriced_model.py",
    );
    let finished = process::run(&mut command, PATIENCE);
    let truth = std::fs::read_to_string(provider.end()).expect("the truth");
    assert_eq!(truth, "", "it reached the provider");
    let line: Value = serde_json::from_str(&finished.stdout).expect("a line");
    assert_eq!(
        (&line["status"], &line["code"]),
        (&json!(402), &json!("model_unpriced"))
    );
    let report = world.json("report.json");
    assert_eq!((finished.code(), &report["outcome"]), (3, &json!("failed")));
    assert_eq!(report["limiting"], Value::Null);
    assert_eq!(report["refused"], 1);
    let operation = &report["operations"][0];
    assert_eq!(
        (&operation["agent"], &operation["operation"]),
        (&json!("run/main"), &json!("ask"))
    );
}

/// Runs a call that sets 1,024 tokens aside for thinking; returns its line and what reached the
/// provider.
#[track_caller]
fn thinks_under(cost: &str) -> (Value, Vec<Value>) {
    let world = World::new();
    let provider = world.provider("3");
    let args = ["--cost", cost, "--on-limit", "stop"];
    let mut command = world.run_python(&provider, &args, "thinking_program.py");
    let finished = process::run(&mut command, PATIENCE);
    let records = generations(&provider.end());
    let line = serde_json::from_str(&finished.stdout).expect("a line");
    (line, records)
}

#[test]
fn a_cap_is_never_lowered_into_what_is_set_aside_for_thinking() {
    // 15 dollars per million tokens: room for about 1,300 tokens of output, then for 600.
    let (line, records) = thinks_under("0.02");
    assert_eq!(line["status"], 200, "{line}");
    let cap = records[0]["max_tokens"].as_u64().expect("a cap");
    assert!((1_025..4_000).contains(&cap), "the cap was {cap}");
    let (line, records) = thinks_under("0.01");
    assert_eq!(line["status"], 402, "{line}");
    assert_eq!(records, Vec::<Value>::new());
}
