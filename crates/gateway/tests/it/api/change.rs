//! Changing, freezing, topping up, lending and releasing.

use serde_json::json;

use super::{Someone, check_problem, hold_id, house, nanos};
use crate::agents::simple;

#[tokio::test]
async fn limits_rise_and_fall_below_what_is_spent_too() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "cost": "2" })).await;
    let id = hold_id(1);
    child
        .post("/a/holds", json!({ "id": id, "cost": "1.50" }))
        .await;
    child
        .post(&format!("/a/holds/{id}/settle"), json!({ "cost": "1.50" }))
        .await
        .ok();
    let lowered = program
        .patch("/run/a", json!({ "cost": "1" }))
        .await
        .ok()
        .json();
    assert_eq!(
        (nanos(&lowered, "limit"), nanos(&lowered, "free")),
        (1_000_000_000, 0)
    );
    let more = json!({ "id": hold_id(2), "cost": "0.01" });
    let problem = check_problem(&child.post("/a/holds", more).await, 402, "budget_exhausted");
    assert_eq!(problem["budget"], "a");
    assert_eq!(
        (&problem["spent"], &problem["limit"]),
        (&json!("1.50"), &json!("1.00"))
    );
    let raised = program
        .patch("/run/a", json!({ "cost": "3", "tokens": "5k" }))
        .await
        .ok()
        .json();
    assert_eq!(nanos(&raised, "free"), 1_500_000_000);
    assert_eq!(raised["limit"]["tokens"], 5000);
    let unlimited = program
        .patch("/run/a", json!({ "tokens": null }))
        .await
        .ok()
        .json();
    assert_eq!(unlimited["limit"]["tokens"], json!(null));
    assert_eq!(nanos(&unlimited, "limit"), 3_000_000_000);
    check_problem(&program.patch("/run/a", json!({})).await, 422, "bad_terms");
    let unknown = program.patch("/run/a", json!({ "limit": "5" })).await;
    check_problem(&unknown, 400, "bad_request");
    house.stop().await;
}

#[tokio::test]
async fn a_frozen_budget_admits_nothing_until_it_is_thawed() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "cost": "2" })).await;
    let frozen = program
        .patch("/run/a", json!({ "state": "frozen" }))
        .await
        .ok()
        .json();
    assert_eq!(frozen["state"], "frozen");
    let hold = json!({ "id": hold_id(1), "cost": "1" });
    check_problem(
        &child.post("/a/holds", hold.clone()).await,
        409,
        "budget_frozen",
    );
    program
        .patch("/run/a", json!({ "state": "open" }))
        .await
        .ok();
    assert_eq!(child.post("/a/holds", hold).await.status, 201);
    let bad = program
        .patch("/run/a", json!({ "state": "released" }))
        .await;
    check_problem(&bad, 400, "bad_request");
    house.stop().await;
}

#[tokio::test]
async fn only_who_stands_as_high_thaws() {
    let house = house("10").await;
    let (owner, program) = (Someone::owner(&house), Someone::program(&house));
    let child = program.spawn(json!({ "path": "run/a" })).await;
    child.spawn(json!({ "path": "a/x" })).await;
    let (frozen, open) = (json!({ "state": "frozen" }), json!({ "state": "open" }));
    let stands = async || program.stands("run/a/x").await["state"].clone();
    // Each freezes what the next one, who stands below, does not thaw.
    owner.patch("/run/a/x", frozen.clone()).await.ok();
    for (someone, path) in [(&program, "/run/a/x"), (&child, "/a/x")] {
        // Freezing it again makes it nobody else's.
        someone.patch(path, frozen.clone()).await.ok();
        let both = json!({ "state": "open", "cost": "5" });
        for thawed in [&open, &both] {
            let refused = someone.patch(path, thawed.clone()).await;
            check_problem(&refused, 403, "frozen_above");
        }
    }
    assert_eq!(stands().await, "frozen");
    let limits = house.status("run/a/x").terms.limits;
    assert!(limits.is_none(), "nothing of it was changed");
    owner.patch("/run/a/x", open.clone()).await.ok();
    program.patch("/run/a/x", frozen.clone()).await.ok();
    let refused = child.patch("/a/x", open.clone()).await;
    check_problem(&refused, 403, "frozen_above");
    program.patch("/run/a/x", open.clone()).await.ok();
    // Who stands above thaws what was frozen below, and takes it over.
    child.patch("/a/x", frozen.clone()).await.ok();
    program.patch("/run/a/x", frozen).await.ok();
    let refused = child.patch("/a/x", open.clone()).await;
    check_problem(&refused, 403, "frozen_above");
    owner.patch("/run/a/x", open).await.ok();
    assert_eq!(stands().await, "open");
    house.stop().await;
}

