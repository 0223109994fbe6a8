//! Calls that a crash left unfinished: listed, charged, voided, and in the books either way.
//! One writer at a time.

use std::process::Command;

use fisc_testkit::process::{self, Output, Running};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{SECRETS, Shop, block_on, config, ledger, parsed, send};
use crate::process::eventually;
use crate::sdk::{PATIENCE, World};

/// Kills a gateway with two calls in flight that would never end.
#[track_caller]
fn crashed() -> Shop {
    let shop = Shop::open();
    shop.call(10).ok();
    std::thread::scope(|scope| {
        for cap in [100, 300] {
            let hanging = send(&shop.gateway, "[[rehearsal hang]] go", cap);
            scope.spawn(|| assert!(block_on(hanging).is_err(), "the call ended"));
        }
        eventually("both calls at the provider", || {
            (shop.provider.reached() == 3).then_some(())
        });
        shop.gateway.process.kill();
    });
    shop
}

/// Returns the ids and the rest of the lines of `fisc resolve`.
#[track_caller]
fn listed(world: &World) -> Vec<(String, String)> {
    let said = world
        .done(["resolve", "--db", &ledger(world)])
        .success()
        .stdout;
    let lines = said.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(id, rest)| (id.to_owned(), rest.to_owned()))
        .collect()
}

fn report(world: &World) -> Value {
    parsed(
        &world
            .done(["report", "--json", "--db", &ledger(world)])
            .success()
            .stdout,
    )
}

#[test]
fn what_a_crash_left_is_charged_until_somebody_knows_better() {
    let Shop {
        world, provider, ..
    } = crashed();
    let db = ledger(&world);
    // The next gateway finds them; while it serves it alone may write.
    let gateway = world.serve(&config(&provider), SECRETS);
    let doubtful = listed(&world);
    let [(one, first), (other, second)] = &doubtful[..] else {
        panic!("not two holds: {doubtful:?}");
    };
    let caps = [first, second].map(|rest| rest.split("  ").nth(1).expect("tokens").to_owned());
    assert!(
        caps == ["100", "300"] || caps == ["300", "100"],
        "{doubtful:?}"
    );
    assert!(first.ends_with("  sell gpt-4o-mini"), "{first}");
    let before = report(&world);
    assert_eq!(
        (
            &before["in_doubt"],
            &before["budgets"][0]["tokens"]["spent"]
        ),
        (&json!(2), &json!(410))
    );
    let refused = world.done(["resolve", one, "--void", "--db", &db]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (78, ""));
    let said = format!("error: {db} is in use by process {}", gateway.process.pid());
    assert!(refused.stderr.starts_with(&said), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("one process writes a ledger at a time"),
        "{}",
        refused.stderr
    );
    let started = gateway.end();
    assert_eq!(
        started.stderr.lines().next(),
        Some(format!("fisc ▸ 2 holds in doubt; see: fisc resolve --db {db}").as_str())
    );

    let charged = world
        .done(["resolve", one, "--charge", "0.25", "--db", &db])
        .success();
    let held = first.split("  ").next().expect("a cost");
    assert_eq!(
        charged.stdout,
        format!("hold {one} was charged {held}, now $0.25\n")
    );
    let voided = world
        .done(["resolve", other, "--void", "--db", &db])
        .success();
    let held = second.split("  ").next().expect("a cost");
    assert_eq!(
        voided.stdout,
        format!("hold {other} was charged {held}, now $0.00\n")
    );
    let nothing = world.done(["resolve", "--db", &db]).success();
    assert_eq!(nothing.stdout, "no hold is in doubt\n");
    let again = world.done(["resolve", one, "--void", "--db", &db]);
    let said = format!("error: hold {one} is not in doubt\n\nhint: see: fisc resolve\n");
    assert_eq!((again.code(), again.stderr), (2, said));

    let after = report(&world);
    assert_eq!(after["in_doubt"], 0);
    let root = &after["budgets"][0];
    let completed = &after["agents"][0];
    let spent = |name: &str| root[name]["spent"].as_i64().expect("an integer");
    // The call that was answered took 10 tokens; the charged one keeps the tokens of its hold.
    assert_eq!(
        spent("tokens"),
        10 + caps[0].parse::<i64>().expect("a count")
    );
    let answered = spent("cost") - 250_000_000;
    assert!((6_000..20_000).contains(&answered), "{completed}");
    assert_eq!(
        (
            root["tokens"]["held"].as_i64(),
            root["cost"]["held"].as_i64()
        ),
        (Some(0), Some(0))
    );
    world.done(["verify", &db]).success();
}

#[test]
fn nobody_need_serve_again_to_resolve() {
    let Shop { world, .. } = crashed();
    // Nobody booked them yet: they are held, and in doubt all the same.
    let left = report(&world);
    assert_eq!(left["in_doubt"], 2);
    assert_eq!(left["in_doubt_amount"]["tokens"], 400);
    assert_eq!(left["budgets"][0]["tokens"]["held"], 400);
    let text = world
        .done(["report", "--db", &ledger(&world)])
        .success()
        .stdout;
    let said = "\n 0 calls refused, 0 estimated, 2 in doubt\n in doubt: $";
    assert!(text.contains(said), "{text}");
    assert!(text.contains(", 400 tokens; see: fisc resolve\n"), "{text}");
    assert_eq!(listed(&world).len(), 2);
    let booked = report(&world);
    assert_eq!(booked["in_doubt_amount"], left["in_doubt_amount"]);
    assert_eq!(booked["budgets"][0]["tokens"]["held"], 0);
    world.done(["verify", &ledger(&world)]).success();
}

