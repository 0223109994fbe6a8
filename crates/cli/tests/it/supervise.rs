//! How children end: by themselves, at the deadline, by order, by signals; and that nothing
//! they started survives them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process::is_alive;
use crate::subject::{Plan, Subject};

const SHORT: Option<Duration> = Some(Duration::from_millis(300));

#[track_caller]
fn ends(plan: Plan, code: i32, told: &[&str]) {
    let mut subject = Subject::start(plan);
    let (found, ending) = subject.finish();
    assert_eq!(found, Some(code), "{ending}");
    for part in told {
        assert!(ending.contains(part), "{part:?} is not in {ending}");
    }
}

#[test]
fn the_childs_own_ending_is_the_exit_code() {
    for (script, code, status) in [
        ("exit 0", 0, "Code(0)"),
        ("exit 7", 7, "Code(7)"),
        ("kill -SEGV $$", 139, "Signal(11)"),
        ("kill -KILL $$", 137, "Signal(9)"),
        // A real-time signal, which has no name.
        ("kill -40 $$", 168, "Signal(40)"),
    ] {
        ends(
            Plan {
                script,
                ..Plan::default()
            },
            code,
            &[status, "Completed", "forced: false", "strays: 0"],
        );
    }
}

#[test]
fn a_command_that_cannot_start_has_its_own_codes() {
    let subject = Subject::new(Plan::default());
    let folder = std::env::temp_dir().join(format!("fisc-supervise-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let (plain, garbage) = (folder.join("plain"), folder.join("garbage"));
    fs::write(&plain, "#!/bin/sh\n").expect("a file");
    fs::write(&garbage, "\u{1}no program").expect("a file");
    fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755)).expect("our file");
    for (program, code) in [
        (plain, 126),
        (folder.clone(), 126),
        (garbage, 126),
        (folder.join("missing"), 127),
        ("no-such-command-anywhere".into(), 127),
    ] {
        ends(
            Plan {
                program: Some(program),
                ..Plan::default()
            },
            code,
            &[],
        );
    }
    drop(subject);
    fs::remove_dir_all(&folder).expect("our folder");
}

#[test]
fn the_environment_is_changed_as_planned() {
    let script = "[ \"$CHANGED\" = 'by the supervision' ] && [ -z \"$FISC_TEST_FOLDER\" ]";
    ends(
        Plan {
            script,
            ..Plan::default()
        },
        0,
        &[],
    );
}

#[test]
fn the_child_is_born_with_no_signal_blocked() {
    // Not `sh`: some unblock everything by themselves.
    let program = Some("bash".into());
    let script = "grep -q '^SigBlk:.0*$' /proc/self/status";
    ends(
        Plan {
            script,
            program,
            ..Plan::default()
        },
        0,
        &[],
    );
}

#[test]
fn a_deadline_ends_a_child_that_ignores_sigterm_and_all_its_kin() {
    let mut subject = Subject::start(Plan {
        script: "
            trap '' TERM
            setsid sleep 1000 & echo $! > session
            setsid sh -c 'trap \"\" TERM; sleep 1000 & echo $! > deep; wait' &
            (sleep 1000 & echo $! > orphan)
            while :; do sleep 1; done",
        deadline: Some(Duration::from_secs(2)),
        grace: SHORT,
        ..Plan::default()
    });
    let kin = ["session", "deep", "orphan"].map(|name| subject.file(name));
    assert!(kin.iter().all(|pid| is_alive(pid)));
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(124), "{ending}");
    assert!(
        ending.contains("status: Signal(9), why: Deadline, forced: true"),
        "{ending}"
    );
    for pid in kin {
        assert!(!is_alive(&pid), "{pid} outlived the run");
    }
}

#[test]
fn a_child_that_heeds_sigterm_is_not_killed() {
    ends(
        Plan {
            script: "trap 'exit 0' TERM; while :; do sleep 0.01; done",
            deadline: SHORT,
            ..Plan::default()
        },
        124,
        &["Code(0)", "Deadline", "forced: false"],
    );
}

#[test]
fn a_stopped_child_meets_its_deadline_too() {
    ends(
        Plan {
            script: "kill -STOP $$",
            deadline: SHORT,
            ..Plan::default()
        },
        124,
        &["Signal(15)", "Deadline", "forced: false"],
    );
}

#[test]
fn what_a_child_leaves_behind_is_ended() {
    let mut subject = Subject::start(Plan {
        script: "
            setsid sleep 1000 & echo $! > session
            (setsid sh -c 'sleep 1000 & echo $! > daemon') &
            sleep 1000 & echo $! > member
            until [ -s session ] && [ -s daemon ] && [ -s member ]; do sleep 0.01; done
            exit 3",
        ..Plan::default()
    });
    let kin = ["session", "daemon", "member"].map(|name| subject.file(name));
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(3), "{ending}");
    assert!(
        ending.contains("Completed, forced: false, strays: 3"),
        "{ending}"
    );
    for pid in kin {
        assert!(!is_alive(&pid), "{pid} outlived the run");
    }
}

