//! Where spending leads, over HTTP and in the headers of calls, without a ledger.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Someone, check_problem, house};
use crate::agents::simple;
use crate::harness::House;
use fisc_testkit::http::Answer;

/// How often, and how many times at most, something that the clock brings is looked for.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 200;

/// A team with a limit, below a root with a deadline that the team is not told of.
#[expect(
    clippy::struct_field_names,
    reason = "who stands for the team is called so"
)]
struct Team {
    house: House,
    owner: Someone,
    team: Someone,
}

impl Team {
    async fn new() -> Team {
        let house = house("10").await;
        let owner = Someone::program(&house);
        let timed = json!({ "time": "1h" });
        Someone::owner(&house).patch("/run", timed).await.ok();
        let team = owner
            .spawn(json!({ "path": "run/team", "cost": "5", "tokens": "100k" }))
            .await;
        Team { house, owner, team }
    }

    async fn call(&self) -> Answer {
        let path = format!("/r/{}/v1/chat/completions", self.team.credential);
        let body = simple("hi", Some(64), false);
        let answer = self.house.client.post_json(&path, &[], body).await;
        answer.expect("an answer").ok()
    }

    async fn calls(&self, count: usize) {
        for _ in 0..count {
            self.call().await;
        }
    }
}

#[tokio::test]
async fn a_forecast_is_told_by_any_method_after_four_calls() {
    let play = Team::new().await;
    play.calls(3).await;
    let early = play.team.get("/team/forecast").await.ok().json();
    assert_eq!(early, json!({ "path": "team", "forecast": null }));
    play.calls(5).await;
    for method in ["fisc", "linear", "predict_linear", "ewma", "exponential"] {
        let path = format!("/team/forecast?method={method}");
        let told = play.team.get(&path).await.ok().json();
        let forecast = &told["forecast"];
        assert_eq!(forecast["method"], method);
        let tokens = &forecast["tokens"];
        assert_eq!(tokens["limit"], 100_000);
        assert_eq!(
            (&tokens["calls"], &tokens["earlier_runs"]),
            (&json!(8), &json!(0))
        );
        assert!(tokens["limit_in_ms"].as_i64() > Some(0), "{told}");
        assert!(tokens["profile"]["name"].is_string(), "{told}");
        assert_eq!(
            tokens["limit_in_interval_ms"],
            Value::Null,
            "no earlier runs"
        );
        // The deadline is the owner's, and is not told of.
        assert_eq!(forecast["horizon_ms"], Value::Null);
        assert_eq!(tokens["at_horizon"], Value::Null);
    }
    let checked = &play.team.stands("team").await["forecast"];
    assert_eq!(checked["method"], "fisc");
    let owners = play.owner.get("/run/team/forecast").await.ok().json();
    let spent = owners["forecast"]["cost"]["spent"].as_i64();
    assert!(
        owners["forecast"]["cost"]["at_horizon"].as_i64() > spent,
        "{owners}"
    );
    assert!(owners["forecast"]["horizon_ms"].as_i64() <= Some(3_600_000));
    let bad = play.team.get("/team/forecast?method=guess").await;
    check_problem(&bad, 400, "bad_request");
    let hidden = play.team.get("/run/forecast").await;
    check_problem(&hidden, 404, "unknown_budget");
    play.house.stop().await;
}

#[tokio::test]
async fn calls_are_told_when_the_limit_is_near_and_nothing_from_out_of_sight() {
    let play = Team::new().await;
    assert_eq!(play.call().await.header("fisc-limit-in-ms"), None);
    play.calls(4).await;
    let mut told = None;
    for _ in 0..LOOKS_MAX {
        let answer = play.call().await;
        assert_eq!(
            answer.header("fisc-forecast-usd"),
            None,
            "it rests on a deadline above"
        );
        told = answer.header("fisc-limit-in-ms").map(str::to_owned);
        if told.is_some() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let told: i64 = told.expect("it is told").parse().expect("a number");
    assert!(told > 0);
    // The owner sees the deadline, and what will be spent until then.
    let path = "/a/other/v1/chat/completions";
    let path = format!("/r/{}{path}", play.owner.credential);
    let body = simple("hi", Some(64), false);
    for _ in 0..LOOKS_MAX {
        let answer = play.house.client.post_json(&path, &[], body.clone()).await;
        let answer = answer.expect("an answer").ok();
        if let Some(total) = answer.header("fisc-forecast-usd") {
            assert!(total.parse::<f64>().expect("a number") > 0.0);
            play.house.stop().await;
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("the owner is told of no total");
}
