//! What is typed wrongly: the code, what is wrong, where, and how to mend it.

use crate::sdk::World;

#[track_caller]
fn told(args: &[&str], code: i32, expected: &str) {
    let world = World::new();
    let finished = world.done(args.iter().copied());
    assert_eq!(
        (finished.code(), finished.stdout.as_str()),
        (code, ""),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.stderr, expected);
    assert!(
        !world.data().join("history.jsonl").exists(),
        "it left a run behind"
    );
}

#[test]
fn wrong_amounts_are_told_with_right_ones() {
    let dollars = "hint: write dollars as 2, 2.50 or '$2.50'\n";
    for (amount, expected) in [
        (
            ".50",
            "error: --cost: cost \".50\": an amount of money cannot start with '.' or '00'\n\n\
             hint: write 0.50 for fifty cents; a shell replaces $2 in $2.50 by nothing, so quote \
             it: '$2.50'\n"
                .to_owned(),
        ),
        (
            "1,5",
            format!("error: --cost: cost \"1,5\": not an amount of money\n\n{dollars}"),
        ),
        (
            "two",
            format!("error: --cost: cost \"two\": not an amount of money\n\n{dollars}"),
        ),
    ] {
        told(&["run", "--cost", amount, "--", "true"], 2, &expected);
    }
    told(
        &["run", "--time", "10", "--", "true"],
        2,
        "error: --time: time \"10\": the unit is missing\n\nhint: write time as 90s, 10m, 1h30m, \
         2d or 500ms\n",
    );
    told(
        &["run", "--tokens", "5x", "--", "true"],
        2,
        "error: --tokens: tokens \"5x\": the unit is unknown\n\nhint: write tokens as 500000, 500k \
         or 1.5M\n",
    );
    told(
        &["run", "-b", "researcher", "--", "true"],
        2,
        "error: --budget: budget \"researcher\": there is no '='\n\nhint: write PATH=SPEC, as in \
         team/writer=1.20 or team/writer=cost=1.20,tokens=50k,time=5m,active-time=1m,static\n",
    );
    told(
        &[
            "run",
            "--tokens",
            "in:5k",
            "-b",
            "a=tokens=out:5k",
            "--",
            "true",
        ],
        2,
        "error: tokens are counted in two ways\n\nhint: use the same of fresh:, total:, in: and \
         out: everywhere\n",
    );
}

#[test]
fn wrong_wiring_is_told_with_the_right_one() {
    told(
        &[
            "run",
            "--upstream",
            "openia=http://localhost:1",
            "--",
            "true",
        ],
        2,
        "error: \"openia\" is no provider\n\nhint: write openai or anthropic, as in --upstream \
         openai=https://host/v1\n",
    );
    told(
        &["run", "--unknown-price", "estimate", "--", "true"],
        2,
        "error: --unknown-price estimate needs an estimate\n\nhint: add --estimate 75, the dollars \
         per million tokens\n",
    );
    told(
        &["run", "--agent", "a b", "--", "true"],
        2,
        "error: --agent: path \"a b\": a name holds ' '; use letters, digits and _-~@:+\n\nhint: \
         join names of letters, digits and _-~@:+ by '/', as in team/writer\n",
    );
}

#[test]
fn an_agent_may_be_refused_at_least_once() {
    told(
        &["run", "--max-refusals", "0", "--", "true"],
        2,
        "error: invalid value '0' for '--max-refusals <N>': 0 is not in \
         1..18446744073709551615\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn a_mistyped_option_is_no_program() {
    let finished = World::new().done(["run", "--csot", "2", "--", "true"]);
    assert_eq!(finished.code(), 2);
    let said = "error: unexpected argument '--csot' found\n\n  tip: a similar argument exists: \
                '--cost'\n";
    assert!(finished.stderr.starts_with(said), "{}", finished.stderr);
}

#[test]
fn what_follows_the_program_is_the_programs() {
    let world = World::new();
    let with_dashes = world.done(["run", "--", "echo", "--cost", "2"]).success();
    assert_eq!(with_dashes.stdout, "--cost 2\n");
    let without = world
        .done(["run", "echo", "-n", "--cost", "2", "--"])
        .success();
    assert_eq!(without.stdout, "--cost 2 --");
}

#[test]
fn a_program_that_cannot_start_is_told_from_a_failure() {
    let world = World::new();
    for (program, code, expected) in [
        (
            "no-such-program",
            127,
            "error: cannot run no-such-program: No such file or directory (os error 2)\n\nhint: \
             look for a typing error, or write the program's path\n",
        ),
        (
            "/etc/passwd",
            126,
            "error: cannot run /etc/passwd: Permission denied (os error 13)\n\nhint: name what \
             runs it: fisc run -- python my_agents.py, or chmod +x\n",
        ),
    ] {
        let finished = world.done(["run", "--", program]);
        assert_eq!(
            (finished.code(), finished.stderr.as_str()),
            (code, expected)
        );
    }
}

#[test]
fn a_name_below_another_is_one_agent() {
    let world = World::new();
    let said = world.done([
        "run",
        "--agent",
        "team/lead",
        "--",
        "sh",
        "-c",
        "echo $OPENAI_BASE_URL",
    ]);
    let said = said.success().stdout;
    assert!(said.ends_with("/a/team.lead/v1\n"), "{said}");
}

#[test]
fn what_is_not_there_is_told_by_name() {
    let absent = "leave it out for the last run's, or name the one that fisc serve keeps";
    for (args, code, expected) in [
        (
            vec!["report"],
            2,
            "error: no run yet\n\nhint: start with: fisc demo\n".to_owned(),
        ),
        (
            vec!["verify", "nowhere.db"],
            2,
            format!("error: there is no ledger nowhere.db\n\nhint: {absent}\n"),
        ),
        (
            vec!["check", "--db", "nowhere.db"],
            2,
            format!("error: there is no ledger nowhere.db\n\nhint: {absent}\n"),
        ),
        (
            vec!["report", "--db", "nowhere.db"],
            2,
            format!("error: there is no ledger nowhere.db\n\nhint: {absent}\n"),
        ),
        (
            vec!["serve"],
            78,
            "error: fisc.toml: cannot be read: No such file or directory (os error 2)\n\nhint: \
             name the file with --config or FISC_CONFIG\n"
                .to_owned(),
        ),
    ] {
        told(&args, code, &expected);
    }
}

#[test]
fn a_configuration_is_checked_without_serving() {
    let world = World::new();
    let good = "[upstream.openai]\nurl = \"http://127.0.0.1:9\"\n[budget.team]\ncost = \"1\"\n\
                [[key]]\nname = \"ci\"\nbudget = \"team\"\nsecret_env = \"MINE\"\n";
    let check = |text: &str| {
        let path = world.dir.write("fisc.toml", text);
        let mut command = world.fisc(["serve", "--check-config"]);
        command.env("MINE", "4f0b9c7e2d1a48f6b3e5c8d7a6901234");
        let finished = fisc_testkit::process::run(&mut command, crate::sdk::PATIENCE);
        drop(path);
        finished
    };
    assert_eq!(
        check(good).success().stdout,
        "fisc.toml is fine: 1 budget\n"
    );
    let bad = check(&good.replace("\"1\"", "\".50\""));
    assert_eq!((bad.code(), bad.stdout.as_str()), (78, ""));
    assert!(
        bad.stderr.starts_with("error: fisc.toml:4:8: "),
        "{}",
        bad.stderr
    );
    assert!(!world.dir.join("fisc.db").exists(), "a check made a ledger");
}