#[test]
fn the_grace_is_for_the_whole_group() {
    let mut subject = Subject::start(Plan {
        script: "
            sh -c 'trap \"sleep 0.2; echo yes > cleaned; exit\" TERM
                   echo > ready; while :; do sleep 0.01; done' &
            wait",
        stop: Some("exhausted"),
        ..Plan::default()
    });
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(122), "{ending}");
    assert!(
        ending.contains("Signal(15), why: Stopped(Exhausted(Tokens)), forced: false"),
        "{ending}"
    );
    assert_eq!(subject.file("cleaned"), "yes");
}

#[test]
fn the_gateway_ends_a_stubborn_child() {
    ends(
        Plan {
            script: "trap '' TERM; echo > ready; while :; do sleep 0.01; done",
            stop: Some("refusals"),
            grace: SHORT,
            ..Plan::default()
        },
        122,
        &["Signal(9)", "Stopped(Refusals)", "forced: true"],
    );
}

#[test]
fn signals_reach_the_child() {
    let mut subject = Subject::start(Plan {
        script: "
            for s in INT QUIT WINCH USR1 USR2; do trap \"echo > got-$s\" $s; done
            trap 'exit 5' TERM
            echo > ready; while :; do sleep 0.01; done",
        ..Plan::default()
    });
    subject.file("ready");
    for (signal, file) in [
        (Signal::SIGUSR1, "got-USR1"),
        (Signal::SIGUSR2, "got-USR2"),
        (Signal::SIGWINCH, "got-WINCH"),
        (Signal::SIGINT, "got-INT"),
        (Signal::SIGQUIT, "got-QUIT"),
    ] {
        assert!(!subject.has_file(file));
        subject.signal(signal);
        subject.file(file);
    }
    subject.signal(Signal::SIGTERM);
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(5), "{ending}");
    assert!(
        ending.contains("Interrupted(SIGTERM), forced: false"),
        "{ending}"
    );
}

#[test]
fn the_second_ctrl_c_kills() {
    let mut subject = Subject::start(Plan {
        script: "trap 'echo > got' INT; trap '' TERM
                 echo > ready; while :; do sleep 0.01; done",
        ..Plan::default()
    });
    subject.file("ready");
    subject.signal(Signal::SIGINT);
    subject.file("got");
    subject.signal(Signal::SIGINT);
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(137), "{ending}");
    assert!(
        ending.contains("Interrupted(SIGINT), forced: true"),
        "{ending}"
    );
}

#[test]
fn a_child_that_ignores_a_forwarded_sigterm_has_the_grace() {
    let mut subject = Subject::start(Plan {
        script: "trap '' TERM; echo > ready; while :; do sleep 0.01; done",
        grace: SHORT,
        ..Plan::default()
    });
    subject.file("ready");
    subject.signal(Signal::SIGTERM);
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(137), "{ending}");
    assert!(
        ending.contains("Interrupted(SIGTERM), forced: true"),
        "{ending}"
    );
}

#[test]
fn a_hangup_that_nohup_ignores_stays_ignored() {
    let mut subject = Subject::new(Plan {
        script: "trap 'exit 6' USR1; echo > ready; while :; do sleep 0.01; done",
        ..Plan::default()
    });
    let nohup = format!("trap '' HUP; exec {}", Subject::invocation());
    subject.spawn(
        Command::new("sh")
            .args(["-c", &nohup])
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    subject.file("ready");
    subject.signal(Signal::SIGHUP);
    subject.signal(Signal::SIGUSR1);
    let (code, ending) = subject.finish();
    assert_eq!(code, Some(6), "{ending}");
    assert!(ending.contains("Completed"), "{ending}");
}

#[test]
fn a_dropped_supervision_leaves_nobody_behind() {
    let mut subject = Subject::start(Plan {
        script: "echo $$ > child; setsid sleep 1000 & echo $! > session; echo > ready; wait",
        drop: true,
        ..Plan::default()
    });
    let kin = ["child", "session"].map(|name| subject.file(name));
    assert_eq!(subject.finish().0, Some(0));
    for pid in kin {
        assert!(!is_alive(&pid), "{pid} outlived the supervision");
    }
}

#[test]
fn others_of_the_same_user_cannot_read_this_process() {
    ends(
        Plan {
            script: "exit 0",
            ..Plan::default()
        },
        0,
        &["dumpable=false"],
    );
}
