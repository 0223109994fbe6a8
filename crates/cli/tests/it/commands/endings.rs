//! What is left of a run whatever its end: reports, history, exit code.

use serde_json::{Value, json};

use super::parsed;
use crate::sdk::World;

fn outcomes(world: &World) -> Vec<Value> {
    let history = std::fs::read_to_string(world.data().join("history.jsonl")).unwrap_or_default();
    let outcomes = history.lines().map(|line| parsed(line)["outcome"].clone());
    outcomes.collect()
}

#[test]
fn what_nobody_reads_ends_it_quietly() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = world.fisc(["price", "show", "gpt-4o"]);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("it starts");
    drop(command);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_program_that_cannot_start_has_its_reports() {
    let world = World::new();
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let args = [
            "run", "--json", "r.json", "--report", "r.txt", "--", program,
        ];
        let ended = world.done(args);
        assert_eq!(ended.code(), code);
        assert!(
            ended.stderr.starts_with("error: cannot run "),
            "{}",
            ended.stderr
        );
        let report = world.json("r.json");
        assert_eq!(
            (&report["outcome"], &report["exit_code"]),
            (&json!("failed"), &json!(code))
        );
        let text = std::fs::read_to_string(world.dir.join("r.txt")).expect("a report");
        let title = format!("── failed, exit {code} ──");
        assert!(
            text.lines().next().expect("a title").ends_with(&title),
            "{text}"
        );
        let again = parsed(&world.done(["report", "--json"]).success().stdout);
        assert_eq!(again, report);
    }
    assert_eq!(outcomes(&world), [] as [Value; 0], "nothing ran");
}

#[test]
fn a_run_that_fisc_cannot_set_up_has_its_report() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = world.done(["run", "--port", &port, "--json", "r.json", "--", "true"]);
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    let report = world.json("r.json");
    assert_eq!(
        (&report["outcome"], &report["exit_code"]),
        (&json!("failed"), &json!(78))
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_program_starts() {
    let world = World::new();
    world.dir.write("kept.json", "as it was");
    std::fs::create_dir(world.dir.join("folder")).expect("a folder");
    for (option, file, why) in [
        (
            "--json",
            "nowhere/r.json",
            "No such file or directory (os error 2)",
        ),
        (
            "--report",
            "nowhere/r.txt",
            "No such file or directory (os error 2)",
        ),
        ("--json", "folder", "is a directory"),
        (
            "--json",
            "kept.json/r.json",
            "Not a directory (os error 20)",
        ),
    ] {
        let refused = world.done(["run", option, file, "--", "touch", "started"]);
        assert_eq!((refused.code(), refused.stdout.as_str()), (78, ""));
        assert_eq!(
            refused.stderr,
            format!(
                "error: {option}: cannot write {file}: {why}\n\nhint: name a file in a directory \
                 that exists and that you can write to\n"
            )
        );
    }
    assert!(
        !world.dir.join("started").exists(),
        "the program was started"
    );
    assert!(!world.data().join("runs").exists(), "a run was left behind");
    // The check itself changes nothing.
    let args = [
        "run",
        "--json",
        "new.json",
        "--report",
        "kept.json",
        "--",
        "sh",
        "-c",
    ];
    let script = "cat kept.json; [ -e new.json ] && echo there; exit 0";
    let ran = world.done([&args[..], &[script]].concat()).success();
    assert_eq!(ran.stdout, "as it was");
}

#[test]
fn a_report_that_fails_at_the_end_costs_neither_history_nor_code() {
    let world = World::new();
    for (code, expected) in [(3, 3), (0, 125)] {
        std::fs::create_dir(world.dir.join("out")).expect("a folder");
        let script = format!("rmdir out; exit {code}");
        let args = [
            "run",
            "--json",
            "out/r.json",
            "--report",
            "r.txt",
            "--",
            "sh",
            "-c",
            &script,
        ];
        let ended = world.done(args);
        assert_eq!(ended.code(), expected, "{}", ended.stderr);
        let said = "error: cannot write out/r.json: No such file or directory (os error 2)\n";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(world.dir.join("r.txt").exists(), "the other report");
        let report = parsed(&world.done(["report", "--json"]).success().stdout);
        assert_eq!(report["exit_code"], code, "the program's own");
    }
    assert_eq!(outcomes(&world), ["failed", "completed"]);
}

#[test]
fn a_run_without_a_metered_call_says_so() {
    let world = World::new();
    let said = "no metered call was seen: the program did not use the gateway's base URL (see \
                docs/guides/run.md)\n";
    let shown = world.done([
        "run",
        "--json",
        "r.json",
        "--",
        "sh",
        "-c",
        "echo out; exit 4",
    ]);
    assert_eq!((shown.code(), shown.stdout.as_str()), (4, "out\n"));
    assert!(
        shown.stderr.contains(&format!("\n {said}")),
        "{}",
        shown.stderr
    );
    assert_eq!(world.json("r.json")["no_metered_call"], true);
    let again = world.done(["report"]).success().stdout;
    assert!(again.contains(&format!("\n {said}")), "{again}");
    // Nobody looks into the file while it is quiet on the terminal.
    let filed = world.done(["run", "--report", "r.txt", "--", "true"]);
    assert_eq!(filed.stderr, format!("fisc ▸ {said}"));
    let text = std::fs::read_to_string(world.dir.join("r.txt")).expect("a report");
    assert!(text.contains(&format!("\n {said}")), "{text}");
}

#[test]
fn fisc_measures_its_own_processor_time() {
    let world = World::new();
    world
        .done(["run", "--json", "r.json", "--", "true"])
        .success();
    let overhead = &world.json("r.json")["overhead"];
    let cpu = overhead["cpu_us"].as_i64().expect("a time");
    assert!((1..60_000_000).contains(&cpu), "{overhead}");
    assert_eq!(overhead["calls_us"], 0);
    // The scripted provider is part of the same process: its time is not Fisc's.
    let args = ["run", "--rehearse", "--json", "r.json", "--", "true"];
    world.done(args).success();
    assert_eq!(world.json("r.json")["overhead"], Value::Null);
}
