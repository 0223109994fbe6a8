//! What a caller is shown of budgets: its own and those below, never those above; what its call
//! did cost; and what a call that has to wait truly waits for.

use std::time::Duration;

use fisc::core::{Money, Resource, TimeUs};
use fisc::{Limits, Terms};
use fisc_gateway::{Credential, Keyring, Policy, Secret};
use fisc_rehearsal::Wire;

use crate::agents::simple;
use crate::harness::{House, Plan, limited};
use crate::raw::{self, Ask, Beside, Seen};

#[tokio::test]
async fn headers_show_what_is_left_up_to_the_callers_root_and_no_further() {
    let root = Terms {
        elapsed: Some(TimeUs(3_600_000_000)),
        limits: Limits::NONE
            .with(Resource::Tokens, Some(5_000))
            .with(Resource::Cost, Some(77_000_000)),
        ..Terms::default()
    };
    let house = House::start(Plan {
        root,
        ..Plan::default()
    })
    .await;
    let team = limited(Resource::Tokens, 100_000);
    house.fisc.allocate("run/team", team).await.expect("a team");
    let secret = Secret::generate().expect("there is randomness");
    let key = Credential::ApiKey(Secret::new("sk-any"));
    let mut beside = Beside::new(&house, &house.rehearsal.url(), &key);
    beside.keyring = Keyring::new().with_run(&secret, "run/team");
    let gateway = beside.start(&house).await;
    for stream in [false, true] {
        let of_team = ask(stream).call_as(&gateway, &secret).await;
        assert_eq!(of_team.status, 200, "{}", of_team.text());
        let left = of_team.header("fisc-remaining-tokens").expect("a limit");
        let left: i64 = left.parse().expect("a number");
        assert!((90_000..100_000).contains(&left), "{left}");
        for hidden in ["fisc-remaining-usd", "fisc-remaining-ms"] {
            assert_eq!(of_team.header(hidden), None, "{hidden} is the owner's");
        }
        let of_root = ask(stream).call(&house).await;
        let number = |name| {
            let text = of_root.header(name).expect("it is limited");
            text.parse::<f64>().expect("a number")
        };
        assert!(number("fisc-remaining-tokens") < 5_000.0);
        assert!(number("fisc-remaining-usd") < 0.077);
        assert!(number("fisc-remaining-ms") <= 3_600_000.0);
        assert!(number("fisc-remaining-ms") > 3_000_000.0);
    }
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

#[tokio::test]
async fn a_whole_answer_says_what_it_did_cost() {
    let house = House::start(Plan {
        root: limited(Resource::Cost, 1_000_000_000),
        ..Plan::default()
    })
    .await;
    let mut spent = 0;
    for _ in 0..3 {
        let seen = ask(false).call(&house).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
        let now = house.root().status().spent.cost().nanos();
        assert!(now > spent);
        let money = |name| {
            let text = seen.header(name).expect("a header");
            text.parse::<Money>().expect("money").nanos()
        };
        assert_eq!(money("fisc-cost-usd"), now - spent);
        // Shown as it stands when the call is over, not while it was held.
        assert_eq!(money("fisc-remaining-usd"), 1_000_000_000 - now);
        spent = now;
    }
    let failed = Ask::new(Wire::OpenAi, false, "failed", "status=500");
    let failed = failed.call(&house).await;
    assert_eq!(failed.header("fisc-cost-usd"), Some("0.00"));
    // The head of a stream goes out before anybody knows.
    assert_eq!(ask(true).call(&house).await.header("fisc-cost-usd"), None);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_more_than_its_least_is_told_what_for() {
    const LONG: &str = "[[rehearsal tokens=20 delay_ms=2000]] Think about it.";
    const QUICK: &str = "[[rehearsal tokens=20]] Quick.";
    // Room for one call of 1,000 tokens, and for a small one beside it, which waits for more.
    for (resource, limit) in [(Resource::Tokens, 1_800), (Resource::Cost, 1_500_000)] {
        let house = House::start(Plan {
            root: limited(resource, limit),
            policy: Policy {
                patience: Duration::from_millis(100),
                ..Policy::default()
            },
            ..Plan::default()
        })
        .await;
        let path = house.path(Wire::OpenAi, "");
        let call = |message: &str| {
            let body = simple(message, Some(1_000), false);
            house.client.post_json(&path, &[], body)
        };
        let hog = call(LONG);
        let waiter = async {
            while house.fisc.open_holds() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            call(QUICK).await
        };
        let (hog, waiter) = tokio::join!(hog, waiter);
        assert_eq!(hog.expect("an answer").status, 200);
        let waiter = waiter.expect("an answer");
        assert_eq!(waiter.status, 429, "{}", waiter.text());
        let body = waiter.json();
        let budget = &body["error"]["budget"];
        let figure = |name: &str| budget[name].as_i64().expect("a figure");
        assert_eq!(budget["resource"], resource.name(), "{body}");
        assert_eq!(figure("limit"), limit, "{body}");
        assert!(figure("held") > 0, "{body}");
        let free = limit - figure("spent") - figure("held");
        assert!(free > 0, "its least would fit: {body}");
        assert!(figure("needed") > free, "{body}");
        house.stop().await;
    }
}

fn ask(stream: bool) -> Ask {
    Ask::new(Wire::OpenAi, stream, "shown", "tokens=20").capped(50)
}

// === impl Ask ===

impl Ask {
    /// Makes the call at another gateway, by another secret.
    async fn call_as(&self, gateway: &fisc_gateway::Gateway, secret: &Secret) -> Seen {
        let path = format!("/r/{}/v1/chat/completions", secret.expose());
        let request = raw::post(&path, &[], self.body().as_bytes());
        raw::exchange(gateway.addr(), &request).await
    }
}
