//! Who is served and who is not, and where secrets get to: the provider's key to the provider
//! alone, the caller's keys nowhere.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fisc::Durability;
use fisc_gateway::{
    Credential, Gateway, Keyring, Parts, Policy, Provider, Secret, SecretHash, Upstream, VirtualKey,
};
use fisc_llm::PriceBook;
use fisc_rehearsal::{Settings, Wire};
use fisc_testkit::ports;
use tokio::net::TcpListener;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{Books, House, PROVIDER_KEY, Plan, ROOT};
use crate::raw::{self, Ask, Fake, PRICES, Seen};

/// The secret part of a virtual key.
const KEY_SECRET: &str = "Zq3mY7pWv9rT2kLd8sXf";
/// A key that a client sends beside its run secret.
const RUN_KEY: &str = "sk-fisc-0b5f1e.9a8b7c6d5e4f3a2b1c0d";
/// What else a client may send that is nobody's business.
const COOKIE: &str = "session=cookie-canary-4411";

// === who is served ===

#[tokio::test]
async fn without_its_secret_nobody_is_served() {
    let house = house().await;
    let guess = Secret::generate().expect("there is randomness");
    let secret = house.secret.expose();
    let ask = Ask::new(Wire::OpenAi, false, "guess", "tokens=5");
    let mut paths: Vec<String> = [
        "/v1/chat/completions",
        "/r//v1/chat/completions",
        "/r/secret/v1/chat/completions",
        "/a/tester/v1/chat/completions",
        "/v1/models",
        "/",
        "/v1/responses",
    ]
    .map(str::to_owned)
    .into();
    for wrong in [
        guess.expose(),
        &secret[..31],
        &format!("{secret}0"),
        &secret
            .to_uppercase()
            .replace(|c: char| c.is_ascii_digit(), "0"),
        &format!("%{:02x}{}", secret.as_bytes()[0], &secret[1..]),
    ] {
        paths.push(format!("/r/{wrong}/v1/chat/completions"));
        paths.push(format!("/r/{wrong}/a/tester/v1/messages"));
        paths.push(format!("/r/{wrong}/v1/models"));
    }
    paths.push(format!("/x/r/{secret}/v1/chat/completions"));
    paths.push(format!("//r/{secret}/v1/chat/completions"));
    paths.push(format!("/v1/chat/completions?r={secret}"));
    for path in &paths {
        let request = raw::post(path, &[], ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(seen.status, 401, "{path}: {}", seen.text());
        refuses_for_good(&seen);
        let get = raw::request("GET", path, &[], b"");
        let seen = raw::exchange(house.gateway.addr(), &get).await;
        assert_eq!(seen.status, 401, "{path}: {}", seen.text());
    }
    for key in [
        "Bearer sk-fisc-.x".to_owned(),
        format!("Bearer sk-fisc-run.{secret}"),
        format!("Bearer {secret}"),
        format!("Basic {secret}"),
        format!("Bearer {PROVIDER_KEY}"),
    ] {
        let headers = [("authorization", key.as_str())];
        let request = raw::post("/v1/chat/completions", &headers, ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(seen.status, 401, "{key}: {}", seen.text());
    }
    nothing_was_made(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn a_web_page_is_refused_even_with_the_secret() {
    let house = house().await;
    let ask = Ask::new(Wire::Anthropic, false, "page", "tokens=5");
    let path = ask.path(&house);
    for origin in ["https://evil.example", "null", "http://localhost", ""] {
        let headers = [("origin", origin)];
        let request = raw::post(&path, &headers, ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (403, "origin_refused"),
            "{origin}"
        );
        refuses_for_good(&seen);
        assert!(seen.header("access-control-allow-origin").is_none());
        // A browser asks first whether it may.
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        let preflight = raw::request("OPTIONS", &path, &asked, b"");
        let seen = raw::exchange(house.gateway.addr(), &preflight).await;
        assert_eq!(seen.status, 403);
        assert!(seen.header("access-control-allow-origin").is_none());
    }
    nothing_was_made(&house).await;
    house.stop().await;
}

#[tokio::test]
async fn a_foreign_name_is_refused_even_with_the_secret() {
    let house = house().await;
    let port = house.gateway.addr().port();
    let ask = Ask::new(Wire::OpenAi, false, "named", "tokens=5");
    let path = ask.path(&house);
    let foreign = [
        "rebound.example".to_owned(),
        format!("rebound.example:{port}"),
        format!("localhost.rebound.example:{port}"),
        format!("localhost.:{port}"),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ];
    for host in &foreign {
        let request = raw::post(&path, &[("host", host)], ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert!(
            [400, 403].contains(&seen.status),
            "{host}: {} {}",
            seen.status,
            seen.text()
        );
    }
    let twice = raw::post(
        &path,
        &[("host", "localhost"), ("host", "x")],
        ask.body().as_bytes(),
    );
    let seen = raw::exchange(house.gateway.addr(), &twice).await;
    assert!([400, 403].contains(&seen.status), "{}", seen.text());
    nothing_was_made(&house).await;
    for host in [format!("127.0.0.1:{port}"), format!("LocalHost:{port}")] {
        let request = raw::post(&path, &[("host", &host)], ask.body().as_bytes());
        let seen = raw::exchange(house.gateway.addr(), &request).await;
        assert_eq!(seen.status, 200, "{host}: {}", seen.text());
    }
    house.stop().await;
}

#[tokio::test]
async fn a_virtual_key_names_only_what_lies_below_its_budget() {
    let house = house().await;
    let team = house.fisc.allocate("run/team", house.root().status().terms);
    team.await.expect("it fits");
    let key = VirtualKey {
        id: "k1".to_owned(),
        hash: SecretHash::of(KEY_SECRET),
        root: format!("{ROOT}/team"),
    };
    let keyring = Keyring::new().with_run(&house.secret, ROOT).with_key(key);
    let upstream = |provider, base: &str| {
        let key = Credential::ApiKey(Secret::new(PROVIDER_KEY));
        Upstream::new(provider, base, &key).expect("a plain URL")
    };
    let url = house.rehearsal.url();
    let upstreams = vec![
        upstream(Provider::OpenAi, &format!("{url}/v1")),
        upstream(Provider::Anthropic, &url),
    ];
    let gateway = gateway(&house, keyring, upstreams).await;
    let key = format!("sk-fisc-k1.{KEY_SECRET}");
    let (bearer, named) = (format!("Bearer {key}"), format!("{key}~bob"));
    let ask = Ask::new(Wire::OpenAi, false, "keyed", "tokens=5");
    // Wherever SDKs put keys, and however the agent is named.
    for (agent, header, key, budget) in [
        ("", "authorization", &bearer, "run/team"),
        ("", "x-api-key", &key, "run/team"),
        ("", "x-goog-api-key", &key, "run/team"),
        ("", "api-key", &key, "run/team"),
        ("/a/ann", "api-key", &key, "run/team/ann"),
        ("/a/run", "api-key", &key, "run/team/run"),
        ("", "x-api-key", &named, "run/team/bob"),
    ] {
        let before = spent(&house, budget);
        let path = format!("{agent}/v1/chat/completions");
        let request = raw::post(&path, &[(header, key)], ask.body().as_bytes());
        let seen = raw::exchange(gateway.addr(), &request).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert!(
            spent(&house, budget) > before,
            "{path} {header} is charged to {budget}"
        );
    }
    // In the query, which then goes on without it.
    let request = raw::post(
        &format!("/v1/chat/completions?key={key}"),
        &[],
        ask.body().as_bytes(),
    );
    assert_eq!(raw::exchange(gateway.addr(), &request).await.status, 200);
    let root = house.root().status();
    assert_eq!(
        root.own_spent.tokens().0,
        0,
        "nothing is charged beside the key's budget"
    );
    assert_eq!(root.spent, house.status("run/team").spent);
    // No name leads out of it.
    for name in ["..", "%2e%2e", "../team", "a/../..", "run%2Fother"] {
        let headers = [("api-key", key.as_str()), ("fisc-agent", name)];
        let request = raw::post("/v1/chat/completions", &headers, ask.body().as_bytes());
        let seen = raw::exchange(gateway.addr(), &request).await;
        let below = house.fisc.statuses();
        let below = below.iter().filter(|status| status.path != ROOT);
        assert!(
            below
                .into_iter()
                .all(|status| status.path.starts_with("run/team"))
        );
        assert!([200, 400].contains(&seen.status), "{name}: {}", seen.text());
    }
    for wrong in [
        "k1.",
        "k1.Zq3mY7pWv9rT2kLd8sXg",
        "k2.Zq3mY7pWv9rT2kLd8sXf",
        "k1",
    ] {
        let headers = [("api-key", format!("sk-fisc-{wrong}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let request = raw::post("/v1/chat/completions", &headers, ask.body().as_bytes());
        let seen = raw::exchange(gateway.addr(), &request).await;
        assert_eq!(seen.status, 401, "{wrong}: {}", seen.text());
    }
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

// === where secrets get to ===

/// Keeps every line that is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

#[tokio::test]
async fn a_provider_key_is_seen_by_its_provider_alone() {
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(logged.clone())
        .with_ansi(false)
        .finish();
    // Of this thread alone, on which all tasks of this test run.
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log is kept");
    let house = house().await;
    let mut shown = everything(&house).await;
    let ledger = house.ledger.clone().expect("this house keeps a ledger");
    house.check_books().await;
    let truth = house.truth().await;
    let keys = truth
        .iter()
        .filter(|record| record.status == 200 && record.label.is_some());
    let end = &PROVIDER_KEY[PROVIDER_KEY.len() - 4..];
    let mut served = 0;
    for record in keys {
        assert_eq!(
            record.key_end.as_deref(),
            Some(end),
            "the provider gets its key"
        );
        served += 1;
    }
    assert!(served >= 10, "{served} calls were served");
    let folder = ledger.parent().expect("it lies in a folder").to_owned();
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        shown.push((path.display().to_string(), fs::read(&path).expect("a file")));
        files += 1;
    }
    assert!(files >= 2, "the ledger and its log lie there");
    let secret = house.secret.expose().to_owned();
    house.stop().await;
    drop(guard);
    let log = logged.0.lock().expect("nobody panics with it").clone();
    assert!(String::from_utf8_lossy(&log).contains("the log is kept"));
    assert!(log.len() > 1_000, "something was logged");
    shown.push(("the log".to_owned(), log));
    for (place, bytes) in &shown {
        for canary in [
            PROVIDER_KEY,
            &secret,
            KEY_SECRET,
            RUN_KEY,
            "cookie-canary-4411",
        ] {
            assert!(!contains(bytes, canary), "{canary} is in {place}");
        }
    }
}

#[tokio::test]
async fn what_a_caller_authorizes_with_never_reaches_an_upstream() {
    let house = house().await;
    let answer = raw::reply("200 OK", &[("set-cookie", "a=b"), ("x-kept", "1")], b"{}");
    let fake = Fake::start(answer).await;
    let run = house.secret.expose().to_owned();
    for credential in [
        Credential::ApiKey(Secret::new(PROVIDER_KEY)),
        Credential::Bearer(Secret::new(PROVIDER_KEY)),
        Credential::Caller,
        Credential::Nothing,
    ] {
        let gateway = raw::gateway_to(&house, &fake.url(), &credential).await;
        let ask = Ask::new(Wire::Anthropic, false, "carried", "tokens=5");
        let bearer = format!("Bearer {RUN_KEY}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-api-key", RUN_KEY),
            ("x-goog-api-key", RUN_KEY),
            ("api-key", RUN_KEY),
            ("cookie", COOKIE),
            ("proxy-authorization", RUN_KEY),
            ("fisc-agent", "carrier"),
            ("connection", "x-private"),
            ("x-private", RUN_KEY),
            ("x-kept", "yes"),
        ];
        let path = format!(
            "{}?key={RUN_KEY}&beta=true",
            house.base("tester") + "/v1/messages"
        );
        let request = raw::post(&path, &headers, ask.body().as_bytes());
        let seen = raw::exchange(gateway.addr(), &request).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
        assert_eq!(
            (seen.header("set-cookie"), seen.header("x-kept")),
            (None, Some("1"))
        );
        let got = fake.got().pop().expect("it was asked");
        for canary in [
            RUN_KEY,
            "sk-fisc",
            "cookie-canary",
            "carrier",
            "x-private",
            &run,
        ] {
            assert!(
                !contains(&got, canary),
                "{canary} in {}",
                String::from_utf8_lossy(&got)
            );
        }
        assert!(contains(&got, "POST /v1/messages?beta=true HTTP/1.1"));
        assert!(contains(&got, "x-kept: yes"));
        let carries = matches!(credential, Credential::ApiKey(_) | Credential::Bearer(_));
        assert_eq!(contains(&got, PROVIDER_KEY), carries, "{credential:?}");
        gateway.shutdown(Duration::from_secs(1)).await;
    }
    house.stop().await;
}

/// Does all that may say too much; returns every byte that came back, and every text that
/// somebody may print.
async fn everything(house: &House) -> Vec<(String, Vec<u8>)> {
    let mut shown = Vec::new();
    let bearer = format!("Bearer {RUN_KEY}");
    let keys = [
        ("authorization", bearer.as_str()),
        ("x-api-key", RUN_KEY),
        ("cookie", COOKIE),
    ];
    let to = house.gateway.addr();
    let directions = [
        "tokens=30",
        "usage=none",
        "usage=huge",
        "cut=2",
        "error_event",
        "status=401",
        "status=500",
        "html",
        "over_max",
        "crlf",
    ];
    for wire in [Wire::OpenAi, Wire::Anthropic] {
        for (stream, directions) in [true, false]
            .into_iter()
            .flat_map(|s| directions.map(|d| (s, d)))
        {
            let name = format!("s{}", shown.len());
            let ask = Ask::new(wire, stream, &name, directions);
            let request = raw::post(&ask.path(house), &keys, ask.body().as_bytes());
            shown.push((directions.to_owned(), answer_bytes(to, &request).await));
        }
    }
    let base = house.base("tester");
    for (path, headers, body) in [
        ("/v1/chat/completions", &keys[..], &b"{"[..]),
        ("/v1/responses", &keys, b"{}"),
        ("/v1/messages/count_tokens", &keys, b"{}"),
        (
            "/v1/chat/completions",
            &[("origin", "https://x.example")],
            b"{}",
        ),
        (
            "/v1/chat/completions",
            &[("content-encoding", "gzip")],
            b"{}",
        ),
        (
            "/v1/chat/completions",
            &[("fisc-agent", "a b\u{7f}")],
            b"{}",
        ),
    ] {
        let request = raw::post(&format!("{base}{path}"), headers, body);
        shown.push((path.to_owned(), answer_bytes(to, &request).await));
    }
    let models = raw::request("GET", &format!("{base}/v1/models"), &keys, b"");
    shown.push(("models".to_owned(), answer_bytes(to, &models).await));
    let wrong = raw::request(
        "GET",
        &format!("/v1/models?key=sk-fisc-k1.{KEY_SECRET}"),
        &[],
        b"",
    );
    shown.push(("a wrong key".to_owned(), answer_bytes(to, &wrong).await));
    let absolute = format!("http://localhost{base}/v1/models");
    let absolute = raw::request("GET", &absolute, &keys, b"");
    shown.push(("a whole URL".to_owned(), answer_bytes(to, &absolute).await));
    // A client that leaves, and an upstream that is not there or hangs up.
    let ask = Ask::new(Wire::OpenAi, true, "leaver", "tokens=200 gap_ms=1");
    let mut socket = raw::send(to, &ask.request(house)).await;
    shown.push(("a part".to_owned(), raw::read_some(&mut socket, 900).await));
    drop(socket);
    let credential = Credential::ApiKey(Secret::new(PROVIDER_KEY));
    let away = format!("http://{}", ports::free());
    let fake = Fake::start("not HTTP at all\r\n\r\n").await;
    for base in [away, fake.url()] {
        let gateway = raw::gateway_to(house, &base, &credential).await;
        let ask = Ask::new(Wire::OpenAi, true, "broken", "tokens=5");
        let request = raw::post(&ask.path(house), &keys, ask.body().as_bytes());
        shown.push((base, answer_bytes(gateway.addr(), &request).await));
        gateway.shutdown(Duration::from_secs(1)).await;
    }
    house.rest().await;
    let upstream = Upstream::new(Provider::OpenAi, &house.rehearsal.url(), &credential);
    let texts = [
        format!("{credential:?} {upstream:?}"),
        format!("{:?} {}", house.secret, house.secret),
        format!("{:?}", Keyring::new().with_run(&house.secret, ROOT)),
        format!(
            "{:?}",
            Upstream::new(Provider::OpenAi, "ftp://x", &credential)
        ),
        format!("{:?}", house.gateway.limiting()),
    ];
    shown.extend(texts.map(|text| ("a Debug text".to_owned(), text.into_bytes())));
    shown
}

/// Sends a request and returns all that comes back, head included.
async fn answer_bytes(to: std::net::SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut socket = raw::send(to, request).await;
    raw::read_some(&mut socket, usize::MAX).await
}

/// Starts another gateway over a house's budgets.
async fn gateway(house: &House, keyring: Keyring, upstreams: Vec<Upstream>) -> Gateway {
    let parts = Parts {
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        hosts: Vec::new(),
        keyring,
        upstreams,
        prices: PriceBook::builtin(),
        policy: Policy::default(),
        webhooks: Vec::new(),
        taught_by: Vec::new(),
    };
    Gateway::start(parts, house.fisc.clone()).expect("a gateway starts")
}

async fn house() -> House {
    House::start(Plan {
        provider: Settings {
            require_key: Some(PROVIDER_KEY.to_owned()),
            ..Settings::instant()
        },
        books: Books::File(Durability::Process),
        prices: Some(PRICES.to_owned()),
        ..Plan::default()
    })
    .await
}

async fn nothing_was_made(house: &House) {
    assert!(
        house.truth().await.is_empty(),
        "nothing reached the provider"
    );
    assert_eq!(house.counts().admitted, 0);
    assert_eq!(house.fisc.statuses().len(), 1, "no agent was made");
    assert!(raw::ended(house).await.is_empty(), "no hold was taken");
}

#[track_caller]
fn refuses_for_good(seen: &Seen) {
    assert_eq!(seen.header("x-should-retry"), Some("false"), "{seen:?}");
    assert_eq!(seen.header("retry-after"), None, "{seen:?}");
}

fn spent(house: &House, path: &str) -> i64 {
    let budget = house.fisc.budget(path);
    budget.map_or(0, |budget| budget.status().own_spent.tokens().0)
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

// === impl Logged ===

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panics with it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Logged {
    type Writer = Logged;

    fn make_writer(&'w self) -> Logged {
        self.clone()
    }
}
