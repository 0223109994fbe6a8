//! `fisc serve` for a team: the same programs with keys of the gateway, the same truth.

use fisc_testkit::http::Client;
use fisc_testkit::process::{self, Output};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::sdk::{
    ANTHROPIC_KEY, OPENAI_KEY, PATIENCE, Provider, Served, World, compare, compare_report,
    directly, lines, same_lines,
};

const CI: &str = "sk-fisc-ci.f8c1d90b5a274e63b1d20e7c94a6538f";
const DEV: &str = "sk-fisc-dev.0b6e4d72c9f1483a8e5d1a90f27c36b4";
const SECRETS: &[(&str, &str)] = &[
    ("FISC_CI_SECRET", CI),
    ("FISC_DEV_SECRET", DEV),
    ("TEAM_OPENAI_KEY", OPENAI_KEY),
    ("TEAM_ANTHROPIC_KEY", ANTHROPIC_KEY),
];

/// A team with a budget for each of two callers.
pub(crate) fn config(provider: &Provider) -> String {
    format!(
        r#"
            durability = "process"
            [ledger]
            path = "ledger.db"
            [upstream.openai]
            url = "{url}/v1"
            key_env = "TEAM_OPENAI_KEY"
            [upstream.anthropic]
            url = "{url}"
            key_env = "TEAM_ANTHROPIC_KEY"
            [budget.team]
            cost = "9"
            [budget.team.children.nightly]
            cost = "4"
            [budget.team.children.desk]
            [[key]]
            name = "ci"
            budget = "team/nightly"
            secret_env = "FISC_CI_SECRET"
            [[key]]
            name = "dev"
            budget = "team/desk"
            secret_env = "FISC_DEV_SECRET"
        "#,
        url = provider.url,
    )
}

/// Runs a program against the gateway; returns what it printed, as a set of lines.
#[track_caller]
fn through(
    world: &World,
    gateway: &Served,
    program: &str,
    key: &str,
    prefix: &str,
    variables: &[(&str, &str)],
) -> Vec<String> {
    let mut command = world.python(program);
    command
        .env("OPENAI_BASE_URL", format!("{}{prefix}/v1", gateway.url))
        .env("ANTHROPIC_BASE_URL", format!("{}{prefix}", gateway.url))
        .env("OPENAI_API_KEY", key)
        .env("ANTHROPIC_API_KEY", key)
        .envs(variables.iter().copied());
    lines(&process::run(&mut command, PATIENCE).success().stdout)
}

#[test]
fn a_team_is_charged_the_truth() {
    let world = World::new();
    let [openai, anthropic] = directly(&world, ["openai_program.py", "anthropic_program.py"]);
    let provider = world.provider("7");
    let gateway = world.serve(&config(&provider), SECRETS);

    // Two callers who name their agents in different ways.
    let by_header = [("NAMING", "headers")];
    let seen_openai = through(&world, &gateway, "openai_program.py", CI, "", &by_header);
    let by_path = [("NAMING", "path")];
    let seen_anthropic = through(
        &world,
        &gateway,
        "anthropic_program.py",
        DEV,
        "/a/x",
        &by_path,
    );
    same_lines(&seen_openai, &openai);
    same_lines(&seen_anthropic, &anthropic);

    let ledger = world.dir.join("ledger.db");
    let ledger_text = ledger.display().to_string();
    // Beside its writer, which still serves.
    let report = world
        .done(["report", "--db", &ledger_text, "--json"])
        .success();
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    gateway.end();
    let truth = provider.end();
    assert_eq!(compare(&truth, &ledger, &by_key), 49);
    compare_report(&truth, &report, &by_key);
    assert_eq!(report["outcome"], Value::Null);
    assert_eq!(report["budgets"].as_array().map(Vec::len), Some(27));
    world.done(["verify", &ledger_text]).success();
    let truth = std::fs::read_to_string(truth).expect("the truth");
    for line in truth.lines() {
        let record: Value = serde_json::from_str(line).expect("a record");
        let expected = if record["wire"] == "openai" {
            "oaiK"
        } else {
            "antK"
        };
        assert_eq!(record["key_end"], expected, "another key came: {record}");
    }
}

