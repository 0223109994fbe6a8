//! `fisc forecast`, and what runs teach the next ones of the same command.

use serde_json::Value;

use super::{Shop, parsed};
use crate::sdk::World;

/// A program of some calls, alike in every run.
const PROGRAM: &str = r#"
import json, os, urllib.request

for _ in range(6):
    prompt = "[[rehearsal tokens=20]] go"
    body = {
        "model": "gpt-4o-mini",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": prompt}],
    }
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    urllib.request.urlopen(request).read()
"#;

#[test]
fn a_forecast_is_made_by_any_method_while_something_goes_on() {
    let shop = Shop::open();
    for _ in 0..3 {
        shop.call(10).ok();
    }
    let early = shop.done(&["forecast"]).success().stdout;
    assert!(early.contains("nothing can be said yet"), "{early}");
    for _ in 0..5 {
        shop.call(10).ok();
    }
    for method in ["fisc", "linear", "predict_linear", "ewma", "exponential"] {
        let told = shop.done(&["forecast", "--method", method, "--json"]);
        let told = parsed(&told.success().stdout);
        assert_eq!(told["method"], method);
        assert_eq!(told["estimated"], true);
        let paths: Vec<&Value> = (told["budgets"].as_array().expect("budgets").iter())
            .map(|budget| &budget["path"])
            .collect();
        assert_eq!(paths, ["shop", "shop/clerk"]);
        let tokens = &told["budgets"][0]["tokens"];
        assert_eq!(
            (&tokens["spent"], &tokens["limit"]),
            (&80.into(), &1_000.into())
        );
        assert_eq!(
            (&tokens["calls"], &tokens["earlier_runs"]),
            (&8.into(), &0.into())
        );
        assert!(tokens["limit_in_ms"].as_i64() > Some(0), "{told}");
        assert_eq!(tokens["profile"]["name"], "linear", "{told}");
    }
    let clerk = shop.done(&["forecast", "shop.clerk", "--json"]).success();
    let clerk = parsed(&clerk.stdout);
    assert_eq!(clerk["budgets"].as_array().map(Vec::len), Some(1));
    let text = shop.done(&["forecast"]).success().stdout;
    assert!(text.contains("── fisc, estimated\n shop\n   "), "{text}");
    assert!(text.contains("   tokens: limit in "), "{text}");
    assert!(text.contains("\n     from 8 calls, linear\n"), "{text}");
    let checked = parsed(&shop.done(&["check", "--json"]).stdout);
    assert!(checked["forecast"]["tokens"]["limit_in_ms"].as_i64() > Some(0));
    let checked = shop.done(&["check"]).stdout;
    assert!(
        checked.contains("\n  forecast of tokens (estimated): limit in "),
        "{checked}"
    );
    let nobody = shop.done(&["forecast", "shop/cleric"]);
    assert!(
        nobody.stderr.contains("no budget has the path"),
        "{}",
        nobody.stderr
    );
    assert_eq!(shop.done(&["forecast", "--method", "guess"]).code(), 2);
}

#[test]
fn earlier_runs_of_a_command_say_what_the_next_one_will_spend() {
    let world = World::new();
    let script = world.dir.join("job.py");
    std::fs::write(&script, PROGRAM).expect("it can be written");
    let script = script.display().to_string();
    let run = |program: &str| {
        let python = fisc_testkit::python::environment();
        let python = python.display().to_string();
        let args = ["run", "--rehearse", "--cost", "1", "--", &python, program];
        world.done(args).success().stderr
    };
    for _ in 0..5 {
        let told = run(&script);
        assert!(!told.contains("expected from"), "{told}");
    }
    let told = run(&script);
    let line = told.lines().find(|line| line.contains("expected from"));
    let line = line.unwrap_or_else(|| panic!("no expectation: {told}"));
    assert!(
        line.starts_with("fisc ▸ expected from 5 earlier runs of "),
        "{line}"
    );
    assert!(line.contains(" job.py (rehearsed): $"), "{line}");
    assert!(line.ends_with(" tokens (estimated)"), "{line}");
    let over = world.done(["forecast"]).success().stdout;
    assert!(over.contains("nothing goes on"), "{over}");
    let other = world.dir.join("other.py");
    std::fs::write(&other, PROGRAM).expect("it can be written");
    let told = run(&other.display().to_string());
    assert!(!told.contains("expected from"), "another program: {told}");
}
