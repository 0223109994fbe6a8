//! `check`, `report` and `verify`.

use std::collections::BTreeSet;

use fisc_testkit::{process, python};
use serde_json::{Value, json};

use super::{Shop, parsed, without_times};
use crate::process::eventually;
use crate::sdk::{PATIENCE, World};

#[test]
fn check_exits_with_the_level() {
    let shop = Shop::open();
    let check = |code: i32, said: &str| {
        let checked = shop.done(&["check"]);
        // What is foreseen follows.
        let standing = checked.stdout.split_inclusive('\n').next();
        assert_eq!((checked.code(), standing), (code, Some(said)));
    };
    check(0, "● shop green (by shop)\n");
    for (output, code, said) in [
        (499, 0, "● shop green (by shop)\n"),
        (1, 10, "▲ shop yellow (by shop)\n"),
        (250, 11, "≋ shop orange (by shop)\n"),
        (150, 12, "▽ shop red (by shop)\n"),
        (50, 13, "■ shop black (by shop)\n"),
    ] {
        shop.call(output).ok();
        check(code, said);
    }
    let clerk = shop.done(&["check", "shop/clerk"]);
    assert_eq!(clerk.code(), 13);
    let standing = "■ shop/clerk black (by shop)\n";
    assert!(clerk.stdout.starts_with(standing), "{}", clerk.stdout);
    assert_eq!(shop.done(&["check", "shop.clerk"]).code(), 13);
    let nobody = shop.done(&["check", "shop/cleric"]);
    assert_eq!((nobody.code(), nobody.stdout.as_str()), (2, ""));
    assert_eq!(
        nobody.stderr,
        "error: no budget has the path 'shop/cleric'\n\nhint: there are: shop, shop/clerk\n"
    );
    let checked = parsed(&shop.done(&["check", "--json"]).stdout);
    assert_eq!(checked["level"], "black");
    assert_eq!(
        (&checked["budget"], &checked["binding"]),
        (&json!("shop"), &json!("shop"))
    );
    assert_eq!(checked["limit"], json!([1000, 5_000_000_000_i64, null]));
    assert_eq!(checked["spent"][0], 950);
}

#[test]
fn check_counts_time_that_passed_without_a_call() {
    let world = World::new();
    let args = [
        "run", "--time", "300ms", "--grace", "1s", "--", "sleep", "60",
    ];
    assert_eq!(world.done(args).code(), 124);
    let checked = world.done(["check"]);
    assert_eq!(
        (checked.code(), checked.stdout.as_str()),
        (13, "■ run black (by run)\n")
    );
}

#[test]
fn a_served_ledger_is_reported_as_a_whole() {
    let shop = Shop::open();
    for output in [600, 300, 100] {
        shop.call(output).ok();
    }
    assert_eq!(shop.call(100).status, 402);
    let ledger = shop.ledger();
    // A refusal moves nothing; it is written within half a second.
    let figures = eventually("the refusal in the report", || {
        let figures = parsed(&shop.done(&["report", "--json"]).stdout);
        (figures["refused"] == 1).then_some(figures)
    });
    let refused = |list: &str, model: Value| -> i64 {
        let rows = figures[list].as_array().expect("a list");
        let counts = rows.iter().filter(|row| row["model"] == model);
        counts
            .map(|row| row["refused"].as_i64().expect("a count"))
            .sum()
    };
    assert_eq!(refused("hours", Value::Null), 1);
    // Refused calls were of the model that was asked for, the others of the one that answered.
    assert_eq!(refused("models", json!("gpt-4o-mini")), 1);
    assert_eq!(refused("models", json!("gpt-4o-mini-2024-07-18")), 0);
    assert_eq!(figures["no_metered_call"], false);
    let by_agent = shop.done(&["report"]).success().stdout;
    let cost = figures["agents"][0]["cost_nanousd"]
        .as_i64()
        .expect("an integer");
    assert_eq!(
        without_times(&by_agent),
        format!(
            "── fisc report {ledger} ──\n\
             \x20cost         {cost:>9} / $5.00     ░░░░░░░░░░░░░░░░░░░░   0 %\n\
             \x20tokens            1.0k / 1.0k      ████████████████████ 100 %\n\
             \x20active time #\n\
             \x20agent       level         cost  share  calls   tokens  top operation     refused\n\
             \x20shop/clerk  ■ black  {cost:>9}  100 %      3     1.0k  sell                    1\n\
             \x201 call refused, 0 estimated, 0 in doubt\n\
             \x20prices: {prices}   tokens counted: output\n",
            cost = dollars(cost),
            prices = figures["prices"].as_str().expect("a version"),
        )
    );
    let by = |what: &str| {
        let said = shop.done(&["report", "--by", what]).success().stdout;
        let row = said.lines().nth(5).expect("a row").to_owned();
        row.split_whitespace().take(6).collect::<Vec<_>>().join(" ")
    };
    let input = &figures["agents"][0]["usage"]["input"];
    let cost = dollars(cost);
    assert_eq!(
        by("operation"),
        format!("shop/clerk sell {cost} 3 1.0k {input}")
    );
    assert_eq!(
        by("model"),
        format!("gpt-4o-mini-2024-07-18 {cost} 3 1.0k {input} 0")
    );
    assert_eq!(
        by("tag"),
        format!("task=stock-taking {cost} 3 1.0k {input} 0")
    );
    assert!(
        by("hour").ends_with(&format!("Z {cost} 3 1.0k {input} 0")),
        "{}",
        by("hour")
    );
}

/// The most that a report shows of a cost below a cent: three digits.
fn dollars(nanos: i64) -> String {
    fisc_cli::amounts::show_cost(fisc_core::Money::from_nanos(nanos))
}

