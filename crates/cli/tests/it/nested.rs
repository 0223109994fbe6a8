//! A run inside of a run: real programs, one gateway, one ledger, one tree.

use std::process::Command;

use fisc_testkit::process::{self, Finished};
use fisc_testkit::python;
use serde_json::{Value, json};

use crate::sdk::{PATIENCE, World};

/// What both programs know: to call, and to run others as runs inside of theirs.
const PRELUDE: &str = r#"
import json, os, subprocess, sys, urllib.error, urllib.request

def call(base=None):
    prompt = "[[rehearsal tokens=20]] go"
    body = {
        "model": "gpt-4o-mini",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": prompt}],
    }
    url = (base or os.environ["OPENAI_BASE_URL"]) + "/chat/completions"
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

def api(path, method="GET", token=None, **body):
    headers = {"authorization": "Bearer " + (token or os.environ["FISC_TOKEN"])}
    request = urllib.request.Request(os.environ["FISC_URL"] + path, method=method, headers=headers)
    request.data = json.dumps(body).encode() if body else None
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())

def inside(options, program):
    """Runs a Python program as a run inside of this one."""
    command = [os.environ["FISC_BINARY"], "run", *options, "--", sys.executable, "-c"]
    return subprocess.run([*command, os.environ["PRELUDE"] + program]).returncode
"#;

/// A run whose program is `program`, and its report.
struct Outer {
    finished: Finished,
    report: Value,
    world: World,
}

// === impl Outer ===

impl Outer {
    /// Returns a figure of a budget's cost, in nano-dollars.
    #[track_caller]
    fn cost(&self, path: &str, figure: &str) -> i64 {
        let budgets = self.report["budgets"].as_array().expect("budgets");
        let budget = budgets.iter().find(|budget| budget["path"] == path);
        let budget = budget.unwrap_or_else(|| panic!("no {path} in {:#}", self.report));
        let units = budget["cost"][figure].as_i64();
        units.unwrap_or_else(|| panic!("no {figure} in {budget:#}"))
    }

    #[track_caller]
    fn succeeds(self) -> Outer {
        let stderr = &self.finished.stderr;
        assert_eq!(self.finished.code(), 0, "{stderr}");
        self.world.done(["verify"]).success();
        self
    }
}

fn command(world: &World, args: &[&str], program: &str) -> Command {
    let mut command = world.fisc(["run", "--rehearse", "--json", "outer.json"]);
    command
        .args(args)
        .arg("--")
        .arg(python::environment())
        .args(["-c", &format!("{PRELUDE}\n{program}")])
        .env("FISC_BINARY", process::binary("fisc"))
        .env("PRELUDE", PRELUDE);
    command
}

#[track_caller]
fn run(args: &[&str], program: &str) -> Outer {
    let world = World::new();
    let finished = process::run(&mut command(&world, args, program), PATIENCE);
    let report = world.json("outer.json");
    Outer {
        finished,
        report,
        world,
    }
}

#[test]
fn the_inner_limit_binds_and_the_outer_sees_the_spend() {
    let program = r#"
inner = """
statuses = []
# Not on and on: a program that only gets refusals is ended.
while len(statuses) < 40 and statuses[-3:] != [402] * 3:
    statuses.append(call())
assert statuses[0] == 200, statuses
assert statuses[-3:] == [402] * 3, statuses
"""
assert inside(["--cost", "0.0003", "--json", "inner.json"], inner) == 0
assert call() == 200, "the outer run goes on"
"#;
    let outer = run(&["--cost", "1"], program).succeeds();
    let inner = outer.world.json("inner.json");
    let name = inner["budgets"][0]["path"].as_str().expect("a path");
    assert!(name.starts_with("run/python"), "{name}");
    let (spent, limit) = (outer.cost(name, "spent"), outer.cost(name, "limit"));
    assert!(spent > 0 && spent <= limit, "{spent} of {limit}");
    assert_eq!(limit, 300_000);
    assert_eq!(inner["budgets"][0]["cost"]["spent"], spent);
    assert_eq!(inner["budgets"][0]["cost"]["held"], 0);
    assert_ne!(inner["budgets"][0]["cost"]["level"], "green");
    assert_eq!(inner["outcome"], "completed");
    assert_eq!(inner["run"], outer.report["run"]);
    // The tree: the inner run's agent is below it, the outer's own beside it.
    assert_eq!(outer.cost(&format!("{name}/main"), "spent"), spent);
    let own = outer.cost("run/main", "spent");
    assert!(own > 0);
    assert_eq!(outer.cost("run", "spent"), spent + own);
    let runs = std::fs::read_dir(outer.world.data().join("runs")).expect("runs");
    assert_eq!(runs.count(), 1, "the inner run keeps no ledger");
}

