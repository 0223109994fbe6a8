//! Allocating budgets, and who sees which.

use serde_json::json;

use super::{Someone, check_problem, hold_id, house, nanos};
use crate::agents::simple;

#[tokio::test]
async fn a_child_is_allocated_and_stands_as_asked() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({
        "path": "run/team", "cost": "2.50", "tokens": "500k", "active_time": "10m",
        "time": "1h", "per_call": { "cost": "0.5" }, "reserve": "5%", "guarantee": { "cost": "1" },
        "sharing": "fair", "weight": 3, "need": { "tokens": 1000 }, "lendable": "20%",
    });
    let answer = program.post("", asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let budget = answer.json()["budget"].clone();
    assert_eq!(budget["path"], "run/team");
    assert_eq!(budget["parent"], "run");
    assert_eq!(
        budget["limit"],
        json!({
            "tokens": 500_000, "cost_usd": "2.50", "cost_nanousd": 2_500_000_000_i64,
            "time_us": 600_000_000,
        })
    );
    assert_eq!(nanos(&budget, "guarantee"), 1_000_000_000);
    assert_eq!(
        (&budget["state"], &budget["level"]),
        (&json!("open"), &json!("green"))
    );
    assert_eq!(
        (&budget["sharing"], &budget["weight"]),
        (&json!("fair"), &json!(3))
    );
    let mut stands = program.stands("run/team").await;
    let members = stands.as_object_mut().expect("an object");
    assert_eq!(members.remove("forecast"), Some(json!(null)));
    assert_eq!(stands, budget);
    let terms = house.status("run/team").terms;
    assert_eq!((terms.reserve.0, terms.lendable.0.0), (50, 200));
    house.stop().await;
}

#[tokio::test]
async fn the_list_is_the_subtree_of_the_credential() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let team = program
        .spawn(json!({ "path": "run/team", "cost": "5" }))
        .await;
    program
        .spawn(json!({ "path": "run/other", "cost": "1" }))
        .await;
    team.spawn(json!({ "path": "team/a" })).await;
    let paths = async |someone: &Someone| {
        let list = someone.get("").await.ok().json();
        let budgets = list["budgets"].as_array().expect("a list").clone();
        let path = |budget: &serde_json::Value| budget["path"].as_str().expect("text").to_owned();
        budgets.iter().map(path).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&program).await,
        ["run", "run/team", "run/other", "run/team/a"]
    );
    assert_eq!(paths(&team).await, ["team", "team/a"]);
    house.stop().await;
}

#[tokio::test]
async fn a_token_works_as_bearer_as_key_and_in_a_path() {
    let house = house("10").await;
    let child = Someone::program(&house)
        .spawn(json!({ "path": "run/child", "cost": "1" }))
        .await;
    let token = &child.credential;
    let in_path = house
        .client
        .get(&format!("/r/{token}/v1/budgets/child"))
        .await;
    assert_eq!(in_path.expect("an answer").ok().json()["path"], "child");
    let headers = [("x-api-key", token.as_str())];
    let client = house.client.clone().with_header(headers[0].0, headers[0].1);
    let as_key = client.get("/v1/budgets/child").await;
    assert_eq!(as_key.expect("an answer").ok().json()["path"], "child");
    // And calls are charged to its budget, with agents below it.
    let (path, body) = (
        format!("/r/{token}/a/x/v1/chat/completions"),
        simple("hi", Some(64), false),
    );
    house
        .client
        .post_json(&path, &[], body.clone())
        .await
        .expect("an answer")
        .ok();
    let called = client.post_json("/v1/chat/completions", &[], body).await;
    called.expect("an answer").ok();
    let spent = house.sum(&house.truth().await).cost().nanos();
    let budget = child.stands("child").await;
    assert!(spent > 0 && nanos(&budget, "spent") == spent, "{budget}");
    assert!(nanos(&child.stands("child/x").await, "spent") < spent);
    house.stop().await;
}

