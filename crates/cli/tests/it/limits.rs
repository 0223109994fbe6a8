//! What a run does when a budget runs out: it ends who only goes on, leaves alone who does not,
//! and says why; and how calls end whose program has ended.

use std::process::Command;

use fisc_testkit::process::{self, Finished, Output, Running};
use fisc_testkit::python;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::sdk::{PATIENCE, World};

/// A client without retries, and without a mind of its own.
const CLIENT: &str = r#"
import json, os, signal, sys, time, urllib.error, urllib.request

def ask(directions, agent="main", path="/chat/completions", **more):
    prompt = f"[[rehearsal {directions}]] go"
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}
    headers = {"content-type": "application/json", "fisc-agent": agent}
    url = os.environ["OPENAI_BASE_URL"] + path
    return urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers))

def call(tokens=5, **more):
    more = {"max_tokens": tokens, **more}
    try:
        with ask(f"tokens={tokens}", **more) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

def begin_long_call():
    """Reads the beginning of a stream that lasts for ten seconds or more."""
    stream = ask("tokens=1000 gap_ms=50", max_tokens=1000, stream=True)
    stream.read(10)
    return stream
"#;

/// How a run ended, and its report.
struct Ended {
    finished: Finished,
    report: Value,
    world: World,
}

// === impl Ended ===

impl Ended {
    #[track_caller]
    fn is(&self, code: i32, outcome: &str, limiting: Option<(&str, &str)>) {
        let Ended {
            finished, report, ..
        } = self;
        let stderr = &finished.stderr;
        assert_eq!(
            (finished.code(), report["outcome"].as_str()),
            (code, Some(outcome)),
            "{stderr}"
        );
        let limiting = limiting.map_or(
            Value::Null,
            |(budget, resource)| json!({ "budget": budget, "resource": resource }),
        );
        assert_eq!(report["limiting"], limiting, "{stderr}");
    }

    /// Checks that the ledger is whole, and that one call was cut: its charge is an estimate.
    #[track_caller]
    fn has_one_call_cut(&self) {
        assert_eq!(self.report["estimated"], 1, "{}", self.report);
        assert_eq!(self.report["in_doubt"], 0);
        self.world.done(["verify"]).success();
    }
}

fn command(world: &World, args: &[&str], program: &str) -> Command {
    let mut command = world.fisc(["run", "--rehearse", "--json", "report.json"]);
    command
        .args(args)
        .arg("--")
        .arg(python::environment())
        .args(["-c", &format!("{CLIENT}\n{program}")]);
    command
}

#[track_caller]
fn run(args: &[&str], program: &str) -> Ended {
    let world = World::new();
    let finished = process::run(&mut command(&world, args, program), PATIENCE);
    ended(world, finished)
}

#[track_caller]
fn ended(world: World, finished: Finished) -> Ended {
    let report = world.json("report.json");
    Ended {
        finished,
        report,
        world,
    }
}

// === who goes on after refusals ===

#[test]
fn a_program_that_only_goes_on_after_refusals_is_ended() {
    let args = ["--tokens", "0", "--max-refusals", "5"];
    let ended = run(&args, "while True: call()");
    ended.is(122, "exhausted", Some(("run", "tokens")));
    let refused = ended.report["refused"].as_u64();
    assert!(refused.is_some_and(|refused| refused >= 5), "{refused:?}");
}

#[test]
fn a_stubborn_agent_does_not_end_the_others() {
    let program = "
assert call(agent='worker') == 200
until, refused = time.monotonic() + 1.5, 0
while refused < 60 or time.monotonic() < until:
    assert call(agent='stubborn') == 402
    refused += 1
    time.sleep(0.005)
assert call(agent='worker') == 200
print(refused)";
    let ended = run(&["--tokens", "1M", "-b", "stubborn=tokens=0"], program);
    ended.is(0, "completed", Some(("run/stubborn", "tokens")));
    let told = ended.finished.stdout.trim().parse().ok();
    assert_eq!(ended.report["refused"].as_u64(), told, "all are counted");
}

#[test]
fn refusals_of_unmetered_paths_end_a_program_too() {
    let args = ["--tokens", "1M", "--max-refusals", "5"];
    let program = "while True: assert call(path='/embeddings') == 404";
    let ended = run(&args, program);
    // No budget ran out.
    ended.is(122, "killed", None);
    let refused = ended.report["refused"].as_u64();
    assert!(refused.is_some_and(|refused| refused >= 5), "{refused:?}");
}

#[test]
fn without_limits_an_unmetered_path_passes() {
    // The scripted provider does not know it either.
    let program = "
try:
    ask('', path='/embeddings')
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)['error']['type'])";
    let ended = run(&["--time", "60s"], program);
    ended.is(0, "completed", None);
    assert!(ended.finished.stdout.starts_with("404 "));
    let (agent, model) = (&ended.report["agents"][0], &ended.report["models"][0]);
    assert_eq!((&agent["calls"], &agent["refused"]), (&json!(1), &json!(0)));
    assert_eq!(model["model"], "unmetered", "{model}");
}

// === why it failed ===

#[test]
fn a_program_that_was_served_again_fails_for_its_own_reason() {
    let program = "
assert call(tokens=100) == 200
# Two answers need more than is left.
assert call(tokens=100, n=2) == 402
assert call(tokens=5) == 200
sys.exit(7)";
    run(&["--tokens", "out:200"], program).is(7, "failed", None);
}

