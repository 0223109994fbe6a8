//! A child can neither widen what it was given nor get out of it, nor see what is above.

use serde_json::{Value, json};

use super::{Someone, check_problem, hold_id, house, nanos};
use crate::agents::simple;

#[tokio::test]
async fn sub_agents_draw_on_the_tree_of_their_parent() {
    let house = house("1").await;
    let parent = Someone::program(&house)
        .spawn(json!({ "path": "run/p", "tokens": 2000 }))
        .await;
    let mut subs = Vec::new();
    for number in 0..8 {
        let path = format!("p/sub{number}");
        subs.push(parent.spawn(json!({ "path": path, "tokens": "1M" })).await);
    }
    let mut calls = tokio::task::JoinSet::new();
    for sub in subs {
        let client = house.client.clone();
        calls.spawn(async move {
            let path = format!("/r/{}/v1/chat/completions", sub.credential);
            for _ in 0..20 {
                let body = simple("say all there is to say", Some(200), false);
                let answer = client.post_json(&path, &[], body).await;
                if answer.expect("an answer").status == 402 {
                    return;
                }
            }
            panic!("a sub-agent never met the limit of its parent");
        });
    }
    calls.join_all().await;
    let truth = house.sum(&house.truth().await).tokens().0;
    let parent = parent.stands("p").await;
    assert_eq!(
        parent["spent"]["tokens"], truth,
        "the parent shows what its sub-agents used"
    );
    assert!(truth > 1000 && truth <= 2000, "{truth}");
    house.stop().await;
}

#[tokio::test]
async fn chained_three_deep_nobody_spends_more_than_the_pool_has() {
    let house = house("100").await;
    let mut chain = vec![Someone::program(&house)];
    let mut path = "run".to_owned();
    for name in ["a", "b", "c"] {
        // Each one is told of 90, all of them together have 100.
        let body = json!({ "path": format!("{path}/{name}"), "cost": "90" });
        let child = chain.last().expect("the program").spawn(body).await;
        chain.push(child);
        path = name.to_owned();
    }
    let mut holds = tokio::task::JoinSet::new();
    for (number, (someone, path)) in chain.into_iter().zip(["run", "a", "b", "c"]).enumerate() {
        for hold in 0..20 {
            let body = json!({ "id": hold_id(number as u64 * 100 + hold), "cost": "9" });
            let (someone, path) = (someone.clone(), format!("/{path}/holds"));
            holds.spawn(async move { someone.post(&path, body).await.status == 201 });
        }
    }
    let granted = holds
        .join_all()
        .await
        .into_iter()
        .filter(|granted| *granted)
        .count();
    assert_eq!(granted, 11, "11 x 9 fit into 100");
    let root = house.root().status();
    assert_eq!(root.held.cost().nanos(), 99_000_000_000);
    house.gateway.shutdown(std::time::Duration::ZERO).await;
}

#[tokio::test]
async fn what_a_running_child_holds_is_not_given_back_by_looking_or_by_release() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "8", "share": "static" });
    let child = program.spawn(asked).await;
    let id = hold_id(1);
    child
        .post("/a/holds", json!({ "id": id, "cost": "8" }))
        .await;
    for _ in 0..5 {
        program.get("").await.ok();
        program.stands("run/a").await;
        let release = program.post("/run/a/release", json!({})).await;
        check_problem(&release, 409, "calls_running");
        assert_eq!(nanos(&program.stands("run").await, "free"), 2_000_000_000);
        let more = program
            .post("/run/holds", json!({ "id": hold_id(2), "cost": "3" }))
            .await;
        assert_ne!(
            more.status, 201,
            "the grant of a running child was given away"
        );
    }
    child
        .post(&format!("/a/holds/{id}/settle"), json!({ "cost": "8" }))
        .await
        .ok();
    program.post("/run/a/release", json!({})).await.ok();
    assert_eq!(nanos(&program.stands("run").await, "free"), 2_000_000_000);
    house.stop().await;
}