#[tokio::test]
async fn without_a_valid_credential_nothing_is_told() {
    let house = house("10").await;
    let child = Someone::program(&house)
        .spawn(json!({ "path": "run/child" }))
        .await;
    let almost = child.credential.replace("@0.", "@1.");
    for wrong in ["", "x", "0123456789abcdef0123456789abcdef", &almost] {
        let answer = Someone::with(&house, wrong).get("").await;
        check_problem(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let page = [("origin", "http://evil.example")];
    let answer = child.send(hyper::Method::GET, "", &page, None).await;
    check_problem(&answer, 403, "origin_refused");
    house.stop().await;
}

#[tokio::test]
async fn the_same_request_twice_is_one_allocation() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "1" });
    let first = program.post_once("one", "", asked.clone()).await;
    let again = program.post_once("one", "", asked.clone()).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text());
    assert_eq!(first.json(), again.json());
    let other = program
        .post_once("one", "", json!({ "path": "run/a", "cost": "2" }))
        .await;
    check_problem(&other, 409, "id_reused");
    check_problem(&program.post("", asked).await, 409, "name_taken");
    // The id may stand in the body as well; an error is not remembered.
    let in_body = json!({ "id": "two", "path": "run/none/b" });
    check_problem(
        &program.post("", in_body.clone()).await,
        404,
        "unknown_budget",
    );
    program.spawn(json!({ "path": "run/none" })).await;
    let first = program.post("", in_body.clone()).await;
    assert_eq!(
        (first.status, first.json()),
        (201, program.post("", in_body).await.json())
    );
    let different = program
        .post_once("x", "", json!({ "id": "y", "path": "run/c" }))
        .await;
    check_problem(&different, 400, "bad_request");
    house.stop().await;
}

