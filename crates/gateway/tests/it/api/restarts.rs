//! What the budget API remembers over a restart of the gateway.

use std::time::Duration;

use fisc::Durability;
use serde_json::json;

use super::leases::until_released;
use super::{Someone, check_problem, hold_id, nanos};
use crate::harness::{Books, House, Plan};

async fn house(cost: &str) -> House {
    let plan = Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    };
    let house = House::start(plan).await;
    let limit = json!({ "cost": cost });
    Someone::owner(&house).patch("/run", limit).await.ok();
    house
}

#[tokio::test]
async fn a_token_is_good_and_shown_again_to_who_asked_for_it() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "2", "id": "spawn-1" });
    let child = program.spawn(asked.clone()).await;
    let below = child.spawn(json!({ "path": "a/below" })).await;
    let house = house.restart().await;
    let program = Someone::program(&house);
    let child = Someone::with(&house, &child.credential);
    assert_eq!(child.stands("a").await["path"], "a");
    let below = Someone::with(&house, &below.credential);
    assert_eq!(below.stands("below").await["path"], "below");
    // A repeated allocation makes nothing, and answers with the same token.
    let again = program.spawn(asked.clone()).await;
    assert_eq!(again.credential, child.credential);
    assert_eq!(house.fisc.statuses().len(), 3);
    let other = json!({ "path": "run/a", "cost": "3", "id": "spawn-1" });
    check_problem(&program.post("", other).await, 409, "id_reused");
    // To somebody else of the same root it tells nothing that is secret.
    let answer = Someone::owner(&house).post("", asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.json()["token"].is_null(), "{}", answer.text());
    // A new token is a new one.
    let new = program.spawn(json!({ "path": "run/b" })).await;
    assert_ne!(new.credential, child.credential);
    house.stop().await;
}

#[tokio::test]
async fn what_was_done_once_is_not_done_again() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "2" });
    program.spawn(asked).await;
    program.spawn(json!({ "path": "run/b", "cost": "2" })).await;
    let grant = json!({ "cost": "0.50" });
    let loan = json!({ "borrower": "run/b", "cost": "0.25" });
    let (top_up, lend) = ("/run/a/topup", "/run/a/loans");
    program.post_once("g1", top_up, grant.clone()).await.ok();
    let lent = program
        .post_once("l1", lend, loan.clone())
        .await
        .ok()
        .json();
    let refused = program.post_once("g2", "/run/x/topup", grant.clone()).await;
    check_problem(&refused, 404, "unknown_budget");
    let house = house.restart().await;
    let program = Someone::program(&house);
    for _ in 0..2 {
        let raised = program.post_once("g1", top_up, grant.clone()).await;
        assert_eq!(nanos(&raised.ok().json(), "limit"), 2_500_000_000);
        let again = program.post_once("l1", lend, loan.clone()).await;
        assert_eq!(again.ok().json(), lent);
    }
    let a = program.stands("run/a").await;
    assert_eq!(nanos(&a, "loaned"), -250_000_000, "{a}");
    // Another id is another request.
    let raised = program.post_once("g3", top_up, grant).await.ok().json();
    assert_eq!(nanos(&raised, "limit"), 3_000_000_000);
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn a_lease_goes_on() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let carved = json!({ "cost": "4", "share": "static" });
    let lease = |path: &str, silence: &str| {
        let mut lease = carved.clone();
        (lease["path"], lease["keep_alive"]) = (json!(path), json!(silence));
        lease
    };
    program.spawn(lease("run/brief", "2s")).await;
    program.spawn(lease("run/long", "1h")).await;
    let house = house.restart().await;
    let program = Someone::program(&house);
    until_released(&program, "run/brief").await;
    assert_eq!(program.stands("run/long").await["state"], "open");
    let root = program.stands("run").await;
    assert_eq!(nanos(&root, "free"), 6_000_000_000, "its room is back");
    let forgotten = async {
        while house.fisc.notes("lease/").expect("a ledger").len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let forgotten = tokio::time::timeout(Duration::from_secs(10), forgotten).await;
    forgotten.expect("what was released needs no lease");
    house.stop().await;
}

#[tokio::test]
async fn nothing_secret_rests_in_the_ledger() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "id": "one" })).await;
    child
        .post("/a/holds", json!({ "id": hold_id(1), "cost": "1" }))
        .await;
    let secret = child.credential.rsplit('.').next().expect("a secret");
    let ledger = house.ledger.clone().expect("a file");
    let notes = house.fisc.notes("").expect("a ledger");
    assert_eq!(notes.len(), 2, "{notes:?}");
    for file in [ledger.clone(), ledger.with_extension("db-wal")] {
        let Ok(bytes) = std::fs::read(&file) else {
            continue;
        };
        for secret in [secret, house.secret.expose(), house.owner.expose()] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{}", file.display());
        }
    }
    house.stop().await;
}
