//! Budgets that are released once nobody uses them.

use std::time::Duration;

use serde_json::json;

use super::{Someone, hold_id, house, nanos};

/// Waits until a budget is released.
pub(super) async fn until_released(someone: &Someone, path: &str) {
    let released = async {
        while someone.stands(path).await["state"] != "released" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let released = tokio::time::timeout(Duration::from_secs(30), released).await;
    released.expect("it is released");
}

#[tokio::test]
async fn a_child_that_falls_silent_is_released() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "6", "share": "static", "keep_alive": "300ms" });
    program.spawn(asked).await;
    let kept = json!({ "path": "run/b", "cost": "1", "share": "static" });
    program.spawn(kept).await;
    until_released(&program, "run/a").await;
    let root = program.stands("run").await;
    assert_eq!(
        nanos(&root, "free"),
        9_000_000_000,
        "what it did not use is back"
    );
    assert_eq!(
        program.stands("run/b").await["state"],
        "open",
        "it has no lease"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_running_call_and_a_childs_child_are_signs_of_life() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let lease = |path: &str| json!({ "path": path, "cost": "1", "keep_alive": "1s" });
    let one = program.spawn(lease("run/one")).await;
    let two = program.spawn(lease("run/two")).await;
    let below = two.spawn(json!({ "path": "two/below" })).await;
    let id = hold_id(1);
    one.post("/one/holds", json!({ "id": id, "cost": "1" }))
        .await;
    for _ in 0..40 {
        below.get("").await.ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for path in ["run/one", "run/two"] {
        assert_eq!(program.stands(path).await["state"], "open", "{path}");
    }
    one.post(&format!("/one/holds/{id}/void"), json!({}))
        .await
        .ok();
    until_released(&program, "run/one").await;
    until_released(&program, "run/two").await;
    house.stop().await;
}
