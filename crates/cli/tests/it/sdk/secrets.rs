//! Provider keys stay with `fisc`: they are in no environment, file or log of a run.

use std::fs;
use std::path::Path;

use fisc_testkit::{process, python};
use serde_json::Value;

use super::world::{ANTHROPIC_KEY, OPENAI_KEY, PATIENCE, World};

const KEYS: [&str; 2] = [OPENAI_KEY, ANTHROPIC_KEY];

#[track_caller]
fn no_key_in(what: &str, text: &[u8]) {
    for key in KEYS {
        // The end alone would do somebody a service, too.
        let secret = &key.as_bytes()[key.len() - 24..];
        let found = text.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "a key is in {what}");
    }
}

/// Looks into every file under `folder`; returns how many there are.
#[track_caller]
fn no_key_under(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files += no_key_under(&path);
        } else {
            no_key_in(
                &path.display().to_string(),
                &fs::read(&path).expect("a file"),
            );
            files += 1;
        }
    }
    files
}

#[test]
fn the_child_finds_keys_that_are_worthless_elsewhere() {
    let world = World::new();
    let provider = world.provider("5");
    let mut command = world.run_python(&provider, &["--cost", "1"], "environment.py");
    // A copy under another name, and one inside of another value.
    command
        .env("MY_KEY", OPENAI_KEY)
        .env("EXTRA", format!("Authorization: Bearer {ANTHROPIC_KEY}"));
    let finished = process::run(&mut command, PATIENCE).success();
    no_key_in("the child's environment", finished.stdout.as_bytes());
    no_key_in("what fisc says", finished.stderr.as_bytes());
    let found: Value = serde_json::from_str(&finished.stdout).expect("an environment");
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    assert!(text("OPENAI_API_KEY").starts_with("sk-fisc-"), "{found}");
    assert!(text("ANTHROPIC_API_KEY").starts_with("sk-ant-"), "{found}");
    assert_ne!(text("OPENAI_API_KEY"), text("ANTHROPIC_API_KEY"));
    assert_eq!(text("MY_KEY"), text("OPENAI_API_KEY"));
    for (name, end) in [
        ("OPENAI_BASE_URL", "/a/main/v1"),
        ("ANTHROPIC_BASE_URL", "/a/main"),
    ] {
        assert!(text(name).ends_with(end), "{name}={}", text(name));
        assert!(
            text(name).starts_with("http://127.0.0.1:"),
            "{name}={}",
            text(name)
        );
    }
    assert!(text("NO_PROXY").contains("127.0.0.1"), "{found}");
    assert_eq!(text("FISC_AGENT"), "main");
    assert!(
        finished.stderr.contains(&text("FISC_RUN_ID")),
        "the report names the run"
    );
}

#[test]
fn a_key_that_was_not_set_is_never_set() {
    let world = World::new();
    let provider = world.provider("5");
    let mut command = world.run_python(&provider, &["--cost", "1"], "environment.py");
    command
        .env_remove("OPENAI_API_KEY")
        .env_remove("ANTHROPIC_API_KEY");
    let finished = process::run(&mut command, PATIENCE).success();
    let found: Value = serde_json::from_str(&finished.stdout).expect("an environment");
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "CODEX_API_KEY"] {
        assert_eq!(found[name], Value::Null, "{name}");
    }
}

#[test]
fn keys_reach_the_provider_and_nothing_else() {
    let world = World::new();
    let provider = world.provider("5");
    let args = [
        "--cost",
        "1",
        "--json",
        "report.json",
        "--report",
        "report.txt",
    ];
    let mut command = world.run_python(&provider, &args, "mixed_team.py");
    command
        .env("FISC_LOG", "trace")
        .env("NAMING", "headers")
        .env("TEAM_WORKERS", "2");
    let finished = process::run(&mut command, PATIENCE).success();
    assert!(
        finished.stderr.contains("TRACE"),
        "nothing was traced:\n{}",
        finished.stderr
    );
    no_key_in("the log", finished.stderr.as_bytes());
    no_key_in("standard output", finished.stdout.as_bytes());
    no_key_in(
        "report.json",
        &fs::read(world.dir.join("report.json")).expect("a report"),
    );
    no_key_in(
        "report.txt",
        &fs::read(world.dir.join("report.txt")).expect("a report"),
    );
    let files = no_key_under(&world.data());
    assert!(files >= 2, "a ledger and a history, not {files} files");

    let truth = fs::read_to_string(provider.end()).expect("the truth");
    assert!(!truth.is_empty());
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
fn keys_are_in_no_refusal_and_no_error() {
    let world = World::new();
    // Nobody listens there: the message of a failed connection is shown to the program.
    let upstream = format!("openai=http://{}/v1", fisc_testkit::ports::free());
    let mut command = world.fisc(["run", "--cost", "1", "--upstream", &upstream, "--"]);
    command
        .arg(python::environment())
        .arg(python::program("over_budget.py"))
        .env("OPENAI_API_KEY", OPENAI_KEY)
        .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY)
        .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
        .env("FISC_LOG", "trace");
    let finished = process::run(&mut command, PATIENCE);
    let line: Value = serde_json::from_str(finished.stdout.lines().next().expect("a line"))
        .expect("the program prints JSON");
    assert_eq!(line["status"], 502, "{line}");
    no_key_in("the program's errors", finished.stdout.as_bytes());
    no_key_in("the log", finished.stderr.as_bytes());
    no_key_under(&world.data());
}