#[test]
fn a_call_larger_than_the_budget_is_not_why_others_fail() {
    let program = "
assert call() == 200
assert call(tokens=100, n=9) == 402
sys.exit(7)";
    run(&["--tokens", "out:200"], program).is(7, "failed", None);
}

#[test]
fn a_program_that_fails_while_its_budget_is_exhausted_fails_for_that() {
    let program = "
assert call(agent='a') == 402
assert call(agent='b') == 200
sys.exit(7)";
    let args = ["--tokens", "1M", "-b", "a=tokens=0"];
    run(&args, program).is(122, "exhausted", Some(("run/a", "tokens")));
}

// === --on-limit ===

#[test]
fn with_on_limit_stop_a_run_ends_when_it_is_exhausted() {
    let program = "
while call(tokens=50) == 200: pass
time.sleep(600)";
    let args = ["--tokens", "out:100", "--on-limit", "stop"];
    let ended = run(&args, program);
    ended.is(122, "exhausted", Some(("run", "tokens")));
    assert_eq!(ended.report["refused"], 1);
    assert_eq!(ended.report["budgets"][0]["tokens"]["spent"], 100);
}

#[test]
fn with_on_limit_stop_a_program_that_ignores_sigterm_is_killed() {
    let program = "
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while call(tokens=50) == 200: pass
time.sleep(600)";
    let args = [
        "--tokens",
        "out:100",
        "--on-limit",
        "stop",
        "--grace",
        "300ms",
    ];
    run(&args, program).is(122, "exhausted", Some(("run", "tokens")));
}

#[test]
fn with_on_limit_stop_active_time_ends_a_run_as_time_does() {
    let program = "
while True:
    try: ask('tokens=5 delay_ms=200', max_tokens=5).read()
    except urllib.error.HTTPError: pass";
    let many = u32::MAX.to_string();
    let args = [
        "--active-time",
        "1s",
        "--on-limit",
        "stop",
        "--max-refusals",
        &many,
    ];
    run(&args, program).is(124, "timed_out", Some(("run", "active_time")));
}

#[test]
fn with_on_limit_stop_an_agent_that_runs_out_ends_nobody_else() {
    let program = "
assert call(agent='a') == 402
time.sleep(1)
assert call(agent='b') == 200";
    let args = ["--tokens", "1M", "-b", "a=tokens=0", "--on-limit", "stop"];
    run(&args, program).is(0, "completed", Some(("run/a", "tokens")));
}

// === the drain ===

#[test]
fn a_signal_ends_the_drain_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let world = World::new();
        let program = "stream = begin_long_call()\nos._exit(0)";
        let running = Running::start(&mut command(&world, &[], program));
        running.wait_for_line(Output::Stderr, PATIENCE, |line| {
            line.ends_with("1 call may finish; ctrl-C cuts what runs")
        });
        running.signal(signal);
        let ended = ended(world, running.wait(PATIENCE));
        ended.is(0, "completed", None);
        ended.has_one_call_cut();
    }
}

#[test]
fn without_a_signal_the_drain_is_waited_for() {
    let program = "stream = ask('tokens=20 gap_ms=10', max_tokens=20, stream=True)\nos._exit(3)";
    let ended = run(&[], program);
    ended.is(3, "failed", None);
    assert_eq!(ended.report["estimated"], 0, "{}", ended.report);
    assert_eq!(ended.report["models"][0]["usage"]["output"], 20);
}

#[test]
fn after_a_second_ctrl_c_nothing_is_waited_for() {
    let world = World::new();
    let program = "
signal.signal(signal.SIGINT, lambda *_: os.write(1, b'heard\\n'))
stream = begin_long_call()
print('ready', flush=True)
while True: time.sleep(1)";
    let running = Running::start(&mut command(&world, &[], program));
    running.wait_for_line(Output::Stdout, PATIENCE, |line| line == "ready");
    running.signal(Signal::SIGINT);
    running.wait_for_line(Output::Stdout, PATIENCE, |line| line == "heard");
    running.signal(Signal::SIGINT);
    let ended = ended(world, running.wait(PATIENCE));
    ended.is(137, "killed", None);
    ended.has_one_call_cut();
    let stderr = &ended.finished.stderr;
    assert!(!stderr.contains("may finish"), "{stderr}");
}

// === what was learned before ===

#[test]
fn a_run_knows_from_the_last_one_what_its_calls_need() {
    let world = World::new();
    // Each answer has 120 tokens; a cap is not asked for.
    let program = "
caps = []
for _ in range(CALLS):
    try:
        with ask('tokens=120') as answer:
            answer.read()
            if answer.headers.get('fisc-level') == 'orange':
                caps.append(answer.headers.get('fisc-changed'))
    except urllib.error.HTTPError:
        break
print('caps', caps[-1] if caps else None)";
    let caps = |limit: &str| {
        let program = format!("CALLS = 60\n{program}");
        let mut command = command(&world, &["--cost", limit], &program);
        process::run(&mut command, PATIENCE).success().stdout
    };
    // Orange comes after some twenty calls: too few to tell by themselves.
    let unknown = caps("0.002");
    assert!(!unknown.contains("cap=120"), "{unknown}");
    let learned = caps("1");
    assert!(
        learned.contains("caps None"),
        "it is never scarce: {learned}"
    );
    let known = caps("0.002");
    assert!(known.contains("cap=120"), "{known}");
}