/// Lists the paths of all members of a value, `[]` for those of a list's elements.
fn members(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                into.insert(path.trim_start_matches('.').to_owned());
                members(value, &path, into);
            }
        }
        Value::Array(list) => {
            for value in list {
                members(value, &format!("{path}[]"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn the_json_report_has_exactly_its_members() {
    let world = World::new();
    let provider = world.provider("7");
    let args = ["--tokens", "20", "--time", "1m", "--json", "report.json"];
    let refused = process::run(
        &mut world.run_python(&provider, &args, "over_budget.py"),
        PATIENCE,
    );
    assert_eq!(refused.code(), 122);
    let mut found = BTreeSet::new();
    members(&world.json("report.json"), "", &mut found);

    let named = |path: &str, names: &str| -> Vec<String> {
        let names = names.split_whitespace();
        names.map(|name| format!("{path}{name}")).collect()
    };
    let mut expected = named(
        "",
        "run outcome exit_code limiting limiting.budget limiting.resource elapsed_ms \
         elapsed_from budgets agents operations models hours no_metered_call refused estimated \
         in_doubt in_doubt_amount forecast overhead counting prices",
    );
    expected.extend(named(
        "in_doubt_amount.",
        "tokens cost_nanousd cost_usd time_us",
    ));
    expected.extend(named("overhead.", "cpu_us calls_us"));
    expected.extend(named(
        "budgets[].",
        "path tokens cost active_time time level",
    ));
    for resource in ["tokens", "cost", "active_time", "time"] {
        let path = format!("budgets[].{resource}.");
        expected.extend(named(&path, "limit spent held level"));
    }
    let uses = "calls attempts completed refused estimated tokens usage cost_nanousd cost_usd \
                time_us";
    for (list, own) in [
        ("agents", "agent"),
        ("operations", "agent operation"),
        ("models", "model"),
        ("hours", "hour"),
    ] {
        expected.extend(named(&format!("{list}[]."), own));
        expected.extend(named(&format!("{list}[]."), uses));
        expected.extend(named(
            &format!("{list}[].usage."),
            "input cache_read cache_write_5m cache_write_1h audio_input image_input output \
             audio_output image_output reasoning searches",
        ));
    }
    assert_eq!(found, expected.into_iter().collect::<BTreeSet<_>>());
    let again = parsed(&world.done(["report", "--json"]).success().stdout);
    assert_eq!(
        again,
        world.json("report.json"),
        "the last run's report says something else"
    );
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_id() {
    let world = World::new();
    let run = |code: &str| world.done(["run", "--json", "r.json", "--", "sh", "-c", code]);
    run("exit 3");
    let first = world.json("r.json")["run"]
        .as_str()
        .expect("an id")
        .to_owned();
    run("exit 4");
    let report = parsed(&world.done(["report", &first, "--json"]).success().stdout);
    assert_eq!(
        (&report["run"], &report["exit_code"]),
        (&json!(first), &json!(3))
    );
    assert_eq!(
        parsed(&world.done(["report", "--json"]).stdout)["exit_code"],
        4
    );
    let both = world.done(["report", "r-"]);
    assert_eq!(both.code(), 2);
    assert_eq!(
        both.stderr,
        "error: 2 runs begin with \"r-\"\n\nhint: write more of the id\n"
    );
    let none = world.done(["report", "x"]);
    assert_eq!(none.code(), 2);
    assert!(
        none.stderr
            .starts_with("error: no run \"x\"\n\nhint: the latest runs are: r-")
    );
    let history = std::fs::read_to_string(world.data().join("history.jsonl")).expect("a history");
    let outcomes = history.lines().map(|line| parsed(line)["outcome"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["failed", "failed"]);
}

#[test]
fn a_run_that_could_not_start_has_ended() {
    let world = World::new();
    let missing = world.done(["run", "--", "no-such-program"]);
    assert_eq!(missing.code(), 127);
    let report = parsed(&world.done(["report", "--json"]).success().stdout);
    assert_eq!(
        (&report["outcome"], &report["exit_code"]),
        (&json!("failed"), &json!(127))
    );
}

#[test]
fn verify_tells_a_sound_ledger_from_a_changed_one() {
    let shop = Shop::open();
    shop.call(10).ok();
    let Shop { world, gateway, .. } = shop;
    gateway.end();
    let ledger = super::ledger(&world);
    // The shop, the clerk, a hold and its settlement.
    let sound = world.done(["verify", &ledger]).success();
    let said = format!("{ledger}: 4 entries, chain and balances agree, 0 holds open\n");
    assert_eq!(sound.stdout, said);
    let change = "import sqlite3, sys\n\
                  c = sqlite3.connect(sys.argv[1])\n\
                  c.execute('DROP TRIGGER IF EXISTS x')\n\
                  for (n,) in c.execute(\"SELECT name FROM sqlite_master WHERE type='trigger'\")\
                  .fetchall(): c.execute(f'DROP TRIGGER \"{n}\"')\n\
                  c.execute(\"UPDATE entries SET cost_nanousd = 1 WHERE kind = 'settle'\")\n\
                  c.commit()";
    let mut python = std::process::Command::new(python::environment());
    process::run(python.args(["-c", change, &ledger]), PATIENCE).success();
    let changed = world.done(["verify", &ledger]);
    assert_eq!((changed.code(), changed.stdout.as_str()), (125, ""));
    assert_eq!(
        changed.stderr,
        format!(
            "error: {ledger}: entry 4 was changed: its hash does not follow from the entry \
             before\n\nhint: do not spend on this ledger; restore it from a backup\n"
        )
    );
}