#[test]
fn what_the_inner_run_did_not_use_returns() {
    let program = r#"
# All but a little is carved out, twice over, one run after the other.
for _ in range(2):
    assert inside(["--cost", "0.9"], "assert call() == 200") == 0
status, list = api("/v1/budgets")
assert status == 200
below = [b for b in list["budgets"] if b["path"].count("/") == 1 and b["path"] != "run/main"]
states = [(budget["path"], budget["state"]) for budget in below]
assert len(states) == 2 and all(state == "released" for _, state in states), states
root = list["budgets"][0]
free = root["free"]["cost_nanousd"]
spent = root["spent"]["cost_nanousd"]
assert root["limit"]["cost_nanousd"] - spent - free <= 50_000_000, root
"#;
    run(&["--cost", "1"], program).succeeds();
}

#[test]
fn runs_nest_more_than_once_and_stay_in_sight_of_their_own() {
    let program = r#"
inner = '''
deepest = """
status, list = api("/v1/budgets")
paths = [budget["path"] for budget in list["budgets"]]
assert all("run" not in path.split("/") for path in paths), paths
assert api("/v1/budgets/run")[0] == 404
own = paths[0]
assert api("/v1/budgets/" + own, "PATCH", cost="5")[0] == 403, "it widens itself"
assert call() == 200
"""
assert inside(["--cost", "0.1"], deepest) == 0
'''
assert inside(["--cost", "0.2"], inner) == 0
"#;
    let outer = run(&["--cost", "1"], program).succeeds();
    let budgets = outer.report["budgets"].as_array().expect("budgets");
    let depth = |budget: &Value| budget["path"].as_str().map(|path| path.split('/').count());
    assert_eq!(budgets.iter().filter_map(depth).max(), Some(4));
}

#[test]
fn a_run_can_be_below_a_budget_of_the_outer_one() {
    let program = r#"
options = ["--parent", "team/a", "--cost", "0.2", "-b", "helper=0.1,weight=2"]
assert inside([*options, "--json", "inner.json"], "assert call() == 200") == 0
assert json.load(open("inner.json"))["budgets"][0]["level"] == "green", "as it stood at the end"
assert inside(["--parent", "nobody"], "pass") == 2
"#;
    let outer = run(&["--cost", "1", "-b", "team/a=0.5"], program).succeeds();
    assert!(outer.cost("run/team/a", "spent") > 0);
    assert!(outer.finished.stderr.contains("no budget that you see"));
}

#[test]
fn the_inner_program_s_exit_code_and_time_are_its_own() {
    let program = r#"
assert inside([], "sys.exit(7)") == 7
assert inside(["--time", "500ms", "--grace", "100ms"], "import time; time.sleep(60)") == 124
assert inside(["--upstream", "openai=http://127.0.0.1:9"], "pass") == 2
"#;
    let outer = run(&["--cost", "1"], program).succeeds();
    let stderr = &outer.finished.stderr;
    assert!(
        stderr.contains("inside of another, which decides that"),
        "{stderr}"
    );
}

#[test]
fn a_run_shares_as_it_was_told() {
    let program = r#"
status, list = api("/v1/budgets")
budgets = {budget["path"]: budget for budget in list["budgets"]}
assert budgets["run"]["sharing"] == "priority", budgets["run"]
assert budgets["run/lead"]["weight"] == 3
assert budgets["run/lead"]["need"]["cost_nanousd"] == 400_000_000
assert budgets["run/writer"]["guarantee"]["cost_nanousd"] == 200_000_000
assert call() == 200
status, main = api("/v1/budgets/run/main")
assert main["share"]["cost_nanousd"] is not None, main
"#;
    let specs = ["-b", "lead=weight=3,need=0.4", "-b", "writer=0.2,static"];
    let args = [&["--cost", "1", "--share", "priority"][..], &specs[..]].concat();
    run(&args, program).succeeds();
    let world = World::new();
    let args = [
        "run",
        "--rehearse",
        "--cost",
        "1",
        "-b",
        "a=2,static",
        "--",
        "touch",
        "ran",
    ];
    let refused = world.done(args);
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--budget a: "),
        "{}",
        refused.stderr
    );
    assert!(!world.dir.join("ran").exists(), "its program ran");
}

#[test]
fn a_run_inside_of_one_that_is_gone_refuses() {
    let world = World::new();
    let mut command = world.fisc(["run", "--cost", "1", "--", "touch", "ran"]);
    command
        .env("FISC_URL", "http://127.0.0.1:9")
        .env("FISC_TOKEN", "sk-fisc-@0.00");
    let finished = process::run(&mut command, PATIENCE);
    assert_eq!(finished.code(), 78, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("which is gone"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("unset FISC_URL"),
        "{}",
        finished.stderr
    );
    assert!(!world.dir.join("ran").exists(), "its program ran");
    let alone = world.done(["run", "--parent", "x", "--", "true"]);
    assert_eq!(alone.code(), 2, "{}", alone.stderr);
    assert_eq!(json!(alone.stderr.contains("no run around")), true);
}
