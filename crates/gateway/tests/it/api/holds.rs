//! Holds taken over HTTP.

use std::time::Duration;

use fisc::Durability;
use serde_json::json;

use super::{Someone, check_problem, hold_id, house, nanos};
use crate::harness::{Books, House, Plan};

#[tokio::test]
async fn a_hold_is_settled_voided_or_extended_once() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let (one, two) = (hold_id(1), hold_id(2));
    let asked = json!({ "id": one, "cost": "2", "tokens": 500, "operation": "search" });
    let held = program.post("/run/holds", asked.clone()).await;
    assert_eq!(held.status, 201, "{}", held.text());
    assert_eq!(held.json()["state"], "open");
    assert_eq!(program.post("/run/holds", asked).await.json(), held.json());
    let stands = program.stands("run").await;
    assert_eq!(
        (nanos(&stands, "held"), &stands["running"]),
        (2_000_000_000, &json!(1))
    );

    let extend = format!("/run/holds/{one}/extend");
    for _ in 0..2 {
        let more = program
            .post_once("e", &extend, json!({ "cost": "1" }))
            .await
            .ok()
            .json();
        assert_eq!(more["held"]["cost_usd"], "3.00");
    }
    check_problem(
        &program.post(&extend, json!({ "cost": "8" })).await,
        402,
        "budget_exhausted",
    );

    let settle = format!("/run/holds/{one}/settle");
    for _ in 0..2 {
        let settled = program
            .post(&settle, json!({ "cost": "2.25" }))
            .await
            .ok()
            .json();
        assert_eq!(
            (&settled["state"], &settled["charged"]["cost_usd"]),
            (&json!("settled"), &json!("2.25"))
        );
    }
    check_problem(
        &program.post(&settle, json!({ "cost": "1" })).await,
        409,
        "hold_ended",
    );
    check_problem(
        &program.post(&extend, json!({ "cost": "1" })).await,
        409,
        "hold_ended",
    );
    let void = format!("/run/holds/{one}/void");
    check_problem(&program.post(&void, json!({})).await, 409, "hold_ended");

    program
        .post("/run/holds", json!({ "id": two, "cost": "1" }))
        .await;
    let void = format!("/run/holds/{two}/void");
    for _ in 0..2 {
        let voided = program
            .post(&void, json!({ "reason": "never sent" }))
            .await
            .ok()
            .json();
        assert_eq!(
            (&voided["state"], &voided["charged"]["cost_nanousd"]),
            (&json!("voided"), &json!(0))
        );
    }
    let stands = program.stands("run").await;
    assert_eq!(
        (nanos(&stands, "spent"), nanos(&stands, "held")),
        (2_250_000_000, 0)
    );
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn illegal_holds_are_typed_problems() {
    let house = house("10").await;
    let program = Someone::program(&house);
    program
        .spawn(json!({ "path": "run/a", "per_call": { "cost": "1" } }))
        .await;
    let hold = async |path: &str, body| program.post(&format!("/{path}/holds"), body).await;
    for id in ["", "x", "019ab54d-7a38-4bb2-a1b2-000000000001"] {
        let answer = hold("run", json!({ "id": id, "cost": "1" })).await;
        check_problem(&answer, 400, "bad_request");
    }
    let id = hold_id(1);
    let large = hold("run/a", json!({ "id": id, "cost": "2" })).await;
    check_problem(&large, 402, "request_exceeds_call_limit");
    let never = hold("run", json!({ "id": id, "cost": "11" })).await;
    check_problem(&never, 409, "id_reused");
    let never = hold("run", json!({ "id": hold_id(2), "cost": "11" })).await;
    check_problem(&never, 402, "budget_exhausted");
    hold("run", json!({ "id": hold_id(3), "cost": "8" })).await;
    let busy = hold("run", json!({ "id": hold_id(4), "cost": "5" })).await;
    let problem = check_problem(&busy, 429, "budget_reserved");
    assert_eq!(busy.header("retry-after"), Some("5"));
    assert_eq!(
        (&problem["held"], &problem["needed"]),
        (&json!("8.00"), &json!("5.00"))
    );
    for act in ["settle", "extend", "void"] {
        let nobody = format!("/run/holds/{}/{act}", hold_id(99));
        check_problem(&program.post(&nobody, json!({})).await, 404, "unknown_hold");
        // It exists, at another budget.
        let elsewhere = format!("/run/a/holds/{}/{act}", hold_id(3));
        check_problem(
            &program.post(&elsewhere, json!({})).await,
            404,
            "unknown_hold",
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_hold_waits_for_room_when_told_to() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let first = hold_id(1);
    program
        .post("/run/holds", json!({ "id": first, "cost": "8" }))
        .await;
    let waiting = {
        let (program, body) = (
            program.clone(),
            json!({ "id": hold_id(2), "cost": "5", "wait": "30s" }),
        );
        tokio::spawn(async move { program.post("/run/holds", body).await })
    };
    program
        .post(&format!("/run/holds/{first}/void"), json!({}))
        .await
        .ok();
    assert_eq!(waiting.await.expect("it ends").status, 201);
    house.stop().await;
}

#[tokio::test]
async fn a_hold_that_nobody_ends_is_charged_in_full() {
    let house = House::start(Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    let program = Someone::program(&house);
    let id = hold_id(1);
    let asked = json!({ "id": id, "cost": "2", "expires": "100ms" });
    program.post("/run/holds", asked).await;
    house.rest().await;
    let stands = program.stands("run").await;
    assert_eq!(
        (nanos(&stands, "spent"), nanos(&stands, "held")),
        (2_000_000_000, 0)
    );
    let late = program
        .post(&format!("/run/holds/{id}/settle"), json!({ "cost": "1" }))
        .await;
    let problem = check_problem(&late, 409, "hold_ended");
    assert_eq!(problem["detail"], "the hold is expired already");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn holds_left_open_are_charged_when_the_gateway_ends() {
    let house = house("10").await;
    let program = Someone::program(&house);
    program
        .post("/run/holds", json!({ "id": hold_id(1), "cost": "2" }))
        .await;
    let fisc = house.fisc.clone();
    house.gateway.shutdown(Duration::from_millis(10)).await;
    let root = fisc.root().expect("a root").status();
    assert_eq!((root.open, root.spent.cost().nanos()), (0, 2_000_000_000));
}
