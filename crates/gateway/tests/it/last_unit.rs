//! 1,024 clients on the last unit: of a budget with room for exactly k calls, k are made.
//!
//! What a call truly costs and what it is held at are both measured, so that a budget can be
//! made that has room for one call more or not, to the unit.

use std::sync::Arc;

use fisc::core::{Amount, Resource};
use fisc_rehearsal::Wire;
use fisc_testkit::http::{Answer, Client};
use tokio::sync::Barrier;

use crate::agents::{check_final, simple};
use crate::harness::{House, Plan, ROOT, limited};

/// How many clients call at once.
const CLIENTS: usize = 1_024;
/// How often they do, each time on another budget.
const ROUNDS: usize = 100;
/// The most calls that a budget has room for.
const CALLS_MAX: i64 = 4;

/// One call, the same for everybody.
struct Unit {
    body: String,
    /// What it truly costs.
    cost: Amount,
    /// What it is held at.
    held: Amount,
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1024_at_once_exactly_those_that_fit_are_admitted() {
    let house = House::start(Plan::default()).await;
    let unit = Unit::measure(&house).await;
    let made_before = house.truth().await.len();
    let mut made = 0;
    for round in 0..ROUNDS {
        made += play(&house, &unit, round).await;
    }
    house.check_books().await;
    let truth = house.truth().await;
    assert_eq!(truth.len() - made_before, made, "refused calls stay here");
    let spent = house.status(ROOT).spent;
    let truly = house.sum(&truth);
    assert_eq!(spent.tokens(), truly.tokens());
    assert_eq!(spent.cost(), truly.cost());
    house.stop().await;
}

/// Lets everybody call at once on a budget of its own, and returns how many calls were made.
async fn play(house: &House, unit: &Unit, round: usize) -> usize {
    let binding = [Resource::Tokens, Resource::Cost][round % 2];
    let calls = 1 + (round / 2) as i64 % CALLS_MAX;
    let short = round.is_multiple_of(3);
    let (cost, held) = (unit.cost.get(binding), unit.held.get(binding));
    // Room for the last call's hold after all the others were settled; or one unit less.
    let limit = (calls - 1) * cost + held - i64::from(short);
    let expected = calls - i64::from(short);
    let path = format!("{ROOT}/round-{round}");
    let allocated = house.fisc.allocate(&path, limited(binding, limit)).await;
    allocated.expect("the root is unlimited");
    let answers = call_all(house, unit, &format!("round-{round}")).await;
    let mut admitted = 0;
    for answer in &answers {
        match answer.status {
            200 => admitted += 1,
            _ => check_final(answer, expected_code(limit, held)),
        }
    }
    assert_eq!(admitted, expected, "round {round}: {calls} calls, {limit}");
    let spent = house.status(&path).spent.get(binding);
    assert_eq!(spent, expected * cost, "round {round}");
    assert!(spent <= limit, "round {round}");
    assert_eq!(house.status(&path).overrun, Amount::ZERO, "round {round}");
    usize::try_from(admitted).expect("a count")
}

fn expected_code(limit: i64, held: i64) -> &'static str {
    if held > limit {
        "request_exceeds_budget"
    } else {
        "budget_exhausted"
    }
}

async fn call_all(house: &House, unit: &Unit, agent: &str) -> Vec<Answer> {
    let path = house.path(Wire::OpenAi, agent);
    let start = Arc::new(Barrier::new(CLIENTS));
    let call = |client: Client, start: Arc<Barrier>, path: String, body: String| async move {
        start.wait().await;
        let answer = client.post_json(&path, &[], body).await;
        answer.expect("the gateway answers")
    };
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, start) = (house.client.clone(), Arc::clone(&start));
            tokio::spawn(call(client, start, path.clone(), unit.body.clone()))
        })
        .collect();
    let mut answers = Vec::with_capacity(CLIENTS);
    for task in tasks {
        answers.push(task.await.expect("a client ends"));
    }
    answers
}

// === impl Unit ===

impl Unit {
    /// Makes the call once without limits, and once for each resource without room.
    async fn measure(house: &House) -> Unit {
        let body = simple("[[rehearsal tokens=9]] How much is left?", Some(9), false);
        let path = house.path(Wire::OpenAi, "measured");
        let answer = house.client.post_json(&path, &[], body.clone()).await;
        answer.expect("the gateway answers").ok();
        house.rest().await;
        let cost = house.sum(&house.truth().await);
        let mut held = Amount::ZERO;
        for binding in [Resource::Tokens, Resource::Cost] {
            let agent = format!("no-{binding}");
            let path = format!("{ROOT}/{agent}");
            let allocated = house.fisc.allocate(&path, limited(binding, 1)).await;
            allocated.expect("the root is unlimited");
            let path = house.path(Wire::OpenAi, &agent);
            let answer = house.client.post_json(&path, &[], body.clone()).await;
            let answer = answer.expect("the gateway answers");
            check_final(&answer, "request_exceeds_budget");
            let needed = &answer.json()["error"]["budget"]["needed"];
            held.set(binding, needed.as_i64().expect("a figure"));
            assert!(held.get(binding) >= cost.get(binding), "a hold is a bound");
        }
        Unit { body, cost, held }
    }
}
