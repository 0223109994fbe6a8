//! Calls for which nothing is left wait for a person: the official SDKs wait with them, whole and
//! streamed, and the person decides from another terminal, or at this one.

use std::process::Command;

use fisc::clock::{Clock, SystemClock};
use fisc::{TimeUs, Timestamp};
use fisc_testkit::process::{self, Running};
use fisc_testkit::python;
use serde_json::Value;

use super::books::compare;
use super::world::{PATIENCE, Provider, World};
use crate::process::eventually;
use crate::pty::Session;
use crate::subject::Plan;

/// Starts four agents with nothing to spend; streams are begun after 0.2 s.
fn start(world: &World, provider: &Provider) -> Running {
    let args = ["--tokens", "0", "--on-limit", "ask", "--hold", "200ms"];
    let args: Vec<&str> = args.into_iter().chain(["--json", "report.json"]).collect();
    Running::start(&mut world.run_python(provider, &args, "asks.py"))
}

/// Waits until so many calls wait, and lets the streams of them begin.
fn asked(world: &World, waiting: u64) -> Value {
    let question = eventually("a question", || {
        let listed = process::run(&mut world.fisc(["approve", "--json"]), PATIENCE);
        let listed: Value = serde_json::from_str(&listed.stdout).ok()?;
        let question = listed["questions"].get(0)?.clone();
        (question["waiting"] == waiting).then_some(question)
    });
    let since = question["since_us"].as_i64().map(Timestamp);
    let since = since.expect("a time");
    eventually("streams to begin", || {
        let waited = SystemClock::default().now().since(since);
        (waited > TimeUs(1_000_000)).then_some(())
    });
    question
}