#[tokio::test]
async fn a_sub_agent_cannot_switch_its_own_cap_off() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "cost": "1" })).await;
    program.spawn(json!({ "path": "run/b", "cost": "1" })).await;
    let before = house.fisc.statuses();
    for (path, body) in [
        ("/a", json!({ "cost": null })),
        ("/a", json!({ "cost": "9" })),
        ("/a", json!({ "state": "open" })),
        ("/a", json!({ "time": null, "per_call": null })),
    ] {
        check_problem(&child.patch(path, body).await, 403, "own_root");
    }
    for (path, body) in [
        ("/a/topup", json!({ "cost": "9" })),
        ("/a/release", json!({})),
        ("/a/loans", json!({ "borrower": "a", "cost": "1" })),
    ] {
        check_problem(&child.post(path, body).await, 403, "own_root");
    }
    // Neither by another spelling of where it is, nor next to it, nor above.
    for path in [
        "run", "run/a", "run/b", "b", "../b", "a/../b", "%2e%2e", "A",
    ] {
        let answer = child
            .patch(&format!("/{path}"), json!({ "cost": "9" }))
            .await;
        check_problem(&answer, 404, "unknown_budget");
        let answer = child.get(&format!("/{path}")).await;
        check_problem(&answer, 404, "unknown_budget");
    }
    for path in ["run/c", "b/c", "run/a/c", "c"] {
        let answer = child.post("", json!({ "path": path })).await;
        check_problem(&answer, 404, "unknown_budget");
    }
    check_problem(
        &child.post("", json!({ "path": "a" })).await,
        409,
        "name_taken",
    );
    // The run's own secret is a delegate as well: only an owner changes the root.
    let raise = json!({ "cost": "99" });
    check_problem(&program.patch("/run", raise.clone()).await, 403, "own_root");
    assert_eq!(house.fisc.statuses(), before);
    Someone::owner(&house).patch("/run", raise).await.ok();
    // A child of its own, without any limit, is bound by its parent's.
    let free = child.spawn(json!({ "path": "a/free" })).await;
    let hold = json!({ "id": hold_id(1), "cost": "1.01" });
    let refused = free.post("/free/holds", hold).await;
    assert_eq!(
        check_problem(&refused, 402, "budget_exhausted")["budget"],
        "an outer budget"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_resumed_child_comes_back_as_large_as_it_was() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "4", "share": "static" });
    let first = program.post_once("spawn-a", "", asked.clone()).await;
    let child = Someone::with(&house, first.json()["token"].as_str().expect("a token"));
    let id = hold_id(1);
    child
        .post("/a/holds", json!({ "id": id, "cost": "3" }))
        .await;
    child
        .post(&format!("/a/holds/{id}/settle"), json!({ "cost": "3" }))
        .await
        .ok();
    for _ in 0..3 {
        let again = program.post_once("spawn-a", "", asked.clone()).await;
        assert_eq!((again.status, again.json()), (201, first.json()));
        let budget = child.stands("a").await;
        assert_eq!(nanos(&budget, "limit"), 4_000_000_000);
        assert_eq!(
            (nanos(&budget, "spent"), nanos(&budget, "free")),
            (3_000_000_000, 1_000_000_000)
        );
        assert_eq!(nanos(&program.stands("run").await, "free"), 6_000_000_000);
    }
    house.stop().await;
}

#[tokio::test]
async fn nothing_above_the_own_root_is_told() {
    let house = house("10").await;
    let program = Someone::program(&house);
    program
        .spawn(json!({ "path": "run/hiddenteam", "cost": "7.77", "time": "1h" }))
        .await;
    program
        .spawn(json!({ "path": "run/hiddenteam/hiddensibling", "cost": "1.23" }))
        .await;
    let asked = json!({ "path": "run/hiddenteam/me", "cost": "9.99" });
    let child = program.spawn(asked).await;
    let large = json!({ "path": "me/x", "cost": "8", "share": "static" });
    let mut told = vec![
        child.get("").await,
        child.get("/me").await,
        child.get("/hiddenteam").await,
        child.post("", large).await,
        child
            .post("/me/holds", json!({ "id": hold_id(1), "cost": "9" }))
            .await,
        child
            .post("/me/loans", json!({ "borrower": "hiddensibling" }))
            .await,
    ];
    let team = house.fisc.budget("run/hiddenteam").expect("a budget").id();
    house.fisc.set_frozen(team, true).await.expect("it is open");
    told.push(
        child
            .post("/me/holds", json!({ "id": hold_id(2), "cost": "0.01" }))
            .await,
    );
    told.push(child.get("/me").await);
    house
        .fisc
        .set_frozen(team, false)
        .await
        .expect("it is frozen");
    house.fisc.release(team).await.expect("nothing runs");
    told.push(
        child
            .post("/me/holds", json!({ "id": hold_id(3), "cost": "0.01" }))
            .await,
    );
    told.push(child.post("", json!({ "path": "me/y" })).await);
    for answer in &told {
        // The wrong path is the caller's own words.
        let text = answer.text().replace("\\\"hiddenteam\\\"", "");
        for hidden in ["hidden", "run/", "7.77", "777000", "7770000000", "1.23"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
    let outer = |answer: &fisc_testkit::http::Answer| answer.json()["budget"] == "an outer budget";
    assert!(
        outer(&told[3]) && outer(&told[4]) && outer(&told[6]),
        "{}",
        told[4].text()
    );
    assert_eq!(told[3].json()["limit"], Value::Null);
    assert_eq!(
        told[1].json()["deadline_at_us"],
        Value::Null,
        "it is of a budget above"
    );
    house.stop().await;
}

#[tokio::test]
async fn a_child_of_a_child_is_changed_by_both_above_it() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "cost": "5" })).await;
    child.spawn(json!({ "path": "a/x", "cost": "1" })).await;
    child.patch("/a/x", json!({ "cost": "2" })).await.ok();
    child.post("/a/x/topup", json!({ "cost": "1" })).await.ok();
    let seen = program
        .patch("/run/a/x", json!({ "weight": 2 }))
        .await
        .ok()
        .json();
    assert_eq!(nanos(&seen, "limit"), 3_000_000_000);
    child.post("/a/x/release", json!({})).await.ok();
    house.stop().await;
}

#[tokio::test]
async fn a_token_names_agents_only_below_its_budget() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = program.spawn(json!({ "path": "run/a", "cost": "1" })).await;
    let path = format!("/r/{}/a/run.b/v1/chat/completions", child.credential);
    let call = house
        .client
        .post_json(&path, &[], simple("hi", Some(64), false))
        .await;
    call.expect("an answer").ok();
    let spent = house.status("run/a/run/b").spent;
    assert_eq!(house.status("run/a").spent, spent);
    assert!(spent.tokens().0 > 0 && house.fisc.budget("run/b").is_err());
    house.stop().await;
}