#[test]
fn a_call_that_runs_is_not_in_doubt() {
    let shop = Shop::open();
    std::thread::scope(|scope| {
        let hanging = send(&shop.gateway, "[[rehearsal hang]] go", 100);
        scope.spawn(|| drop(block_on(hanging)));
        eventually("the call at the provider", || {
            (shop.provider.reached() == 1).then_some(())
        });
        let said = shop.done(&["resolve"]).success().stdout;
        assert_eq!(
            said,
            "no hold is in doubt\n1 hold open, of calls that run\n"
        );
        let report = report(&shop.world);
        assert_eq!(report["budgets"][0]["tokens"]["held"], 100);
        assert_eq!(report["in_doubt"], 0);
        assert_eq!(report["no_metered_call"], false);
        shop.gateway.process.kill();
    });
}

#[test]
fn another_ledger_may_be_served_than_the_configured_one() {
    let world = World::new();
    let provider = world.provider("1");
    let path = world.dir.write("fisc.toml", &config(&provider));
    let mut command = world.fisc(["serve", "--listen", "127.0.0.1:0", "--db", "other.db"]);
    command.arg("--config").arg(path);
    let served = Running::start(command.envs(SECRETS.iter().copied()));
    served.wait_for_line(Output::Stdout, PATIENCE, |line| line.contains("http://"));
    served.signal(Signal::SIGTERM);
    served.wait(PATIENCE).success();
    assert!(!world.dir.join("ledger.db").exists());
    let other = world.dir.join("other.db").display().to_string();
    let report = world.done(["report", "--json", "--db", &other]).success();
    assert_eq!(parsed(&report.stdout)["budgets"][0]["path"], "shop");
}

#[test]
fn a_second_writer_is_refused() {
    let shop = Shop::open();
    let path = shop.world.dir.join("fisc.toml").display().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--config", &path];
    let mut second = shop.world.fisc(args);
    let refused = process::run(second.envs(SECRETS.iter().copied()), PATIENCE);
    assert_eq!((refused.code(), refused.stdout.as_str()), (78, ""));
    let (db, pid) = (shop.ledger(), shop.gateway.process.pid());
    let said = format!("error: {db} is in use by process {pid}");
    assert!(refused.stderr.starts_with(&said), "{}", refused.stderr);
    shop.call(10).ok();
}

#[test]
fn a_run_that_was_killed_has_not_ended_and_can_be_resolved() {
    let world = World::new();
    let provider = world.provider("2");
    let mut command: Command = world.fisc(["run", "--cost", "1"]);
    command.args(provider.as_upstreams()).arg("--");
    let program = "import openai; openai.OpenAI().chat.completions.create(model='gpt-4o-mini', \
                   max_tokens=50, messages=[{'role': 'user', 'content': '[[rehearsal hang]]'}])";
    command
        .arg(fisc_testkit::python::environment())
        .args(["-c", program])
        .env("OPENAI_API_KEY", "any");
    let running = Running::start(&mut command);
    eventually("the call at the provider", || {
        (provider.reached() == 1).then_some(())
    });
    let live = parsed(&world.done(["report", "--json"]).success().stdout);
    assert_eq!(
        (&live["in_doubt"], &live["elapsed_from"]),
        (&json!(0), &json!("clock"))
    );
    let title = world.done(["report"]).success().stdout;
    let title = title.lines().next().expect("a title").to_owned();
    assert!(title.ends_with("── running ──"), "{title}");
    running.kill();
    // The program outlives its supervisor, and is of the same group.
    running.signal_group(Signal::SIGKILL);
    let report = world.done(["report"]).success().stdout;
    assert!(
        report
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("── not ended ──")),
        "{report}"
    );
    let seen = "\n nobody saw the end: time is from the first to the last entry\n";
    assert!(report.contains(seen), "{report}");
    let left = parsed(&world.done(["report", "--json"]).success().stdout);
    assert_eq!(left["outcome"], Value::Null);
    assert_eq!(
        (&left["in_doubt"], &left["elapsed_from"]),
        (&json!(1), &json!("entries"))
    );
    let held = left["in_doubt_amount"]["cost_nanousd"].as_i64();
    assert!(held.is_some_and(|nanos| nanos > 0), "{left}");
    assert_eq!(
        left["in_doubt_amount"]["cost_nanousd"],
        left["budgets"][0]["cost"]["held"]
    );
    let said = world.done(["resolve"]).success().stdout;
    let booked = parsed(&world.done(["report", "--json"]).success().stdout);
    let elapsed = |report: &Value| report["elapsed_ms"].as_i64().expect("a time");
    assert_eq!(
        elapsed(&booked),
        elapsed(&left),
        "a doubt is booked, nothing ran"
    );
    assert!(said.ends_with("  call gpt-4o-mini\n"), "{said}");
    let id = said.split("  ").next().expect("an id");
    world.done(["resolve", id, "--void"]).success();
    let report = parsed(&world.done(["report", "--json"]).success().stdout);
    assert_eq!(report["budgets"][0]["cost"]["spent"], 0);
    world.done(["verify"]).success();
}
