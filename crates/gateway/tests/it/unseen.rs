//! Calls of which nobody saw what they did cost: they are charged at what was held, and a call
//! whose cost nobody could tell is not made where cost is limited.

use std::time::Duration;

use fisc::core::Resource;
use fisc::{Durability, Limits, Outcome, Terms};
use fisc_gateway::{Credential, OnDisconnect, Policy};
use fisc_rehearsal::Wire;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::{Books, House, Plan};
use crate::raw::{self, Ask, Beside, Ended, Fake, PRICES};

const WIRES: [Wire; 2] = [Wire::OpenAi, Wire::Anthropic];
/// The cap of every call here.
const CAP: u64 = 200;

/// What a provider says before it falls silent.
const SILENCES: [&str; 2] = [
    "",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
];

#[tokio::test]
async fn a_cancelled_stream_of_which_nothing_was_seen_is_charged_at_what_was_held() {
    for wire in WIRES {
        for (number, said) in SILENCES.into_iter().enumerate() {
            let house = house(Terms::default()).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("it is bound"));
            let mut beside = Beside::new(&house, &url, &Credential::Nothing);
            beside.policy = Policy {
                on_disconnect: OnDisconnect::Cancel,
                ..Policy::default()
            };
            let gateway = beside.start(&house).await;
            let ask = Ask::new(wire, true, "silent", "").capped(CAP);
            let mut client = raw::send(gateway.addr(), &ask.request(&house)).await;
            let (mut provider, _) = listener.accept().await.expect("the call is made");
            raw::whole_request(&mut provider).await;
            provider.write_all(said.as_bytes()).await.expect("it reads");
            if !said.is_empty() {
                let head = raw::read_some(&mut client, 20).await;
                assert!(head.starts_with(b"HTTP/1.1 200"), "{number}");
            }
            client.set_zero_linger().expect("a socket");
            drop(client);
            let end = end_of(&house, "silent").await;
            is_charged_at_its_hold(&end, Outcome::ClientGone);
            gateway.shutdown(Duration::from_secs(1)).await;
            house.stop().await;
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_is_not_read_as_text() {
    // Read as text, this would be a call of next to nothing.
    let openai = concat!(
        "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},",
        "\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
        "data: [DONE]\n\n",
    );
    let anthropic = concat!(
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\n",
        "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":1}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    for (wire, text) in [(Wire::OpenAi, openai), (Wire::Anthropic, anthropic)] {
        let house = house(Terms::default()).await;
        let headers = [
            ("content-type", "text/event-stream"),
            ("content-encoding", "gzip"),
        ];
        let fake = Fake::start(raw::reply("200 OK", &headers, text.as_bytes())).await;
        let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
        let ask = Ask::new(wire, true, "zipped", "").capped(CAP);
        let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
        assert_eq!(
            (seen.status, seen.header("content-encoding")),
            (200, Some("gzip"))
        );
        assert_eq!(seen.text(), text, "not a byte is changed");
        let end = end_of(&house, "zipped").await;
        is_charged_at_its_hold(&end, Outcome::Completed);
        gateway.shutdown(Duration::from_secs(1)).await;
        house.stop().await;
    }
}

#[tokio::test]
async fn a_limit_on_the_cost_of_one_call_refuses_models_that_nobody_priced() {
    let of_one_call = |resource, units| Terms {
        per_call: Limits::NONE.with(resource, Some(units)),
        ..Terms::default()
    };
    // A limit on tokens needs no price; neither does none at all.
    for (terms, status) in [
        (of_one_call(Resource::Cost, 1_000_000_000), 402),
        (of_one_call(Resource::Tokens, 1_000_000), 200),
        (Terms::default(), 200),
    ] {
        let house = House::start(Plan {
            root: terms,
            ..Plan::default()
        })
        .await;
        let body = json!({
            "model": "a-model-that-nobody-priced",
            "max_tokens": 20,
            "messages": [{ "role": "user", "content": "[[rehearsal tokens=5]] Quick." }],
        });
        let path = house.path(Wire::OpenAi, "a");
        let answer = house.client.post_json(&path, &[], body.to_string()).await;
        let answer = answer.expect("the gateway answers");
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 402 {
            assert_eq!(answer.json()["error"]["code"], "model_unpriced");
            assert!(house.truth().await.is_empty(), "nothing was sent");
        }
        house.check_books().await;
        house.stop().await;
    }
}

/// Checks that a call was charged all the tokens that it held.
#[track_caller]
fn is_charged_at_its_hold(end: &Ended, outcome: Outcome) {
    let facts = end.facts.as_ref().expect("it was sent");
    assert!(facts.estimated, "{facts:?}");
    assert_eq!(facts.outcome, outcome);
    assert_eq!(facts.usage.output(), CAP, "{facts:?}");
    assert_eq!(end.charged.tokens(), end.held.tokens(), "{end:?}");
    assert!(end.charged.fits(&end.held), "{end:?}");
    let least = 3_000 * facts.usage.input() + 15_000 * CAP;
    assert!(end.charged.cost().nanos() >= least as i64, "{end:?}");
}

async fn end_of(house: &House, name: &str) -> Ended {
    let mut ended = raw::ended(house).await;
    let ends = ended.remove(name).unwrap_or_default();
    let [end] = <[Ended; 1]>::try_from(ends).expect("one hold was taken");
    end
}

async fn house(root: Terms) -> House {
    House::start(Plan {
        root,
        books: Books::File(Durability::Process),
        prices: Some(PRICES.to_owned()),
        ..Plan::default()
    })
    .await
}
