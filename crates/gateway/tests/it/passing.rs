//! Paths of which nobody knows what they cost: passed and counted where neither tokens nor cost
//! are limited, refused elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use fisc::core::{Amount, Resource, TimeUs, TokenClass};
use fisc::{Durability, Limits, Outcome, Terms};
use fisc_gateway::{Credential, Gateway};
use fisc_testkit::ports;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Books, House, Plan, limited};
use crate::raw::{self, Ended, Fake, Seen};

const BODY: &[u8] = b"{\"input\":\"what is\\u0020this\",\"model\":\"text-embedding-3-small\"}";
/// How long what still runs may take to end.
const REST: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"\x00\xff not a stream, not even text\r\n\r\n";

async fn house(root: Terms) -> House {
    let plan = Plan {
        root,
        books: Books::File(Durability::Process),
        ..Plan::default()
    };
    House::start(plan).await
}

async fn gateway_to(house: &House, to: SocketAddr) -> Gateway {
    raw::gateway_to(house, &format!("http://{to}"), &Credential::Nothing).await
}

/// Posts to a path that nobody meters, as the operation `embed`.
fn embed(house: &House) -> Vec<u8> {
    let path = format!("{}/v1/embeddings?a=b", house.base("tester/o/embed"));
    raw::post(&path, &[], BODY)
}

/// Returns how the one call ended.
async fn ended(house: &House) -> Ended {
    let mut ended = raw::ended(house).await;
    let calls = ended.remove("embed").expect("a call is counted");
    assert!(ended.is_empty(), "nothing else was");
    let [call] = &calls[..] else {
        panic!("one call: {calls:?}")
    };
    call.clone()
}

#[track_caller]
fn was_refused(seen: &Seen) {
    assert_eq!(
        (seen.status, seen.code().as_str()),
        (404, "unmetered_path"),
        "{}",
        seen.text()
    );
}

/// A provider that sends the beginning of an answer and then nothing.
struct Stalling {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Stalling {
    async fn start() -> Stalling {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning";
                let _ = socket.write_all(head).await;
                open.push(socket);
            }
        });
        Stalling { address, serving }
    }
}

impl Drop for Stalling {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn without_limits_on_tokens_and_cost_an_unmetered_path_passes_and_is_counted() {
    let house = house(limited(Resource::Time, 3_600_000_000)).await;
    let headers = [("content-type", "application/octet-stream"), ("x-own", "1")];
    let fake = Fake::start(raw::reply("200 OK", &headers, ANSWER)).await;
    let gateway = gateway_to(&house, fake.address).await;
    let seen = raw::exchange(gateway.addr(), &embed(&house)).await;
    assert_eq!((seen.status, &seen.body[..]), (200, ANSWER));
    assert!(seen.whole);
    assert_eq!(seen.header("x-own"), Some("1"));
    assert_eq!(gateway.counts().admitted, 1);

    let [got] = &fake.got()[..] else {
        panic!("one request")
    };
    assert!(got.starts_with(b"POST /v1/embeddings?a=b HTTP/1.1\r\n"));
    assert!(got.ends_with(BODY), "{}", String::from_utf8_lossy(got));

    // The client has seen the end: it is in the books already.
    assert_eq!(house.fisc.open_holds(), 0);
    let call = ended(&house).await;
    let facts = call.facts.expect("it was charged");
    assert_eq!(facts.outcome, Outcome::Completed);
    assert!(facts.estimated, "what it used is not known to be nothing");
    assert_eq!(&*facts.call.model, "unmetered");
    assert!(!facts.call.bounded);
    let used = TokenClass::ALL.map(|class| facts.usage.get(class));
    assert!(used.iter().all(|tokens| *tokens == 0), "{used:?}");
    let (tokens, cost) = (call.charged.tokens().0, call.charged.cost().nanos());
    assert_eq!((tokens, cost), (0, 0));
    assert!(call.charged.time() > TimeUs(0), "its time is charged");
    assert!(call.charged.time() <= call.held.time());
    gateway.shutdown(REST).await;
    house.stop().await;
}

#[tokio::test]
async fn an_answer_without_a_body_is_an_end_too() {
    let house = house(Terms::default()).await;
    let fake = Fake::start(raw::reply("204 No Content", &[], b"")).await;
    let gateway = gateway_to(&house, fake.address).await;
    let path = format!("{}/v1/files/file-1", house.base("tester/o/embed"));
    let request = raw::request("DELETE", &path, &[("connection", "close")], b"");
    assert_eq!(raw::exchange(gateway.addr(), &request).await.status, 204);
    assert_eq!(house.fisc.open_holds(), 0);
    let facts = ended(&house).await.facts.expect("it was charged");
    assert_eq!(facts.outcome, Outcome::Completed);
    gateway.shutdown(REST).await;
    house.stop().await;
}

#[tokio::test]
async fn a_limit_of_tokens_or_cost_anywhere_refuses_an_unmetered_path() {
    let per_call = |resource| Terms {
        per_call: Limits::NONE.with(resource, Some(1_000_000)),
        ..Terms::default()
    };
    for root in [
        limited(Resource::Tokens, 1_000_000),
        limited(Resource::Cost, 1_000_000_000),
        per_call(Resource::Tokens),
        per_call(Resource::Cost),
    ] {
        let house = house(root).await;
        let fake = Fake::start(raw::reply("200 OK", &[], ANSWER)).await;
        let gateway = gateway_to(&house, fake.address).await;
        was_refused(&raw::exchange(gateway.addr(), &embed(&house)).await);
        assert_eq!(fake.got().len(), 0, "it reached the provider");
        assert_eq!(gateway.counts().refused, 1);
        gateway.shutdown(REST).await;
        house.stop().await;
    }
    // Below a root without limits, one agent has its own.
    let house = house(Terms::default()).await;
    let terms = limited(Resource::Cost, 1_000_000_000);
    house
        .fisc
        .allocate("run/tester", terms)
        .await
        .expect("it fits");
    let request = embed(&house);
    was_refused(&raw::exchange(house.gateway.addr(), &request).await);
    house.stop().await;
}

#[tokio::test]
async fn an_ambiguous_path_is_refused_whatever_is_limited() {
    let house = house(Terms::default()).await;
    let fake = Fake::start(raw::reply("200 OK", &[], ANSWER)).await;
    let gateway = gateway_to(&house, fake.address).await;
    for path in [
        "/v1//chat/completions",
        "/v1/Messages",
        "/v1/%63hat/completions",
    ] {
        let path = format!("{}{path}", house.base("tester/o/odd"));
        let seen = raw::exchange(gateway.addr(), &raw::post(&path, &[], BODY)).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (400, "bad_request"),
            "{path}"
        );
    }
    assert_eq!(fake.got().len(), 0, "it reached the provider");
    assert_eq!(gateway.counts().refused, 3);
    gateway.shutdown(REST).await;
    house.stop().await;
}