#[test]
fn a_key_can_name_the_agent_and_its_operation() {
    let world = World::new();
    let provider = world.provider("7");
    let gateway = world.serve(&config(&provider), SECRETS);
    let key = format!("{CI}~planner~draft");
    through(
        &world,
        &gateway,
        "mixed_team.py",
        &key,
        "",
        &[("TEAM_WORKERS", "2")],
    );
    gateway.end();
    let planner = |_: &str, _: &str, _: &str| ("team/nightly/planner".into(), "draft".into());
    assert_eq!(
        compare(&provider.end(), &world.dir.join("ledger.db"), &planner),
        8
    );
}

#[test]
fn a_wrong_key_gets_the_sdks_own_error() {
    let world = World::new();
    let provider = world.provider("7");
    let gateway = world.serve(&config(&provider), SECRETS);
    for key in [
        OPENAI_KEY,
        "sk-fisc-ci.wrong",
        &CI[..CI.len() - 1],
        "sk-fisc-nobody.x",
    ] {
        let mut command = world.python("over_budget.py");
        command
            .env("OPENAI_BASE_URL", format!("{}/v1", gateway.url))
            .env("ANTHROPIC_BASE_URL", &gateway.url)
            .env("OPENAI_API_KEY", key)
            .env("ANTHROPIC_API_KEY", key);
        let finished = process::run(&mut command, PATIENCE);
        let errors = finished.stdout.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("the program prints JSON");
            line["type"].as_str().expect("an error").to_owned()
        });
        let errors: Vec<String> = errors.collect();
        assert_eq!(
            errors,
            ["AuthenticationError", "AuthenticationError"],
            "{key}"
        );
        assert!(!finished.stdout.contains(key), "the key is told");
    }
    gateway.end();
    let truth = std::fs::read_to_string(provider.end()).expect("the truth");
    assert_eq!(truth, "", "a wrong key reached the provider");
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let world = World::new();
    let provider = world.provider("7");
    let gateway = world.serve(&config(&provider), SECRETS);
    let address = gateway.url.trim_start_matches("http://");
    let client = Client::new(address.parse().expect("an address"));
    let long = async {
        let prompt = "[[rehearsal tokens=1000 gap_ms=50]] go";
        let body = json!({
            "model": "gpt-4o-mini",
            "max_tokens": 1000,
            "stream": true,
            "messages": [{ "role": "user", "content": prompt }],
        });
        let bearer = format!("Bearer {CI}");
        let headers = [("authorization", bearer.as_str())];
        let path = "/v1/chat/completions";
        let answer = client.post_streaming(path, &headers, body.to_string());
        let mut answer = answer.await.expect("an answer");
        answer.piece().await.expect("a beginning");
        gateway.process.signal(Signal::SIGTERM);
        gateway
            .process
            .wait_for_line(Output::Stderr, PATIENCE, |line| {
                line.starts_with("fisc ▸ ending: ")
            });
        gateway.process.signal(Signal::SIGTERM);
        gateway.process.wait(PATIENCE).success()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(long);
    let ledger = world.dir.join("ledger.db").display().to_string();
    let report = world.done(["report", "--db", &ledger, "--json"]).success();
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(report["estimated"], 1, "the call was not cut: {report}");
    assert_eq!(report["in_doubt"], 0);
    world.done(["verify", &ledger]).success();
}

/// One caller uses the one SDK, the other the other.
fn by_key(wire: &str, agent: &str, operation: &str) -> (String, String) {
    let caller = if wire == "openai" { "nightly" } else { "desk" };
    (format!("team/{caller}/{agent}"), operation.to_owned())
}
