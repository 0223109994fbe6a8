//! How soon levels are acted upon while calls come at two thousand a second: measured by the
//! product itself, from a crossing to the task that acts on it. What is asserted is the goal of a
//! second, which a task that is told at once is far from.

use std::time::Duration;

use fisc::{Fisc, Options, Patience, TimeUs};
use fisc_testkit::temp;

use crate::{limit, tokens};

/// Calls a second, for how long, and by how many agents.
const CALLS_A_SECOND: usize = 2_000;
const SECONDS: usize = 3;
const AGENTS: usize = 300;
/// What an agent may spend: each of its calls one, so that each crosses four levels.
const LIMIT: i64 = 20;

/// Acts on what happens, as the gateway's own task does.
async fn act(fisc: Fisc) {
    let mut seen = 0;
    loop {
        fisc.changed(seen).await;
        let (news, missed) = fisc.events_since(seen);
        assert_eq!(missed, 0, "nothing is dropped at this rate");
        seen = news.last().map_or(seen, |noted| noted.number);
        for noted in &news {
            fisc.acted(noted);
        }
    }
}

async fn call(fisc: Fisc, agent: usize) {
    let budget = fisc.budget(&format!("root/{agent}")).expect("a budget");
    let patience = Patience(Duration::from_secs(10));
    let hold = budget.hold("call", tokens(1), patience).await;
    let settled = hold.expect("it fits").settle_amount(tokens(1));
    let written = settled.expect("it settles").durable().await;
    written.expect("it is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_are_acted_upon_within_a_second_under_load() {
    let dir = temp::Dir::new();
    let fisc = Fisc::open(Options::at(dir.join("ledger.db"))).expect("a ledger opens");
    fisc.allocate("root", limit(i64::MAX / 2))
        .await
        .expect("root");
    for agent in 0..AGENTS {
        let path = format!("root/{agent}");
        fisc.allocate(&path, limit(LIMIT)).await.expect("it fits");
    }
    let acting = tokio::spawn(act(fisc.clone()));
    let pause = Duration::from_secs(1) / CALLS_A_SECOND as u32;
    let mut due = tokio::time::interval(pause);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..CALLS_A_SECOND * SECONDS {
        due.tick().await;
        calls.spawn(call(fisc.clone(), number % AGENTS));
    }
    while let Some(called) = calls.join_next().await {
        called.expect("a call ends");
    }
    // The last crossing is taken by a task that was told of it a moment ago.
    tokio::time::timeout(Duration::from_secs(1), async {
        while fisc.responsiveness().count() < 4 * AGENTS as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("every crossing is acted upon");
    acting.abort();
    let within = |micros| fisc.responsiveness().share_within(TimeUs(micros));
    let count = fisc.responsiveness().count();
    println!(
        "{count} crossings at {CALLS_A_SECOND} calls/s: within 1 ms {:?}, 10 ms {:?}, 1 s {:?}",
        within(1_000),
        within(10_000),
        within(1_000_000)
    );
    assert_eq!(count, 4 * AGENTS as u64, "Yellow, Orange, Red, Black");
    assert!(within(1_000_000) >= Some(0.999));
    fisc.close().await.expect("the ledger closes");
}