#[tokio::test]
async fn a_limit_of_zero_denies_an_unmetered_path_too() {
    let house = house(limited(Resource::Time, 0)).await;
    let fake = Fake::start(raw::reply("200 OK", &[], ANSWER)).await;
    let gateway = gateway_to(&house, fake.address).await;
    let seen = raw::exchange(gateway.addr(), &embed(&house)).await;
    assert_eq!(
        (seen.status, seen.code().as_str()),
        (402, "budget_exhausted")
    );
    assert_eq!(fake.got().len(), 0, "it reached the provider");
    gateway.shutdown(REST).await;
    house.stop().await;
}

/// Returns how a call ended whose answer never does, and what its client saw if it did not leave.
async fn ended_of_stalling(root: Terms, leave: bool) -> (Ended, Option<Seen>) {
    let house = house(root).await;
    let provider = Stalling::start().await;
    let gateway = gateway_to(&house, provider.address).await;
    let mut socket = raw::send(gateway.addr(), &embed(&house)).await;
    let seen = if leave {
        assert!(!raw::read_some(&mut socket, 20).await.is_empty());
        drop(socket);
        None
    } else {
        Some(raw::answer(&mut socket).await)
    };
    let call = ended(&house).await;
    gateway.shutdown(REST).await;
    house.stop().await;
    (call, seen)
}

#[tokio::test]
async fn an_unmetered_call_ends_when_its_time_is_over() {
    const LIMIT: i64 = 300_000;
    let (call, seen) = ended_of_stalling(limited(Resource::Time, LIMIT), false).await;
    assert!(seen.is_some_and(|seen| !seen.whole), "it never ended");
    assert_eq!(call.charged, Amount::from_raw([0, 0, LIMIT]));
    let facts = call.facts.expect("it was charged");
    assert_eq!(facts.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn a_client_that_stops_reading_keeps_no_hold() {
    const LIMIT: i64 = 300_000;
    let house = house(limited(Resource::Time, LIMIT)).await;
    // More than all buffers on its way take.
    let long = vec![b'x'; 32 << 20];
    let fake = Fake::start(raw::reply("200 OK", &[], &long)).await;
    let gateway = gateway_to(&house, fake.address).await;
    let mut socket = raw::send(gateway.addr(), &embed(&house)).await;
    assert!(!raw::read_some(&mut socket, 20).await.is_empty());
    let call = ended(&house).await;
    assert_eq!(call.charged, Amount::from_raw([0, 0, LIMIT]));
    let facts = call.facts.expect("it was charged");
    assert_eq!(facts.outcome, Outcome::TimedOut);
    drop(socket);
    gateway.shutdown(REST).await;
    house.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_unmetered_call() {
    let (call, _) = ended_of_stalling(Terms::default(), true).await;
    let facts = call.facts.expect("it was charged");
    assert_eq!(
        (facts.outcome, facts.estimated),
        (Outcome::ClientGone, true)
    );
}

#[tokio::test]
async fn an_upstream_that_breaks_off_or_is_not_there_ends_an_unmetered_call() {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nbeginning";
    let books = house(Terms::default()).await;
    let fake = Fake::start(&broken[..]).await;
    let gateway = gateway_to(&books, fake.address).await;
    let seen = raw::exchange(gateway.addr(), &embed(&books)).await;
    assert!(!seen.whole);
    let facts = ended(&books).await.facts.expect("it was charged");
    assert_eq!(facts.outcome, Outcome::Broken);
    gateway.shutdown(REST).await;
    books.stop().await;

    let books = house(Terms::default()).await;
    let gateway = gateway_to(&books, ports::free()).await;
    let seen = raw::exchange(gateway.addr(), &embed(&books)).await;
    assert_eq!(seen.code(), "upstream_unreachable");
    assert!(ended(&books).await.facts.is_none(), "nothing was sent");
    gateway.shutdown(REST).await;
    books.stop().await;
}
