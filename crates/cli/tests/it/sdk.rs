//! Programs of the official SDKs, unmodified, under `fisc run`: what they see is what they would
//! see without it, and what the ledger and the report say is the provider's truth.

mod books;
mod refused;
mod secrets;
mod world;

use fisc_testkit::process;
use serde_json::Value;

pub(crate) use self::books::{Naming, compare, compare_report};
pub(crate) use self::world::{ANTHROPIC_KEY, OPENAI_KEY, PATIENCE, Provider, Served, World};

const SEED: &str = "7";

/// Says nothing about who calls: all is the run's own agent.
fn nobody(_: &str, _: &str) -> (String, String) {
    ("run/main".to_owned(), "call".to_owned())
}

/// Names every agent and operation.
fn by_name(agent: &str, operation: &str) -> (String, String) {
    (format!("run/{agent}"), operation.to_owned())
}

/// Runs a program directly against the provider; returns what it printed, as a set of lines.
#[track_caller]
pub(crate) fn directly(world: &World, program: &str) -> Vec<String> {
    let provider = world.provider(SEED);
    let mut command = world.python(program);
    command
        .env("OPENAI_BASE_URL", format!("{}/v1", provider.url))
        .env("ANTHROPIC_BASE_URL", &provider.url)
        .env("OPENAI_API_KEY", OPENAI_KEY)
        .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY);
    let finished = process::run(&mut command, PATIENCE).success();
    std::fs::remove_file(provider.end()).expect("the truth of that run");
    lines(&finished.stdout)
}

/// Sorts what a program printed: calls that run at once end in any order.
pub(crate) fn lines(stdout: &str) -> Vec<String> {
    let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs a program under `fisc run` in each way of naming, and compares all books.
#[track_caller]
fn check(program: &str, calls: usize, manners: &[(&[(&str, &str)], Naming<'_>)]) {
    let world = World::new();
    let direct = directly(&world, program);
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
        assert_eq!(
            lines(&finished.stdout),
            direct,
            "the program saw something else"
        );
        let report = world.json("report.json");
        let run = report["run"].as_str().expect("a run");
        let compared = compare(&truth, &world.ledger_of(run), naming);
        assert_eq!(compared.calls, calls);
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