#[tokio::test]
async fn a_topup_is_carried_out_once() {
    let house = house("10").await;
    let program = Someone::program(&house);
    program.spawn(json!({ "path": "run/a", "cost": "2" })).await;
    for _ in 0..3 {
        let grant = json!({ "cost": "0.50" });
        let raised = program
            .post_once("g1", "/run/a/topup", grant)
            .await
            .ok()
            .json();
        assert_eq!(nanos(&raised, "limit"), 2_500_000_000);
    }
    let other = program
        .post_once("g1", "/run/a/topup", json!({ "cost": "5" }))
        .await;
    check_problem(&other, 409, "id_reused");
    let unlimited = program.post("/run/a/topup", json!({ "tokens": 5 })).await;
    check_problem(&unlimited, 422, "bad_terms");
    check_problem(
        &program.post("/run/a/topup", json!({})).await,
        400,
        "bad_request",
    );
    house.stop().await;
}

#[tokio::test]
async fn a_loan_moves_limits_and_is_repaid_by_a_topup() {
    let house = house("10").await;
    let program = Someone::program(&house);
    for (path, lendable) in [("run/a", "100%"), ("run/b", "0")] {
        program
            .spawn(json!({ "path": path, "cost": "2", "lendable": lendable }))
            .await;
    }
    let asked = json!({ "borrower": "run/b", "cost": "0.50" });
    let lent = program
        .post_once("l", "/run/a/loans", asked.clone())
        .await
        .ok()
        .json();
    assert_eq!(lent["lent"]["cost_usd"], "0.50");
    assert_eq!(
        program
            .post_once("l", "/run/a/loans", asked)
            .await
            .ok()
            .json(),
        lent
    );
    let lender = program.stands("run/a").await;
    assert_eq!(
        (nanos(&lender, "loaned"), nanos(&lender, "free")),
        (-500_000_000, 1_500_000_000)
    );
    assert_eq!(lender["loans"][0]["borrower"], "run/b");
    let back = json!({ "borrower": "run/a", "cost": "0.10" });
    check_problem(
        &program.post("/run/b/loans", back).await,
        409,
        "loan_impossible",
    );
    let borrower = program
        .post("/run/b/topup", json!({ "cost": "0.75" }))
        .await
        .ok()
        .json();
    assert_eq!(
        (nanos(&borrower, "loaned"), &borrower["loans"]),
        (0, &json!([]))
    );
    let alone = json!({ "borrower": "run/a", "cost": "0.10" });
    check_problem(
        &program.post("/run/a/loans", alone).await,
        409,
        "loan_impossible",
    );
    house.stop().await;
}

#[tokio::test]
async fn a_released_budget_returns_what_is_unused_and_ends() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "6", "share": "static" });
    let child = program.spawn(asked).await;
    assert_eq!(nanos(&program.stands("run").await, "free"), 4_000_000_000);
    let id = hold_id(1);
    child
        .post("/a/holds", json!({ "id": id, "cost": "2" }))
        .await;
    let running = program.post("/run/a/release", json!({})).await;
    assert_eq!(check_problem(&running, 409, "calls_running")["running"], 1);
    child
        .post(&format!("/a/holds/{id}/settle"), json!({ "cost": "1" }))
        .await
        .ok();
    for _ in 0..2 {
        let released = program.post("/run/a/release", json!({})).await.ok().json();
        assert_eq!(
            (&released["state"], nanos(&released, "spent")),
            (&json!("released"), 1_000_000_000)
        );
    }
    assert_eq!(nanos(&program.stands("run").await, "free"), 9_000_000_000);
    for (path, body) in [
        ("/run/a/topup", json!({ "cost": "1" })),
        ("", json!({ "path": "run/a/b" })),
        ("/run/a/holds", json!({ "id": hold_id(2), "cost": "0" })),
    ] {
        check_problem(&program.post(path, body).await, 409, "budget_released");
    }
    check_problem(
        &program.patch("/run/a", json!({ "cost": "9" })).await,
        409,
        "budget_released",
    );
    // Calls with its token hear the same, each SDK takes it as final.
    let path = format!("/r/{}/a/new/v1/chat/completions", child.credential);
    let call = house
        .client
        .post_json(&path, &[], simple("hi", Some(64), false))
        .await;
    let call = call.expect("an answer");
    assert_eq!(
        (call.status, call.header("fisc-reason")),
        (402, Some("budget_released"))
    );
    house.stop().await;
}

#[tokio::test]
async fn a_rate_slows_calls_until_it_is_taken_away() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let allocated = json!({ "path": "run/a", "rate_per_minute": { "tokens": "60" } });
    let child = program.spawn(allocated).await;
    let (first, second) = (hold_id(1), hold_id(2));
    let held = json!({ "id": first, "tokens": "50" });
    assert_eq!(child.post("/a/holds", held).await.status, 201);
    child
        .post(
            &format!("/a/holds/{first}/settle"),
            json!({ "tokens": "50" }),
        )
        .await
        .ok();
    let more = json!({ "id": second, "tokens": "1" });
    let slowed = child.post("/a/holds", more.clone()).await;
    let problem = check_problem(&slowed, 429, "budget_throttled");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("slows its calls"), "{detail}");
    let seen = program
        .patch("/run/a", json!({ "rate_per_minute": null }))
        .await
        .ok()
        .json();
    assert_eq!(seen["rate_per_minute"]["tokens"], json!(null));
    assert_eq!(child.post("/a/holds", more).await.status, 201);
    house.stop().await;
}
