//! Agents that are born while it runs: 64 calls at once under a name that nobody saw before make
//! one budget, and all of them are counted there.

use std::collections::HashSet;
use std::sync::Arc;

use fisc::Durability;
use fisc::core::Resource;
use fisc_rehearsal::{Latency, Settings, Wire};
use tokio::sync::Barrier;

use crate::agents::{Agent, Manner};
use crate::harness::{Books, House, Plan, ROOT, limited};

/// How many calls come at once under one name.
const TWINS: usize = 64;
/// Names, all of them called at once.
const NAMES: [&str; 6] = [
    "planner",
    "planner.worker",
    "planner.worker.helper",
    "solo",
    "team.left.one",
    "team.right.one",
];

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_under_a_new_name_make_one_budget() {
    let plan = Plan {
        provider: Settings {
            latency: Latency::millis(1, 10),
            ..Settings::instant()
        },
        // Enough for all, so that nothing is refused, and yet every hold is judged at the root.
        root: limited(Resource::Tokens, 50_000_000),
        books: Books::File(Durability::Process),
        ..Plan::default()
    };
    let house = House::start(plan).await;
    call_all(&house).await;
    house.check_books().await;
    let truth = house.truth().await;
    assert_eq!(truth.len(), TWINS * NAMES.len());
    let statuses = house.fisc.statuses();
    let paths: HashSet<&str> = statuses.iter().map(|budget| &*budget.path).collect();
    assert_eq!(paths.len(), statuses.len(), "no path is there twice");
    // The root, the six, and the two teams and one group that only lie on the way.
    assert_eq!(statuses.len(), 1 + NAMES.len() + 3, "{paths:?}");
    for name in NAMES {
        let path = path_of(name);
        let own = truth
            .iter()
            .filter(|record| record.label.as_deref() == Some(&*path));
        let own: Vec<_> = own.collect();
        assert_eq!(own.len(), TWINS, "{path}");
        let (truly, spent) = (house.sum(own), house.status(&path).own_spent);
        assert_eq!(spent.tokens(), truly.tokens(), "{path}");
        assert_eq!(spent.cost(), truly.cost(), "{path}");
    }
    house.stop().await;
}

async fn call_all(house: &House) {
    let start = Arc::new(Barrier::new(TWINS * NAMES.len()));
    let mut tasks = Vec::new();
    for number in 0..TWINS * NAMES.len() {
        let name = NAMES[number % NAMES.len()];
        let agent = Agent {
            path: house.path(Wire::OpenAi, name),
            label: path_of(name),
            number,
            manner: Manner {
                wire: Wire::OpenAi,
                stream: number % 2 == 0,
                max_tokens: Some(64),
            },
        };
        let (client, start) = (house.client.clone(), Arc::clone(&start));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            agent.call(&client, 0).await
        }));
    }
    for task in tasks {
        let called = task.await.expect("an agent ends");
        assert_eq!(called.attempts, 1);
        called.answer.ok();
    }
}

fn path_of(name: &str) -> String {
    format!("{ROOT}/{}", name.replace('.', "/"))
}