fn lines(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn sdks_wait_until_a_person_approves() {
    let world = World::new();
    let provider = world.provider("7");
    let run = start(&world, &provider);
    let question = asked(&world, 4);
    assert_eq!(question["id"], "q-1");
    let listed = world.done(["approve"]).success().stdout;
    assert!(
        listed.contains("q-1  run  out of tokens: 4 waiting"),
        "{listed}"
    );
    let approved = world
        .done(["approve", "q-1", "--add", "tokens=10k"])
        .success();
    assert_eq!(approved.stdout, "approved: run may spend 10k tokens more\n");
    let finished = run.wait(PATIENCE).success();
    let seen = lines(&finished.stdout);
    assert_eq!(seen.len(), 4, "{}", finished.stdout);
    for line in &seen {
        assert_eq!(line["sent"], 1, "nobody retried: {line}");
        assert!(
            line["text"].as_str().is_some_and(|text| !text.is_empty()),
            "{line}"
        );
    }
    assert!(finished.stderr.contains("paused at"), "{}", finished.stderr);
    let truth = provider.end();
    let report = world.json("report.json");
    let ledger = world.ledger_of(report["run"].as_str().expect("a run"));
    // No agent gets a budget of its own where there is nothing to share.
    let by_run = |_: &str, _: &str, operation: &str| ("run".to_owned(), operation.to_owned());
    compare(&truth, &ledger, &by_run);
    // Nobody is let in any more.
    let late = world.done(["approve"]);
    assert_ne!(late.code(), 0, "{}", late.stdout);
}

#[test]
fn sdks_hear_once_that_a_person_denied() {
    let world = World::new();
    let provider = world.provider("7");
    let run = start(&world, &provider);
    asked(&world, 4);
    let denied = world.done(["deny", "q-1"]).success();
    assert_eq!(denied.stdout, "denied: calls of run are refused\n");
    let finished = run.wait(PATIENCE);
    let seen = lines(&finished.stdout);
    assert_eq!(seen.len(), 4, "{}", finished.stderr);
    for line in &seen {
        assert_eq!(line["sent"], 1, "nobody retried: {line}");
        let message = line["message"].as_str().unwrap_or_default();
        assert!(message.contains("its owner was asked"), "{line}");
        let streamed = line["agent"]
            .as_str()
            .is_some_and(|name| name.ends_with("streamed"));
        assert_eq!(
            line["status"] == 402,
            !streamed,
            "a begun stream has a status: {line}"
        );
    }
    assert_eq!(provider.reached(), 0);
}

#[test]
fn a_program_cannot_approve_of_itself() {
    let world = World::new();
    let fisc = process::binary("fisc");
    // By its own token, and without; as a child, and orphaned in a session of its own.
    let script = format!(
        "{fisc} approve > token 2>&1; echo $? >> token
         unset FISC_URL FISC_TOKEN
         {fisc} approve > bare 2>&1; echo $? >> bare
         setsid sh -c '(sleep 0.2; {fisc} approve > orphan 2>&1; echo $? >> orphan) &'
         sleep 2",
        fisc = fisc.display(),
    );
    let mut command = world.fisc(["run", "--rehearse", "--tokens", "0", "--on-limit", "ask"]);
    process::run(command.args(["--", "sh", "-c", &script]), PATIENCE).success();
    let read = |name: &str| std::fs::read_to_string(world.dir.join(name)).expect("a file");
    assert!(
        read("token").contains("nothing is asked"),
        "it may look: {}",
        read("token")
    );
    for name in ["bare", "orphan"] {
        let said = read(name);
        assert!(
            said.contains("the run's own processes cannot decide"),
            "{name}: {said}"
        );
        assert!(!said.trim_end().ends_with("\n0"), "{name}: {said}");
    }
}

/// Runs a program on a terminal that calls and, beside that, reads the terminal.
fn at_a_terminal(run: &str) -> Session {
    let program = r#"
import json, os, threading, urllib.error, urllib.request
def call():
    body = {"model": "gpt-4o-mini", "max_tokens": 9,
        "messages": [{"role": "user", "content": "[[rehearsal tokens=9]] go"}]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            print("answered", answer.status, flush=True)
    except urllib.error.HTTPError as error:
        print("answered", error.code, flush=True)
thread = threading.Thread(target=call)
thread.start()
if "SILENT" not in os.environ:
    print("got", input(), flush=True)
thread.join()
"#;
    let (fisc, python) = (process::binary("fisc"), python::environment());
    let script = format!(
        "cat > program.py <<'END'\n{program}\nEND\n\
         export XDG_DATA_HOME=$PWD/data\n\
         fisc() {{ '{}' \"$@\"; }}\n\
         set -- run --rehearse --tokens 0 --on-limit ask --report report.txt -- '{}' program.py\n\
         {run}",
        fisc.display(),
        Command::new(python).get_program().to_string_lossy(),
    );
    Session::start("sh", &script, Plan::default())
}

#[test]
fn a_person_decides_at_the_terminal_of_a_program_that_reads_it() {
    let mut session = at_a_terminal("fisc \"$@\"; echo code=$?");
    session.shows("[g]rant");
    session.press("much\n");
    session.shows("\"much\" is no amount");
    session.press("tokens=1k\n");
    session.shows("1.0k tokens more");
    session.shows("answered 200");
    session.press("hello\n");
    session.shows("got hello");
    session.shows("code=0");
    assert!(session.subject.wait().success());
}

#[test]
fn a_person_takes_what_is_offered_at_the_terminal() {
    let mut session = at_a_terminal("fisc \"$@\"; echo code=$?");
    session.shows("[g]rant");
    let screen = session.screen();
    let offer = screen
        .split("[g]rant ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let offer = offer.expect("an offer").to_owned();
    session.press("g\n");
    session.shows(&format!("fisc ▸ {offer} more"));
    session.shows("answered 200");
    session.press("hello\n");
    session.shows("code=0");
    assert!(session.subject.wait().success());
}

#[test]
fn a_run_in_the_background_leaves_the_terminal_alone() {
    // Its program reads nothing; the shell keeps the terminal throughout.
    let mut session = at_a_terminal(
        "export SILENT=1; set -m; fisc \"$@\" & job=$!; sleep 2; fisc approve q-1; \
         read line; echo \"the shell read $line\"; wait $job; echo code=$?",
    );
    session.shows("approved: run may spend");
    session.press("this\n");
    session.shows("the shell read this");
    session.shows("answered 200");
    session.shows("code=0");
    assert!(
        !session.screen().contains("[g]rant"),
        "nobody is asked there"
    );
    assert!(session.subject.wait().success());
}

#[test]
fn a_person_says_no_at_the_terminal() {
    let mut session = at_a_terminal("fisc \"$@\"; echo code=$?");
    session.shows("[g]rant");
    session.press("s\n");
    session.shows("answered 402");
    session.press("hello\n");
    session.shows("got hello");
    session.shows("code=0");
    assert!(session.subject.wait().success());
}
