//! Who spent what, and where it leads.

use fisc::Durability;
use serde_json::{Value, json};

use super::{Someone, check_problem, hold_id, house};
use crate::agents::simple;
use crate::harness::{Books, House, Plan};

#[tokio::test]
async fn a_report_tells_what_the_ledger_knows_of_the_subtree() {
    let plan = Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    };
    let house = House::start(plan).await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/team", "cost": "5", "time": "1h" });
    let team = program.spawn(asked).await;
    program
        .spawn(json!({ "path": "run/hidden", "cost": "5" }))
        .await;
    let path = format!("/r/{}/a/writer/draft/v1/chat/completions", team.credential);
    for _ in 0..3 {
        let call = house
            .client
            .post_json(&path, &[], simple("hi", Some(64), false));
        call.await.expect("an answer").ok();
    }
    let early = team.stands("team").await;
    assert_eq!(early["forecast"], Value::Null, "three calls say nothing");
    for (number, budget) in ["team", "hidden"].into_iter().enumerate() {
        let id = hold_id(number as u64);
        let body = json!({ "id": id, "cost": "1", "operation": "search" });
        program.post(&format!("/run/{budget}/holds"), body).await;
        let settle = format!("/run/{budget}/holds/{id}/settle");
        program.post(&settle, json!({ "cost": "0.50" })).await.ok();
    }
    let truth = house.sum(&house.truth().await).cost().nanos();
    let report = team.get("/team/report").await.ok().json();
    let spent = |list: &str, name: &str| {
        let rows = report[list].as_array().expect("a list");
        let row = rows.iter().find(|row| row["name"] == name);
        let row = row.unwrap_or_else(|| panic!("{name} in {}", report[list]));
        (row["calls"].clone(), row["spent"]["cost_nanousd"].clone())
    };
    assert_eq!(spent("agents", "team/writer"), (json!(3), json!(truth)));
    assert_eq!(spent("agents", "team"), (json!(1), json!(500_000_000)));
    assert_eq!(spent("operations", "draft"), (json!(3), json!(truth)));
    assert_eq!(
        spent("operations", "search"),
        (json!(1), json!(500_000_000))
    );
    assert_eq!(spent("models", "gpt-4o-mini-2024-07-18").0, json!(3));
    assert_eq!(report["budgets"].as_array().map(Vec::len), Some(2));
    assert!(!report.to_string().contains("hidden"));
    let forecast = &team.stands("team").await["forecast"];
    assert_eq!(forecast["method"], "fisc");
    let at_horizon = forecast["cost"]["at_horizon"].as_i64().expect("a horizon");
    assert!(at_horizon > truth + 500_000_000, "{forecast}");
    assert!(
        forecast["horizon_ms"]
            .as_i64()
            .is_some_and(|left| left <= 3_600_000)
    );
    check_problem(&team.get("/hidden/report").await, 404, "unknown_budget");
    house.stop().await;
}

#[tokio::test]
async fn without_a_ledger_a_report_tells_how_budgets_stand() {
    let house = house("10").await;
    let program = Someone::program(&house);
    program.spawn(json!({ "path": "run/a" })).await;
    let report = program.get("/run/report").await.ok().json();
    assert_eq!(report["budgets"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&report["agents"], &report["forecast"]),
        (&Value::Null, &Value::Null)
    );
    // A budget may be called so, and is then what is told of.
    program.spawn(json!({ "path": "run/report" })).await;
    assert_eq!(program.stands("run/report").await["path"], "run/report");
    house.stop().await;
}
