//! Programs of the official SDKs, unmodified, under `fisc run`: what they see is what they would
//! see without it, and what the ledger and the report say is the provider's truth.

mod asks;
mod books;
mod cut;
mod levels;
mod refused;
mod secrets;
mod world;

use fisc_testkit::process;
use serde_json::Value;

pub(crate) use self::books::{Naming, compare, compare_report};
pub(crate) use self::world::{ANTHROPIC_KEY, OPENAI_KEY, PATIENCE, Provider, Served, World};

const SEED: &str = "7";

/// Says nothing about who calls: all is the run's own agent.
fn nobody(_: &str, _: &str, _: &str) -> (String, String) {
    ("run/main".to_owned(), "call".to_owned())
}

/// Names every agent and operation.
fn by_name(_: &str, agent: &str, operation: &str) -> (String, String) {
    (format!("run/{agent}"), operation.to_owned())
}

/// Runs programs directly against a provider, one after another; returns what they printed, as
/// sets of lines.
#[track_caller]
pub(crate) fn directly<const N: usize>(world: &World, programs: [&str; N]) -> [Vec<String>; N] {
    let provider = world.provider(SEED);
    let seen = programs.map(|program| {
        let mut command = world.python(program);
        command
            .env("OPENAI_BASE_URL", format!("{}/v1", provider.url))
            .env("ANTHROPIC_BASE_URL", &provider.url)
            .env("OPENAI_API_KEY", OPENAI_KEY)
            .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY);
        lines(&process::run(&mut command, PATIENCE).success().stdout)
    });
    std::fs::remove_file(provider.end()).expect("the truth of these runs");
    seen
}

/// Sorts what a program printed: calls that run at once end in any order.
pub(crate) fn lines(stdout: &str) -> Vec<String> {
    let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Expects a program to have seen what it sees without `fisc`.
#[track_caller]
pub(crate) fn same_lines(seen: &[String], directly: &[String]) {
    let only = |of: &[String], not: &[String]| -> Vec<String> {
        let lines = of.iter().filter(|line| !not.contains(line));
        lines.cloned().collect()
    };
    assert_eq!(seen.len(), directly.len());
    assert_eq!(
        only(seen, directly),
        only(directly, seen),
        "the program saw something else"
    );
}

/// Runs a program under `fisc run` in each way of naming, and compares all books.
#[track_caller]
fn check(program: &str, calls: usize, manners: &[(&[(&str, &str)], Naming<'_>)]) {
    let world = World::new();
    let [direct] = directly(&world, [program]);
    for (variables, naming) in manners {
        let provider = world.provider(SEED);
        let args = [
            "--cost",
            "5",
            "--json",
            "report.json",
            "--durability",
            "process",
        ];
        let mut command = world.run_python(&provider, &args, program);
        let finished = process::run(command.envs(variables.iter().copied()), PATIENCE).success();
        let truth = provider.end();
        same_lines(&lines(&finished.stdout), &direct);
        let report = world.json("report.json");
        let run = report["run"].as_str().expect("a run");
        assert_eq!(compare(&truth, &world.ledger_of(run), naming), calls);
        compare_report(&truth, &report, naming);
        assert_eq!(report["outcome"], "completed");
        assert_eq!(report["exit_code"], 0);
        assert_eq!(report["limiting"], Value::Null);
        let verified = world.done(["verify", &world.ledger_of(run).to_string_lossy()]);
        verified.success();
        std::fs::remove_file(truth).expect("the truth of this run");
    }
}

const HEADERS: &[(&str, &str)] = &[("NAMING", "headers")];
const PATH: &[(&str, &str)] = &[("NAMING", "path")];
const MARKED_PATH: &[(&str, &str)] = &[("NAMING", "path"), ("NAMING_PATH", "/a/{agent}/o/{op}")];

#[test]
fn the_openai_sdk_is_charged_the_truth() {
    let manners: [(&[_], Naming<'_>); 3] = [(&[], &nobody), (HEADERS, &by_name), (PATH, &by_name)];
    check("openai_program.py", 24, &manners);
}

#[test]
fn the_anthropic_sdk_is_charged_the_truth() {
    let manners: [(&[_], Naming<'_>); 3] =
        [(&[], &nobody), (HEADERS, &by_name), (MARKED_PATH, &by_name)];
    check("anthropic_program.py", 25, &manners);
}

#[test]
fn both_sdks_in_one_process_are_charged_the_truth() {
    let manners: [(&[_], Naming<'_>); 3] = [
        (HEADERS, &by_name),
        (PATH, &by_name),
        (MARKED_PATH, &by_name),
    ];
    check("mixed_team.py", 20, &manners);
}

#[test]
fn a_book_that_differs_by_one_token_or_one_name_is_noticed() {
    let world = World::new();
    let provider = world.provider(SEED);
    let args = ["--cost", "5", "--json", "report.json"];
    let mut command = world.run_python(&provider, &args, "mixed_team.py");
    process::run(
        command.env("NAMING", "headers").env("TEAM_WORKERS", "1"),
        PATIENCE,
    )
    .success();
    let truth = provider.end();
    let report = world.json("report.json");
    let ledger = world.ledger_of(report["run"].as_str().expect("a run"));
    assert_eq!(compare(&truth, &ledger, &by_name), 5);
    compare_report(&truth, &report, &by_name);

    let text = std::fs::read_to_string(&truth).expect("the truth");
    let last = text.lines().last().expect("a record");
    let output: Value = serde_json::from_str(last).expect("JSON");
    let output = output["canonical"]["output"].as_u64().expect("a count");
    let changed = [
        last.replace(
            &format!("\"output\":{output}"),
            &format!("\"output\":{}", output + 1),
        ),
        last.replace("planner|sum-up", "planner|plan"),
        last.replace("claude-sonnet-4-5", "claude-haiku-4-5"),
    ];
    for line in changed {
        assert_ne!(line, last);
        let path = world.dir.write("changed.jsonl", &text.replace(last, &line));
        let books = || compare(&path, &ledger, &by_name);
        assert!(
            std::panic::catch_unwind(books).is_err(),
            "the books agreed with {line}"
        );
        let reports = || compare_report(&path, &report, &by_name);
        assert!(
            std::panic::catch_unwind(reports).is_err(),
            "the report agreed with {line}"
        );
    }
}