#[tokio::test]
async fn many_at_once_with_one_id_are_one_allocation() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "1" });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (program, asked) = (program.clone(), asked.clone());
        tasks.spawn(async move { program.post_once("one", "", asked).await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    house.stop().await;
}

#[tokio::test]
async fn unknown_fields_and_wrong_forms_are_refused() {
    let house = house("10").await;
    let program = Someone::program(&house);
    for (body, part) in [
        (
            json!({ "path": "run/a", "costs": "1" }),
            "unknown field `costs`",
        ),
        (
            json!({ "path": "run/a", "per_call": { "usd": "1" } }),
            "unknown field `usd`",
        ),
        (
            json!({ "path": "run/a", "cost": 1.5 }),
            "dollars in a string",
        ),
        (
            json!({ "path": "run/a", "cost": "-1" }),
            "not an amount of money",
        ),
        (
            json!({ "path": "run/a", "sharing": "greedy" }),
            "unknown variant `greedy`",
        ),
        (json!({ "cost": "1" }), "missing field `path`"),
        (json!([]), "missing field `path`"),
    ] {
        let answer = program.post("", body).await;
        let problem = check_problem(&answer, 400, "bad_request");
        let detail = problem["detail"].as_str().expect("text");
        assert!(
            detail.contains(part) || detail.contains("invalid"),
            "{detail}"
        );
    }
    let twice = r#"{"path": "run/a", "path": "run/b"}"#;
    let headers = [("authorization", format!("Bearer {}", program.credential))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = house.client.post_json("/v1/budgets", &headers, twice).await;
    check_problem(&answer.expect("an answer"), 400, "bad_request");
    assert_eq!(house.fisc.statuses().len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn terms_that_cannot_be_are_typed_problems_with_figures() {
    let house = house("10").await;
    let program = Someone::program(&house);
    for body in [
        json!({ "path": "run/a", "share": "static" }),
        json!({ "path": "run/a", "cost": "1", "guarantee": { "cost": "2" } }),
        json!({ "path": "run/a", "cost": "1", "share": "static", "guarantee": "auto" }),
        json!({ "path": "run/a", "weight": 0 }),
        json!({ "path": "run/a", "window": "fortnightly" }),
        json!({ "path": "run/a", "window": "daily", "time_zone": "Mars/Olympus" }),
        json!({ "path": "run/a", "window": "daily", "time": "1h" }),
        json!({ "path": "run/a b" }),
        json!({ "path": "run/a", "keep_alive": "0" }),
        json!({ "path": "run/a", "tokens": "total:5" }),
    ] {
        check_problem(&program.post("", body).await, 422, "bad_terms");
    }
    let large = json!({ "path": "run/a", "cost": "11", "share": "static" });
    let problem = check_problem(&program.post("", large).await, 409, "does_not_fit");
    assert_eq!(problem["budget"], "run");
    assert_eq!(
        (&problem["resource"], &problem["unit"]),
        (&json!("cost"), &json!("usd"))
    );
    assert_eq!(problem["limit"], "10.00");
    assert_eq!(problem["limit_nanousd"], 10_000_000_000_i64);
    assert_eq!(problem["needed_nanousd"], 11_000_000_000_i64);
    let mut deep = "run".to_owned();
    for _ in 0..7 {
        deep.push_str("/d");
        program.spawn(json!({ "path": deep })).await;
    }
    let deeper = json!({ "path": format!("{deep}/d") });
    check_problem(&program.post("", deeper).await, 422, "bad_terms");
    house.stop().await;
}

#[tokio::test]
async fn what_is_nothing_to_ask_is_said_so() {
    let house = house("10").await;
    let program = Someone::program(&house);
    check_problem(&program.get("/nowhere").await, 404, "unknown_budget");
    check_problem(&program.get("/run/nobody").await, 404, "unknown_budget");
    check_problem(&program.get("/run//x").await, 404, "unknown_path");
    check_problem(&program.get("/run%2Fx").await, 404, "unknown_path");
    check_problem(
        &program.post("/run/explode", json!({})).await,
        404,
        "unknown_path",
    );
    let deleted = program.send(hyper::Method::DELETE, "/run", &[], None).await;
    check_problem(&deleted, 405, "method_not_allowed");
    let answer = program
        .post("", json!({ "path": "x".repeat(70_000) }))
        .await;
    check_problem(&answer, 413, "request_too_large");
    house.stop().await;
}

#[tokio::test]
async fn from_red_on_nothing_new_is_begun() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let child = json!({ "path": "run/a", "tokens": 100 });
    let child = program.spawn(child).await;
    let id = hold_id(1);
    let held = json!({ "id": id, "tokens": 92 });
    assert_eq!(child.post("/a/holds", held).await.status, 201);
    let settled = json!({ "tokens": 92 });
    child
        .post(&format!("/a/holds/{id}/settle"), settled)
        .await
        .ok();
    let late = json!({ "path": "run/a/late" });
    let problem = check_problem(&program.post("", late).await, 409, "does_not_fit");
    assert_eq!(problem["budget"], "run/a");
    program.spawn(json!({ "path": "run/b" })).await;
    house.stop().await;
}

#[tokio::test]
async fn the_name_of_a_released_budget_is_free_and_its_token_is_not_good_for_the_new_one() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = json!({ "path": "run/a", "cost": "4", "share": "static" });
    let old = program.spawn(asked.clone()).await;
    let id = hold_id(1);
    old.post("/a/holds", json!({ "id": id, "cost": "1" })).await;
    old.post(&format!("/a/holds/{id}/settle"), json!({ "cost": "1" }))
        .await
        .ok();
    check_problem(&program.post("", asked.clone()).await, 409, "name_taken");
    program.post("/run/a/release", json!({})).await.ok();
    let new = program.spawn(asked).await;
    check_problem(&old.get("").await, 401, "unauthorized");
    let stands = new.stands("a").await;
    assert_eq!(
        (nanos(&stands, "spent"), nanos(&stands, "free")),
        (0, 4_000_000_000)
    );
    // The parent sees both, the new one only itself.
    let list = async |someone: &Someone| {
        let list = someone.get("").await.ok().json();
        let budgets = list["budgets"].as_array().expect("a list").clone();
        let one = |budget: &serde_json::Value| (budget["path"].clone(), budget["state"].clone());
        budgets.iter().map(one).collect::<Vec<_>>()
    };
    let pair = |path: &str, state: &str| (json!(path), json!(state));
    assert_eq!(
        list(&program).await,
        [
            pair("run", "open"),
            pair("run/a", "released"),
            pair("run/a", "open")
        ]
    );
    assert_eq!(list(&new).await, [pair("a", "open")]);
    let root = program.stands("run").await;
    assert_eq!(
        (nanos(&root, "spent"), nanos(&root, "free")),
        (1_000_000_000, 5_000_000_000)
    );
    house.stop().await;
}

#[tokio::test]
async fn so_many_come_in_a_second_and_no_more() {
    let house = house("10").await;
    let program = Someone::program(&house);
    let asked = |number: usize| json!({ "path": format!("run/n{number}") });
    let (mut made, mut begun) = (0, house.fisc.ticks());
    let answer = loop {
        let answer = program.post("", asked(made)).await;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        // On a machine that is slow a second may pass before there are so many.
        if house.fisc.ticks().0 - begun.0 >= 400_000 {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            (made, begun) = (made - made % 32 + 32, house.fisc.ticks());
        }
    };
    check_problem(&answer, 429, "too_many_budgets");
    assert_eq!((answer.header("retry-after"), made % 32), (Some("1"), 0));
    // A new name of a call is metered on the parent meanwhile, and somebody else's root is apart.
    let call = |house: &crate::harness::House| {
        let body = simple("hi", Some(16), false);
        let path = house.path(fisc_rehearsal::Wire::OpenAi, "newcomer");
        let client = house.client.clone();
        async move { client.post_json(&path, &[], body).await.expect("an answer") }
    };
    call(&house).await.ok();
    assert!(house.fisc.budget("run/newcomer").is_err());
    assert!(nanos(&program.stands("run").await, "spent") > 0);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    call(&house).await.ok();
    assert!(house.fisc.budget("run/newcomer").is_ok());
    house.stop().await;
}
