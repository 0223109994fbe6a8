//! `fisc budget`, `grant`, `freeze` and `thaw` against a gateway that serves, and what becomes of
//! it all when the gateway starts again.

use std::process::Command;

use fisc_testkit::http::Client;
use fisc_testkit::process::{self, Finished};
use serde_json::Value;

use crate::sdk::{OPENAI_KEY, PATIENCE, Served, World};

const OWNER: &str = "sk-fisc-owner.f8c1d90b5a274e63b1d20e7c94a6538f";
const CALLER: &str = "sk-fisc-caller.0b6e4d72c9f1483a8e5d1a90f27c36b4";
const SECRETS: &[(&str, &str)] = &[
    ("OWNER_SECRET", OWNER),
    ("CALLER_SECRET", CALLER),
    ("PROVIDER_KEY", OPENAI_KEY),
];

fn config(team: &str) -> String {
    format!(
        r#"
            durability = "process"
            [ledger]
            path = "ledger.db"
            [upstream.openai]
            url = "http://127.0.0.1:9/v1"
            key_env = "PROVIDER_KEY"
            [budget.team]
            {team}
            [budget.team.children.a]
            guarantee = {{ cost = "2" }}
            [[key]]
            name = "owner"
            budget = "team"
            secret_env = "OWNER_SECRET"
            owner = true
            [[key]]
            name = "caller"
            budget = "team/a"
            secret_env = "CALLER_SECRET"
        "#
    )
}

/// Runs a command against the gateway with a key in the environment.
fn with(world: &World, gateway: &Served, key: &str, args: &[&str]) -> Finished {
    let mut command: Command = world.fisc(args.iter().copied());
    command.env("FISC_URL", &gateway.url).env("FISC_TOKEN", key);
    process::run(&mut command, PATIENCE)
}

