//! Whose the terminal is, under a pseudo-terminal: the child's, and afterwards the shell's.

use std::time::Duration;

use crate::pty::Session;
use crate::subject::Plan;

/// Says after the run who has the terminal: the shell's own group and the foreground one.
const AFTER: &str = "code=$?; cut -d' ' -f5,8 /proc/$$/stat > groups; \
                     echo code=$code; read x; echo \"then $x\"";

#[track_caller]
fn the_shell_has_its_terminal(session: &mut Session) {
    session.press("again\n");
    session.shows("then again");
    let groups = session.subject.file("groups");
    let (own, foreground) = groups.split_once(' ').expect("two groups");
    assert_eq!(own, foreground, "the foreground group is not the shell's");
    assert!(session.subject.wait().success());
}

#[test]
fn a_child_that_reads_the_terminal_does_not_freeze() {
    for _ in 0..5 {
        let mut session = Session::start(
            "sh",
            &format!("$SUBJECT; {AFTER}"),
            Plan {
                script: "read line; echo \"got $line\"; stty -echo; stty echo; exit 4",
                ..Plan::default()
            },
        );
        session.press("hello\n");
        session.shows("got hello");
        session.shows("code=4");
        the_shell_has_its_terminal(&mut session);
    }
}

#[test]
fn the_terminal_comes_back_cooked_after_a_kill() {
    let script = format!("$SUBJECT; echo icanon=$(stty -a | grep -c ' icanon'); {AFTER}");
    let mut session = Session::start(
        "sh",
        &script,
        Plan {
            script: "trap '' TERM; stty raw -echo; while :; do sleep 1; done",
            deadline: Some(Duration::from_millis(500)),
            grace: Some(Duration::from_millis(100)),
            ..Plan::default()
        },
    );
    session.shows("icanon=1");
    the_shell_has_its_terminal(&mut session);
}

#[test]
fn ctrl_c_is_the_childs() {
    // The shell must live on also where the key comes before the terminal is handed over.
    let mut session = Session::start(
        "sh",
        &format!("trap : INT; $SUBJECT; {AFTER}"),
        Plan {
            script: "echo started; while :; do sleep 0.01; done",
            ..Plan::default()
        },
    );
    session.shows("started");
    session.press("\x03");
    session.shows("code=130");
    the_shell_has_its_terminal(&mut session);
}

#[test]
fn a_child_with_piped_input_gets_the_terminal_when_it_asks() {
    let mut session = Session::start(
        "sh",
        &format!("echo piped | $SUBJECT; {AFTER}"),
        Plan {
            script: "read a; read b < /dev/tty; echo \"got $a $b\"",
            ..Plan::default()
        },
    );
    session.press("typed\n");
    session.shows("got piped typed");
    the_shell_has_its_terminal(&mut session);
}

#[test]
fn a_child_that_stops_itself_stops_the_job_and_goes_on_with_it() {
    let script = "set -m; $SUBJECT; echo stopped=$?; fg; echo done=$?";
    let mut session = Session::start(
        "bash",
        script,
        Plan {
            script: "echo one; kill -TSTP $$
                     set -- $(cut -d' ' -f5,8 /proc/$$/stat); [ $1 = $2 ] && echo in front
                     read line; echo \"got $line\"; exit 3",
            ..Plan::default()
        },
    );
    session.shows("stopped=147");
    session.shows("in front");
    session.press("hello\n");
    session.shows("got hello");
    session.shows("done=3");
    assert!(session.subject.wait().success());
}

#[test]
fn ctrl_z_stops_the_job_more_than_once() {
    let script = "set -m; $SUBJECT; echo first=$?; fg; echo second=$?; fg; echo done=$?";
    let mut session = Session::start(
        "bash",
        script,
        Plan {
            script: "echo one; read a; echo \"got $a\"; read b; echo \"got $b\"; exit 3",
            ..Plan::default()
        },
    );
    session.shows("one");
    session.press("\x1a");
    session.shows("first=147");
    session.press("hello\n");
    session.shows("got hello");
    session.press("\x1a");
    session.shows("second=147");
    session.press("world\n");
    session.shows("got world");
    session.shows("done=3");
    assert!(session.subject.wait().success());
}

#[test]
fn ctrl_z_stops_a_child_that_never_asked_for_the_terminal() {
    // The child starts nothing: one that is just starting a process may not stop as a whole.
    let script = "set -m; echo piped | $SUBJECT; echo first=$?; touch go; fg; echo done=$?";
    let mut session = Session::start(
        "bash",
        script,
        Plan {
            script: "read a; echo \"got $a\"; until [ -e go ]; do :; done; exit 3",
            ..Plan::default()
        },
    );
    session.shows("got piped");
    session.press("\x1a");
    // Shells differ in the status of a pipeline of which a part has ended.
    session.shows("first=1");
    session.shows("done=3");
    assert!(session.subject.wait().success());
}

#[test]
fn a_job_in_the_background_waits_for_the_foreground() {
    let script = "set -m; $SUBJECT & \
                  until [ -n \"$(jobs -s)\" ]; do sleep 0.02; done; echo waiting; \
                  fg; echo done=$?";
    let mut session = Session::start(
        "bash",
        script,
        Plan {
            script: "read line; echo \"got $line\"; exit 3",
            ..Plan::default()
        },
    );
    session.shows("waiting");
    session.press("hello\n");
    session.shows("got hello");
    session.shows("done=3");
    assert!(session.subject.wait().success());
}

#[test]
fn a_status_line_never_stops_fisc() {
    let script = format!("stty tostop; $SUBJECT; {AFTER}");
    let mut session = Session::start(
        "sh",
        &script,
        Plan {
            script: "read line; echo > ready; until [ -e status ]; do sleep 0.01; done; exit 4",
            ..Plan::default()
        },
    );
    session.press("hello\n");
    session.shows("code=4");
    the_shell_has_its_terminal(&mut session);
}
