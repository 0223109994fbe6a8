//! Processes are heard, waited for and ended.

use std::process::Command;
use std::time::Duration;

use fisc_testkit::process::{Exit, Output, Running, is_alive, run};
use nix::sys::signal::Signal;

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn output_and_code_are_collected() {
    let finished = run(&mut shell("echo out; echo err >&2; exit 3"), LONG);
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(finished.code(), 3);
}

#[test]
fn more_output_than_a_pipe_holds_blocks_nobody() {
    let finished = run(&mut shell("head -c 1000000 /dev/zero; echo >&2"), LONG).success();
    assert_eq!(finished.stdout.len(), 1_000_000);
}

#[test]
fn a_line_can_be_waited_for_and_the_process_killed() {
    let running = Running::start(&mut shell("echo first; echo ready 42; sleep 1000"));
    let line = running.wait_for_line(Output::Stdout, LONG, |line| line.starts_with("ready"));
    assert_eq!(line, "ready 42");
    assert_eq!(running.exit(), None);
    assert_eq!(running.kill().exit, Exit::Signal(Signal::SIGKILL));
}

#[test]
#[should_panic(expected = "no such line came")]
fn a_line_that_never_comes_is_a_failure_that_shows_the_output() {
    Running::start(&mut shell("echo other")).wait_for_line(Output::Stdout, LONG, |_| false);
}

#[test]
#[should_panic(expected = "runs after")]
fn a_process_that_does_not_end_is_a_failure() {
    Running::start(&mut shell("sleep 1000")).wait(Duration::from_millis(50));
}

#[test]
fn input_is_written_and_closed() {
    let mut running = Running::start_with_input(&mut shell("read a; echo got $a; cat"));
    running.write("hello\n");
    running.wait_for_line(Output::Stdout, LONG, |line| line == "got hello");
    running.close_input();
    running.wait(LONG).success();
}

#[test]
fn dropping_ends_the_whole_group() {
    let running = Running::start(&mut shell("sleep 1000 & echo $!; wait"));
    let line = running.wait_for_line(Output::Stdout, LONG, |_| true);
    let grandchild: u32 = line.parse().unwrap();
    assert!(is_alive(grandchild));
    drop(running);
    // The grandchild's end is reported to init, which we cannot wait for.
    for _ in 0..1_000 {
        if !is_alive(grandchild) {
            return;
        }
        std::thread::yield_now();
        run(&mut shell("sleep 0.01"), LONG);
    }
    panic!("the grandchild {grandchild} lives");
}
