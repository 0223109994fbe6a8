//! Requests that no SDK sends: slow, large, ambiguous, smuggled. None takes a hold before its
//! body is whole, none reaches the provider as something else than what was judged.

use std::time::{Duration, Instant};

use fisc::core::Resource;
use fisc::{Durability, Terms};
use fisc_gateway::Credential;
use fisc_rehearsal::Wire;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Books, House, Plan, limited};
use crate::raw::{self, Ask, Fake, PRICES, Seen};

/// Headers of a request.
type Headers<'h> = Vec<(&'h str, &'h str)>;

/// The largest body that is read.
const BODY_BYTES_MAX: usize = 32 << 20;

// === slow clients ===

#[tokio::test]
async fn slow_headers_are_given_up_within_ten_seconds() {
    let house = house(Terms::default()).await;
    let silent = raw::send(house.gateway.addr(), b"").await;
    let half = raw::send(house.gateway.addr(), b"POST /r/x HTTP/1.1\r\nhost: loc").await;
    let trickling = raw::send(house.gateway.addr(), b"GET / HTTP/1.1\r\nx-long: ").await;
    let began = now();
    let (silent, half, trickling) = tokio::join!(
        trickle(silent, b"", Duration::ZERO),
        trickle(half, b"", Duration::ZERO),
        trickle(trickling, b"a", Duration::from_millis(500)),
    );
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(5),
        "a usual client is not hurried: {took:?}"
    );
    assert!(took <= Duration::from_secs(11), "{took:?}");
    for answer in [silent, half, trickling] {
        let status = Seen::read(&answer).map(|seen| seen.status);
        assert!(status.is_none_or(|status| status == 408), "{status:?}");
    }
    nothing_was_held(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn slow_bodies_are_given_up_and_take_no_hold() {
    let house = house(Terms::default()).await;
    let ask = Ask::new(Wire::OpenAi, false, "slow", "tokens=5");
    let request = raw::post(&ask.path(&house), &[], &vec![b' '; 1_000_000]);
    let head = request.len() - 1_000_000;
    let silent = raw::send(house.gateway.addr(), &request[..head + 10]).await;
    let trickling = raw::send(house.gateway.addr(), &request[..head]).await;
    let began = now();
    let (silent, trickling) = tokio::join!(
        trickle(silent, b"", Duration::ZERO),
        trickle(trickling, b" ", Duration::from_millis(250)),
    );
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(32), "{took:?}");
    for answer in [silent, trickling] {
        let seen = Seen::read(&answer).expect("an answer");
        assert_eq!((seen.status, seen.code().as_str()), (408, "slow_body"));
        assert_eq!(seen.header("connection"), Some("close"));
    }
    nothing_was_held(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told() {
    let house = house(Terms::default()).await;
    let ask = Ask::new(Wire::OpenAi, false, "polite", "tokens=5");
    let body = ask.body();
    let headers = [("expect", "100-continue")];
    let request = raw::post(&ask.path(&house), &headers, body.as_bytes());
    let head = request.len() - body.len();
    let mut socket = raw::send(house.gateway.addr(), &request[..head]).await;
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.expect("it is told");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).await.expect("it reads");
    assert_eq!(raw::answer(&mut socket).await.status, 200);
    house.stop().await;
}

// === framing ===

#[tokio::test]
async fn a_request_of_two_lengths_is_never_two_requests() {
    let house = house(Terms::default()).await;
    let fake = Fake::start(raw::reply("200 OK", &[], b"{}")).await;
    let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
    let ask = Ask::new(Wire::OpenAi, false, "smuggler", "tokens=5");
    let (path, body) = (ask.path(&house), ask.body());
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let smuggled = raw::post(&path.replace("smuggler", "smuggled"), &[], body.as_bytes());
    let smuggled = String::from_utf8(smuggled).expect("text");
    let length = format!("{}", body.len());
    let cases: [(&str, Headers<'_>, String); 8] = [
        (
            "both",
            vec![("content-length", "4"), ("transfer-encoding", "chunked")],
            chunked.clone(),
        ),
        (
            "both turned",
            vec![("transfer-encoding", "chunked"), ("content-length", "4")],
            chunked,
        ),
        (
            "two lengths",
            vec![("content-length", &length), ("content-length", "4")],
            body.clone(),
        ),
        ("a list", vec![("content-length", "4, 5")], body.clone()),
        ("signed", vec![("content-length", "+4")], body.clone()),
        (
            "not chunked",
            vec![("transfer-encoding", "identity")],
            body.clone(),
        ),
        (
            "not last",
            vec![("transfer-encoding", "chunked, identity")],
            body.clone(),
        ),
        (
            "a size that is none",
            vec![("transfer-encoding", "chunked")],
            format!("4x\r\n{body}"),
        ),
    ];
    for (case, headers, body) in cases {
        let made = fake.got().len();
        let request = raw::request("POST", &path, &headers, (body + &smuggled).as_bytes());
        let mut socket = raw::send(gateway.addr(), &request).await;
        let bytes = rest(&mut socket).await;
        // What may be read in two ways is either refused, or read in one; then the connection
        // ends, by a reset where something was left unread, which may overtake the answer.
        let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{case}: {}", String::from_utf8_lossy(&bytes));
        let first = Seen::read(&bytes).map(|seen| seen.status);
        assert!(
            first.is_none_or(|status| [200, 400].contains(&status)),
            "{case}: {first:?}"
        );
        let made = fake.got().len() - made;
        assert!(
            made <= usize::from(case.starts_with("both")),
            "{case}: {made} were made"
        );
    }
    assert!(
        !fake.got().is_empty(),
        "one length is well-formed beside chunks"
    );
    for got in fake.got() {
        let got = String::from_utf8(got).expect("text").to_lowercase();
        assert!(!got.contains("transfer-encoding"), "{got}");
        assert_eq!(got.matches("content-length").count(), 1, "{got}");
        assert_eq!(
            got.split_once("\r\n\r\n").expect("a head").1,
            ask.body().to_lowercase()
        );
    }
    assert!(!raw::ended(&house).await.contains_key("smuggled"));
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

#[tokio::test]
async fn a_second_request_behind_an_upgrade_is_judged_by_itself() {
    let house = house(Terms::default()).await;
    let fake = Fake::start(raw::reply("200 OK", &[], b"{}")).await;
    let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
    let ask = Ask::new(Wire::OpenAi, false, "upgrader", "tokens=5");
    let headers = [
        ("connection", "upgrade, te"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
    ];
    let first = raw::post(&ask.path(&house), &headers, ask.body().as_bytes());
    let second = raw::post("/v1/chat/completions", &[], ask.body().as_bytes());
    let mut socket = raw::send(gateway.addr(), &[first, second].concat()).await;
    let answers = [200, 401];
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let both = async {
        for expected in answers {
            loop {
                match Seen::read(&bytes) {
                    Some(seen) if seen.whole => {
                        assert_eq!(seen.status, expected, "{}", seen.text());
                        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                        let head = head.expect("it was read") + 4;
                        bytes.drain(..head + seen.body.len());
                        break;
                    }
                    _ => {
                        let length = socket.read(&mut piece).await.expect("it answers");
                        assert!(length > 0, "two answers");
                        bytes.extend_from_slice(&piece[..length]);
                    }
                }
            }
        }
    };
    let both = tokio::time::timeout(Duration::from_secs(10), both).await;
    both.expect("both are answered");
    let [got] = &fake.got()[..] else {
        panic!("one is made")
    };
    let got = String::from_utf8_lossy(got).to_lowercase();
    assert!(!got.contains("upgrade:") && !got.contains("\nte:"), "{got}");
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

// === bodies ===

#[tokio::test]
async fn a_body_that_can_be_read_in_two_ways_is_refused() {
    let house = house(Terms::default()).await;
    let ask = Ask::new(Wire::OpenAi, false, "double", "tokens=5");
    let body = ask.body();
    let with = |member: &str| format!("{{{member},{}", &body[1..]);
    for (wire, body) in [
        (Wire::OpenAi, with(r#""max_tokens":1"#)),
        (Wire::OpenAi, with(r#""max\u005ftokens":1"#)),
        (Wire::OpenAi, with(r#""model":"gpt-4.1-nano""#)),
        (Wire::OpenAi, with(r#""stream":true"#)),
        (Wire::OpenAi, with(r#""n":1,"n":100"#)),
        (Wire::OpenAi, with(r#""messages":[]"#)),
        (Wire::Anthropic, with(r#""max_tokens":1"#)),
        (Wire::OpenAi, body.clone() + "x"),
        (Wire::OpenAi, body.clone() + &body),
        (Wire::OpenAi, body[..body.len() - 1].to_owned()),
        (Wire::OpenAi, String::new()),
        (Wire::OpenAi, "[".repeat(100_000)),
        (Wire::OpenAi, with(r#""n":-1"#)),
        (Wire::OpenAi, with(r#""max_completion_tokens":1e999"#)),
    ] {
        let ask = Ask {
            wire,
            ..ask.clone()
        };
        let request = raw::post(&ask.path(&house), &[], body.as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        let start: String = body.chars().take(80).collect();
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (400, "bad_request"),
            "{start}"
        );
        assert_eq!(seen.header("x-should-retry"), Some("false"));
    }
    nothing_was_held(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    let house = house(Terms::default()).await;
    let ask = Ask::new(Wire::Anthropic, false, "packed", "tokens=5");
    for encoding in ["gzip", "br", "zstd", "identity, gzip", "x-unknown"] {
        let headers = [("content-encoding", encoding)];
        let request = raw::post(&ask.path(&house), &headers, ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (415, "content_encoding"),
            "{encoding}"
        );
    }
    let twice = [
        ("content-encoding", "identity"),
        ("content-encoding", "gzip"),
    ];
    let request = raw::post(&ask.path(&house), &twice, ask.body().as_bytes());
    assert_eq!(
        raw::exchange(house.gateway.addr(), &request).await.status,
        415
    );
    nothing_was_held(&house).await;
    let plain = [("content-encoding", "identity")];
    let request = raw::post(&ask.path(&house), &plain, ask.body().as_bytes());
    assert_eq!(
        raw::exchange(house.gateway.addr(), &request).await.status,
        200
    );
    house.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let house = house(Terms::default()).await;
    let ask = Ask::new(Wire::OpenAi, false, "large", "tokens=5");
    let length = (BODY_BYTES_MAX + 1).to_string();
    let declared = [("content-length", length.as_str())];
    let head = raw::request("POST", &ask.path(&house), &declared, b"{");
    let seen = raw::exchange(house.gateway.addr(), &head).await;
    assert_eq!(
        (seen.status, seen.code().as_str()),
        (413, "request_too_large")
    );
    assert_eq!(seen.header("connection"), Some("close"));
    // Without a declared length it is read as far as the limit, and no further.
    let chunked = [("transfer-encoding", "chunked")];
    let head = raw::request("POST", &ask.path(&house), &chunked, b"");
    let socket = raw::send(house.gateway.addr(), &head).await;
    let (mut from, mut to) = socket.into_split();
    let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    let sender = tokio::spawn(async move {
        let mut sent = 0_usize;
        while sent < 1_000 && to.write_all(&chunk).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !Seen::read(&bytes).is_some_and(|seen| seen.whole) {
        let length = from.read(&mut piece).await.expect("it answers");
        assert!(length > 0, "an answer comes before the end");
        bytes.extend_from_slice(&piece[..length]);
    }
    let seen = Seen::read(&bytes).expect("it is whole");
    assert_eq!(
        (seen.status, seen.code().as_str()),
        (413, "request_too_large")
    );
    drop(from);
    let sent = sender.await.expect("it does not panic");
    assert!((32..64).contains(&sent), "{sent} MiB were taken");
    nothing_was_held(&house).await;
    house.stop().await;
}

// === paths ===

#[tokio::test]
async fn only_exact_paths_are_served_under_a_budget() {
    let house = house(limited(Resource::Tokens, 1_000_000)).await;
    let ask = Ask::new(Wire::OpenAi, false, "path", "tokens=5");
    // With an operation named, no part of an odd path can be taken for one.
    let base = house.base("tester/o/odd");
    for path in [
        "/v1/responses",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/messages/batches",
        "/v1/messages/count_tokens/x",
        "/v1beta/models/gemini:generateContent",
        "/v1/v1/chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions;a=b",
        "/v1/Chat/Completions",
        "/V1/chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/%63hat/completions",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1/models/../chat/completions",
        "/v1/models/%2e%2e/chat/completions",
        "/v1/chat\\completions",
        "/rehearsal/truth",
        "/",
    ] {
        let request = raw::post(&format!("{base}{path}"), &[], ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert!(
            [400, 404].contains(&seen.status),
            "{path}: {} {}",
            seen.status,
            seen.text()
        );
        if seen.status == 404 {
            assert_eq!(seen.code(), "unmetered_path", "{path}");
        }
        assert_eq!(seen.header("x-should-retry"), Some("false"), "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let path = format!("{base}/v1/chat/completions");
        let request = raw::request(method, &path, &[], b"");
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (404, "unmetered_path"),
            "{method}"
        );
    }
    let whole = format!("http://localhost{base}/v1/chat/completions");
    let request = raw::post(&whole, &[], ask.body().as_bytes());
    assert_eq!(
        raw::exchange(house.gateway.addr(), &request).await.status,
        400
    );
    let tunnel = raw::request("CONNECT", "api.openai.com:443", &[], b"");
    let mut socket = raw::send(house.gateway.addr(), &tunnel).await;
    let seen = Seen::read(&raw::read_some(&mut socket, 4096).await);
    assert!(seen.is_some_and(|seen| seen.status >= 400));
    nothing_was_held(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn the_paths_that_clients_really_use_are_served() {
    let house = house(limited(Resource::Tokens, 1_000_000)).await;
    for (number, (wire, path)) in (0..).zip([
        (Wire::OpenAi, "/v1/chat/completions"),
        (Wire::OpenAi, "/chat/completions"),
        (Wire::Anthropic, "/v1/messages"),
        (Wire::Anthropic, "/messages"),
        (Wire::Anthropic, "/v1/messages?beta=true"),
    ]) {
        let name = format!("used-{number}");
        let ask = Ask::new(wire, number % 2 == 0, &name, "tokens=5");
        let path = house.base(&format!("tester/o/{name}")) + path;
        let request = raw::post(&path, &[], ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        let ended = raw::ended(&house).await;
        assert!(
            ended[&name][0].charged.cost().nanos() > 0,
            "{path} is metered"
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn what_is_free_at_the_provider_passes_and_is_not_charged() {
    // Not even a budget of nothing refuses what costs nothing.
    let house = house(limited(Resource::Cost, 0)).await;
    let base = house.base("tester");
    let to = house.gateway.addr();
    let head = raw::request("HEAD", &base, &[], b"");
    let mut socket = raw::send(to, &head).await;
    let seen = Seen::read(&raw::read_some(&mut socket, 4096).await).expect("an answer");
    assert_eq!((seen.status, seen.body.len()), (200, 0));
    assert!(house.truth().await.is_empty(), "a probe is answered here");
    let get = raw::request("GET", &format!("{base}/"), &[], b"");
    assert_eq!(raw::exchange(to, &get).await.status, 200);
    for path in ["/v1/models", "/models", "/v1/models/gpt-4o-mini"] {
        let get = raw::request("GET", &format!("{base}{path}"), &[], b"");
        let seen = raw::exchange(to, &get).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert!(
            seen.text().contains("gpt-4o-mini"),
            "{path}: {}",
            seen.text()
        );
    }
    let messages = json!([{ "role": "user", "content": "How many tokens is this?" }]);
    let body = json!({ "model": "claude-sonnet-4-5", "messages": messages }).to_string();
    for path in [
        "/v1/messages/count_tokens",
        "/messages/count_tokens?beta=true",
    ] {
        let request = raw::post(&format!("{base}{path}"), &[], body.as_bytes());
        let seen = raw::exchange(to, &request).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert!(seen.json()["input_tokens"].as_u64() > Some(0));
    }
    let ask = Ask::new(Wire::OpenAi, false, "priced", "tokens=5");
    assert_eq!(
        ask.call(&house).await.status,
        402,
        "what costs something is refused"
    );
    assert!(raw::ended(&house).await.is_empty(), "no hold was taken");
    assert_eq!(house.root().status().spent.raw(), [0; 3]);
    house.stop().await;
}

// === the end ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_streams_finish_and_settles_them() {
    let house = house(Terms::default()).await;
    let streams = open_streams(&house, 100, "tokens=60 gap_ms=20").await;
    let (fisc, rehearsal) = (house.fisc.clone(), house.rehearsal.truth().len());
    assert_eq!((fisc.open_holds(), rehearsal), (100, 100));
    let to = house.gateway.addr();
    let House {
        gateway,
        client,
        ledger,
        rehearsal,
        ..
    } = house;
    drop(client);
    let shutdown = tokio::spawn(gateway.shutdown(Duration::from_secs(30)));
    let began = now();
    for (ask, mut socket) in streams {
        let seen = raw::answer(&mut socket).await;
        assert!(seen.whole, "{}", seen.text());
        assert!(
            !seen.text().contains("shutting_down"),
            "{}: {}",
            ask.name,
            seen.text()
        );
    }
    shutdown.await.expect("it ends");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "it does not wait for its whole grace"
    );
    assert!(
        TcpStream::connect(to).await.is_err(),
        "nobody listens any more"
    );
    assert_eq!(fisc.open_holds(), 0);
    let truth: i64 = rehearsal.truth().iter().map(raw::nanos).sum();
    let root = fisc.root().expect("a root").status();
    assert_eq!(root.spent.cost().nanos(), truth);
    fisc.close().await.expect("the ledger closes");
    let verified = fisc_ledger::verify(&ledger.expect("a file")).expect("it verifies");
    assert_eq!((verified.open_holds, verified.in_doubt), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_what_outlasts_its_grace_in_order_and_settles_it() {
    let house = house(Terms::default()).await;
    let streams = open_streams(&house, 60, "tokens=200 gap_ms=500").await;
    // One that nobody answers yet, and one whose client left and which is drained.
    let hung = Ask::new(Wire::OpenAi, false, "hung", "hang");
    let mut hung = raw::send(house.gateway.addr(), &hung.request(&house)).await;
    let left = Ask::new(Wire::OpenAi, true, "left", "tokens=200 gap_ms=500");
    let mut socket = raw::send(house.gateway.addr(), &left.request(&house)).await;
    raw::read_some(&mut socket, 600).await;
    drop(socket);
    while house.rehearsal.truth().len() < 62 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (fisc, ledger) = (house.fisc.clone(), house.ledger.clone().expect("a file"));
    let House {
        gateway, rehearsal, ..
    } = house;
    let began = now();
    let shutdown = tokio::spawn(gateway.shutdown(Duration::from_millis(400)));
    for (ask, mut socket) in streams {
        let seen = raw::answer(&mut socket).await;
        assert!(seen.whole, "{}: {}", ask.name, seen.text());
        let last = raw::events(&seen.body).pop().expect("an event");
        assert!(last["error"]["message"].is_string(), "{last}");
    }
    let seen = raw::answer(&mut hung).await;
    assert_eq!((seen.status, seen.code().as_str()), (503, "shutting_down"));
    shutdown.await.expect("it ends");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(fisc.open_holds(), 0, "all holds are settled");
    fisc.close().await.expect("the ledger closes");
    let verified = fisc_ledger::verify(&ledger).expect("it verifies");
    assert_eq!((verified.open_holds, verified.in_doubt), (0, 0));
    let ended = raw::read_ended(&ledger);
    assert_eq!(ended.len(), 62);
    for (name, ends) in &ended {
        let [end] = &ends[..] else {
            panic!("{name}: {ends:?}")
        };
        let facts = end.facts.as_ref().expect("it was sent");
        assert!(
            facts.estimated && facts.usage.input() > 0,
            "{name}: {facts:?}"
        );
        assert!(end.charged.fits(&end.held), "{name}: {end:?}");
        assert!(end.charged.time().0 < 10_000_000, "{name}: {end:?}");
    }
    rehearsal.shutdown().await;
}

/// Opens streams of both wires and waits until each has begun.
async fn open_streams(house: &House, count: usize, directions: &str) -> Vec<(Ask, TcpStream)> {
    let mut streams = Vec::new();
    for number in 0..count {
        let wire = [Wire::OpenAi, Wire::Anthropic][number % 2];
        let ask = Ask::new(wire, true, &format!("live-{number}"), directions);
        let socket = raw::send(house.gateway.addr(), &ask.request(house)).await;
        streams.push((ask, socket));
    }
    for (_, socket) in &streams {
        socket.readable().await.expect("it begins");
    }
    streams
}

/// Writes a byte now and then until the other side closes; returns what it said. With no byte to
/// write it only waits.
async fn trickle(socket: TcpStream, byte: &[u8], pause: Duration) -> Vec<u8> {
    let (mut from, mut to) = socket.into_split();
    let byte = byte.to_vec();
    let writer = tokio::spawn(async move {
        if byte.is_empty() {
            std::future::pending::<()>().await;
        }
        while to.write_all(&byte).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut said = Vec::new();
    let reading = from.read_to_end(&mut said);
    let read = tokio::time::timeout(Duration::from_mins(1), reading).await;
    // That it was reset is an end as well.
    let _ = read.expect("the connection is closed");
    writer.abort();
    said
}

/// Reads what else comes until the connection ends.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut bytes));
    // That it was reset is an end as well.
    let _ = reading.await.expect("the connection is closed");
    bytes
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

async fn nothing_was_held(house: &House) {
    assert!(raw::ended(house).await.is_empty(), "no hold was taken");
    assert!(
        house.truth().await.is_empty(),
        "nothing reached the provider"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures how long it took, decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}
