//! How soon levels are acted upon while calls come over HTTP, as the gateway itself tells it: the
//! histogram of `/metrics`. The goal is a second; a task that is told at once is far from it.
//!
//! `FISC_RATE` is how many calls begin a second (400), `FISC_SECONDS` for how long (2).

use std::time::Duration;

use fisc::core::Resource;
use fisc_testkit::http::Answer;
use hyper::Method;
use tokio::task::JoinSet;

use crate::agents::simple;
use crate::harness::{Books, House, Plan, limited};

/// What an agent may spend: each of its calls takes about a tenth of it.
const LIMIT: i64 = 230;
/// How many calls it takes to cross two levels.
const CALLS_EACH: usize = 12;

fn number(name: &str, usual: usize) -> usize {
    let set = std::env::var(name).ok();
    set.map_or(usual, |text| text.parse().expect("a number"))
}

async fn scrape(house: &House, secret: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str())];
    let (method, body) = (Method::GET, "".into());
    let answer = house.client.send(method, "/metrics", &headers, body).await;
    let whole = answer.expect("the gateway answers").whole().await;
    whole.expect("a whole answer")
}

/// Returns the value of a metric, written as its name and labels are.
#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_are_acted_upon_within_a_second_while_calls_come_over_http() {
    let (rate, seconds) = (number("FISC_RATE", 400), number("FISC_SECONDS", 2));
    let calls = rate * seconds;
    let agents = calls / CALLS_EACH;
    let house = House::start(Plan {
        books: Books::File(fisc::Durability::Process),
        ..Plan::default()
    })
    .await;
    let paths: Vec<String> = (0..agents).map(|agent| format!("agent-{agent}")).collect();
    for agent in &paths {
        let terms = limited(Resource::Tokens, LIMIT);
        let allocated = house.fisc.allocate(&format!("run/{agent}"), terms).await;
        allocated.expect("it fits");
    }
    let body = simple("[[rehearsal tokens=8]] Is it?", Some(8), false);
    let mut due = tokio::time::interval(Duration::from_secs(1) / rate as u32);
    let mut running = JoinSet::new();
    let began = tokio::time::Instant::now();
    for call in 0..calls {
        due.tick().await;
        let path = house.path(fisc_rehearsal::Wire::OpenAi, &paths[call % agents]);
        let (client, body) = (house.client.clone(), body.clone());
        running.spawn(async move { client.post_json(&path, &[], body).await.map(drop) });
    }
    let took = began.elapsed();
    while let Some(called) = running.join_next().await {
        called.expect("a call ends").expect("the gateway answers");
    }
    let text = scrape(&house, house.owner.expose()).await.ok().text();
    let of = |name: &str| value(&text, name);
    let count = of("fisc_level_action_seconds_count ");
    let within =
        |le: &str| of(&format!("fisc_level_action_seconds_bucket{{le=\"{le}\"}} ")) / count;
    println!(
        "{calls} calls in {took:.1?}, {count} crossings: within 1 ms {:.4}, 10 ms {:.4}, 1 s {:.4}",
        within("0.001"),
        within("0.01"),
        within("1.0"),
    );
    assert!(count >= 2.0 * agents as f64, "Yellow and Orange: {count}");
    assert!(within("1.0") >= 0.999);
    assert_eq!(
        of("fisc_calls_admitted_total ") as usize,
        calls_admitted(&house)
    );
    assert_eq!(of("fisc_holds_open ") as usize, 0);
    assert!(text.contains("le=\"+Inf\"} "), "{text}");
    // A program that stands for a part of the tree is not told of all of it.
    let bearer = format!("Bearer {}", house.owner.expose());
    let headers = [("authorization", bearer.as_str())];
    let part = r#"{"path": "run/part"}"#.to_owned();
    let part = house.client.post_json("/v1/budgets", &headers, part).await;
    let part = part.expect("the gateway answers").json();
    let token = part["token"].as_str().expect("a token");
    assert_eq!(scrape(&house, token).await.status, 403);
    assert_eq!(scrape(&house, "nobody").await.status, 401);
    house.check_books().await;
    house.stop().await;
}

fn calls_admitted(house: &House) -> usize {
    house.counts().admitted as usize
}

#[tokio::test]
async fn a_call_that_used_more_than_it_held_is_counted() {
    let house = House::start(Plan {
        root: limited(Resource::Tokens, 100_000),
        ..Plan::default()
    })
    .await;
    let path = house.path(fisc_rehearsal::Wire::OpenAi, "agent");
    for (number, honours) in ["over_max=0", "over_max=1"].into_iter().enumerate() {
        let words = format!("[[rehearsal {honours} tokens=900]] Is it?");
        let body = simple(&words, Some(40), false);
        let answer = house.client.post_json(&path, &[], body).await;
        answer.expect("the gateway answers").ok();
        let text = scrape(&house, house.owner.expose()).await.ok().text();
        let breaches = value(&text, "fisc_estimator_breach_total ");
        assert_eq!(breaches as usize, number, "{honours}");
    }
    house.stop().await;
}