#[track_caller]
fn owner(world: &World, gateway: &Served, args: &[&str]) -> String {
    with(world, gateway, OWNER, args).success().stdout
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn budgets_are_changed_where_they_are_served() {
    let world = World::new();
    let gateway = world.serve(&config("cost = \"10\""), SECRETS);
    let owner = |args: &[&str]| owner(&world, &gateway, args);

    let listed = owner(&["budget", "ls"]);
    assert!(listed.contains("team  $0.00 of $10.00"), "{listed}");
    let allocated = owner(&["budget", "allocate", "team/b=3,static", "--share", "equal"]);
    assert!(allocated.contains("team/b  $0.00 of $3.00"), "{allocated}");
    assert!(allocated.contains("shared: equal"), "{allocated}");
    let token = allocated
        .lines()
        .find_map(|line| line.strip_prefix("FISC_TOKEN="));
    let token = token.expect("a token").to_owned();

    let granted = owner(&["grant", "team/b", "+1usd", "--json"]);
    assert_eq!(json(&granted)["limit"]["cost_nanousd"], 4_000_000_000_i64);
    let set = owner(&["budget", "set", "team/b=2,tokens=5k,weight=4", "--json"]);
    assert_eq!(json(&set)["limit"]["tokens"], 5000);
    assert_eq!(json(&set)["weight"], 4);
    assert!(owner(&["freeze", "team.b"]).contains("frozen"));
    assert!(!owner(&["thaw", "team/b"]).contains("frozen"));

    // A token stands for its own subtree and cannot widen it.
    let own = with(&world, &gateway, &token, &["grant", "b", "1"]);
    assert_eq!(own.code(), 78, "{}", own.stderr);
    let below = with(&world, &gateway, &token, &["budget", "allocate", "b/x=1"]);
    below.success();
    let shown = with(&world, &gateway, &token, &["budget", "ls"])
        .success()
        .stdout;
    assert!(!shown.contains("team"), "{shown}");

    assert!(owner(&["budget", "release", "team/b"]).contains("released"));
    gateway.end();
}

#[test]
fn a_refusal_shows_the_figures() {
    let world = World::new();
    let gateway = world.serve(&config("cost = \"10\""), SECRETS);
    let refused = |key, args: &[&str]| {
        let finished = with(&world, &gateway, key, args);
        (finished.code(), finished.stderr)
    };
    let (code, text) = refused(OWNER, &["budget", "allocate", "team/b=9,static"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("cost of team: limit 10"), "{text}");
    let (code, text) = refused(OWNER, &["budget", "show", "team/nobody"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("team/nobody"), "{text}");
    let (code, text) = refused("sk-fisc-owner.wrong", &["budget", "ls"]);
    assert_eq!(code, 78, "{text}");
    assert!(!text.contains("wrong"), "the credential is told: {text}");
    // The caller's key is no owner's.
    let (code, text) = refused(CALLER, &["freeze", "a"]);
    assert_eq!(code, 78, "{text}");
    let (code, text) = refused(OWNER, &["grant", "team", "+much"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("+1usd"), "{text}");
    gateway.end();
    let alone = world.done(["budget", "ls"]);
    assert_eq!(alone.code(), 78);
    assert!(alone.stderr.contains("FISC_URL"), "{}", alone.stderr);
}

#[test]
fn an_agent_that_nobody_wrote_down_gets_what_newcomers_do() {
    let world = World::new();
    let provider = world.provider("7");
    let team = "cost = \"10\"\nnewcomers = { guarantee = \"auto\", cost = \"4\", weight = 3 }";
    let config = config(team).replace("http://127.0.0.1:9", &provider.url);
    let gateway = world.serve(&config, SECRETS);
    let address = gateway.url.trim_start_matches("http://");
    let client = Client::new(address.parse().expect("an address"));
    let bearer = format!("Bearer {OWNER}");
    let body = serde_json::json!({
        "model": "gpt-4o-mini",
        "max_tokens": 9,
        "messages": [{ "role": "user", "content": "[[rehearsal tokens=9]] go" }],
    });
    let headers = [("authorization", bearer.as_str())];
    let path = "/a/stranger/v1/chat/completions";
    let call = client.post_json(path, &headers, body.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let answer = runtime
        .expect("a runtime")
        .block_on(call)
        .expect("an answer");
    assert_eq!(answer.status, 200);
    let shown = owner(
        &world,
        &gateway,
        &["budget", "show", "team/stranger", "--json"],
    );
    let shown = json(&shown);
    assert_eq!(shown["limit"]["cost_usd"], "4.00");
    assert_eq!(shown["weight"], 3);
    // 5% of 10.
    assert_eq!(shown["guarantee"]["cost_usd"], "0.50");
    gateway.end();
    provider.end();
}

#[test]
fn what_was_decided_while_it_served_holds_over_a_restart() {
    let world = World::new();
    let limit = |gateway: &Served| {
        let shown = owner(&world, gateway, &["budget", "show", "team", "--json"]);
        json(&shown)["limit"]["cost_usd"].clone()
    };
    let gateway = world.serve(&config("cost = \"10\""), SECRETS);
    owner(&world, &gateway, &["grant", "team", "+5usd"]);
    owner(&world, &gateway, &["freeze", "team/a"]);
    gateway.end();

    let gateway = world.serve(&config("cost = \"10\""), SECRETS);
    assert_eq!(limit(&gateway), "15.00");
    let shown = owner(&world, &gateway, &["budget", "show", "team/a"]);
    assert!(shown.contains("frozen"), "{shown}");
    gateway.end();

    let daily = "cost = \"20\"\nwindow = \"daily\"\ntime_zone = \"Europe/Vilnius\"";
    let gateway = world.serve(&config(daily), SECRETS);
    assert_eq!(limit(&gateway), "20.00");
    let shown = owner(&world, &gateway, &["budget", "show", "team", "--json"]);
    assert!(json(&shown)["window"]["start_us"].is_i64(), "{shown}");
    gateway.end();
}
