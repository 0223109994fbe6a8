//! Webhooks, told what happens over real connections: signed, retried, bounded, and never in the
//! way of a call.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fisc::core::Resource;
use fisc::{Amount, Event, Fisc, Level, Money, Options, Patience, Sign, Terms, TimeUs, Tokens};
use fisc_gateway::{
    AlertKind, Credential, Gateway, Keyring, OnRunaway, Parts, Policy, Provider, Secret,
    UnknownPrice, Upstream, Webhook,
};
use fisc_llm::PriceBook;
use fisc_rehearsal::Wire;
use fisc_testkit::temp;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::agents::simple;
use crate::harness::{House, Plan, ROOT, limited};

const KEY: &str = "a-key-of-webhooks-for-tests-alone";
const SECOND: TimeUs = TimeUs(1_000_000);
/// How long an alert may take to arrive.
const ARRIVES: Duration = Duration::from_secs(20);
/// So long a silence says that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// What a receiver answers.
#[derive(Clone)]
enum Reply {
    Status(u16),
    Redirect(String),
    Never,
}

/// A request that came.
#[derive(Clone)]
struct Taken {
    head: String,
    body: Vec<u8>,
}

/// A server that takes alerts.
struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Answers the first requests as told, and all after them as the last of these.
    async fn start(replies: Vec<Reply>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has free ports");
        let address = listener.local_addr().expect("it listens");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        let serving = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("connections come");
                let (kept, replies) = (Arc::clone(&kept), replies.clone());
                tokio::spawn(async move {
                    let Some(request) = read(&mut socket).await else {
                        return;
                    };
                    let number = {
                        let mut kept = kept.lock().expect("no panic");
                        kept.push(request);
                        kept.len() - 1
                    };
                    let reply = replies[number.min(replies.len() - 1)].clone();
                    answer(&mut socket, reply).await;
                });
            }
        });
        Receiver {
            address,
            taken,
            serving,
        }
    }

    fn hook(&self) -> Webhook {
        self.hook_at("127.0.0.1", true).expect("a webhook")
    }

    fn hook_at(&self, host: &str, private: bool) -> Result<Webhook, fisc_gateway::WebhookError> {
        let url = format!("http://{host}:{}/hooks/fisc?team=a", self.address.port());
        Webhook::new(&url, &Secret::new(KEY), private)
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("no panic").clone()
    }

    /// Waits until that many requests came, and no longer.
    async fn wait(&self, count: usize) -> Vec<Taken> {
        let came = async {
            while self.taken().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(ARRIVES, came).await;
        let taken = self.taken();
        assert!(came.is_ok(), "{} of {count} came", taken.len());
        taken
    }

    /// Waits until that many requests came, and then for a silence.
    async fn exactly(&self, count: usize) -> Vec<Taken> {
        self.wait(count).await;
        tokio::time::sleep(SILENCE).await;
        let taken = self.taken();
        let told: Vec<_> = taken.iter().map(Taken::json).collect();
        assert_eq!(taken.len(), count, "{told:?}");
        taken
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Taken {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .1
    }

    /// Verifies as a receiver does, with nothing but the key and what came.
    fn verify(&self) {
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("a key");
        for part in [
            self.header("webhook-id"),
            ".",
            self.header("webhook-timestamp"),
            ".",
        ] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.body);
        let signature = self.header("webhook-signature");
        let signature = signature.strip_prefix("v1,").expect("a version");
        let signature = STANDARD.decode(signature).expect("base64");
        mac.verify_slice(&signature)
            .expect("the signature is right");
    }
}

async fn read(socket: &mut TcpStream) -> Option<Taken> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket
            .read(&mut piece)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let taken = Taken {
            head,
            body: bytes[end + 4..].to_vec(),
        };
        if taken.body.len() >= taken.header("content-length").parse().expect("a length") {
            return Some(taken);
        }
    }
}

async fn answer(socket: &mut TcpStream, reply: Reply) {
    let text = match reply {
        Reply::Never => std::future::pending().await,
        Reply::Status(status) => format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n"),
        Reply::Redirect(to) => {
            format!("HTTP/1.1 307 So\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
    };
    // Who has hung up need not be answered.
    let _ = socket.write_all(text.as_bytes()).await;
}

fn plan(webhook: Webhook) -> Plan {
    Plan {
        root: limited(Resource::Tokens, 100_000),
        webhooks: vec![webhook],
        ..Plan::default()
    }
}

/// Spends tokens of the root, in thousands of 100.
async fn spend(house: &House, thousands: i64) {
    let amount = Amount::new(Tokens(thousands * 1_000), Money::ZERO, TimeUs(0));
    house.spend(amount).await;
}

fn ask(message: &str) -> String {
    simple(message, Some(20), false)
}

async fn call(house: &House, agent: &str, body: &str) -> u16 {
    let path = house.path(Wire::OpenAi, agent);
    let answer = house.client.post_json(&path, &[], body.to_owned()).await;
    answer.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_changes_is_told_at_once_and_signed() {
    let receiver = Receiver::start(vec![Reply::Status(204)]).await;
    let house = House::start(plan(receiver.hook())).await;
    spend(&house, 60).await;
    spend(&house, 1).await;
    let taken = receiver.exactly(1).await;
    let expected = json!({"budget": ROOT, "resource": "tokens", "from": "green", "to": "yellow"});
    let told = taken[0].json();
    assert_eq!((&told["type"], &told["data"]), (&json!("level"), &expected));
    taken[0].verify();
    assert!(
        taken[0]
            .head
            .starts_with("POST /hooks/fisc?team=a HTTP/1.1")
    );
    let sent: i64 = taken[0]
        .header("webhook-timestamp")
        .parse()
        .expect("seconds");
    assert!((house.fisc.now().0 / 1_000_000 - sent).abs() <= 5, "{sent}");
    assert_eq!(house.gateway.alerts().delivered, 1);
    // The gateway was the first to see it, and soon.
    let took = house.fisc.responsiveness();
    assert_eq!((took.count(), took.share_within(SECOND)), (1, Some(1.0)));
    // Two levels at once are two alerts, in order, each with an id of its own.
    spend(&house, 31).await;
    let taken = receiver.exactly(3).await;
    let told: Vec<_> = taken
        .iter()
        .map(|taken| taken.json()["data"]["to"].clone())
        .collect();
    assert_eq!(told, ["yellow", "orange", "red"]);
    assert_ne!(taken[1].header("webhook-id"), taken[2].header("webhook-id"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_sent_again_as_the_same_alert() {
    let replies = [Reply::Status(500), Reply::Status(429), Reply::Status(200)];
    let receiver = Receiver::start(replies.to_vec()).await;
    let house = House::start(plan(receiver.hook())).await;
    spend(&house, 60).await;
    let taken = receiver.exactly(3).await;
    for again in &taken {
        again.verify();
        assert_eq!(again.body, taken[0].body);
        assert_eq!(again.header("webhook-id"), taken[0].header("webhook-id"));
    }
    let counts = house.gateway.alerts();
    assert_eq!((counts.delivered, counts.retried, counts.failed), (1, 2, 0));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_no_call_and_its_queue_is_bounded() {
    let receiver = Receiver::start(vec![Reply::Never]).await;
    let house = House::start(plan(receiver.hook())).await;
    spend(&house, 60).await;
    receiver.wait(1).await;
    let began = house.fisc.ticks();
    for _ in 0..50 {
        let body = ask("hello");
        assert_eq!(call(&house, "a", &body).await, 200);
    }
    let took = house.fisc.ticks().0 - began.0;
    assert!(took < 5 * SECOND.0, "fifty calls took {took} µs");
    // Faster than anybody could deliver: the queue keeps the newest, and what it drops is counted.
    let before = house.gateway.alerts().dropped;
    let (budget, sign) = (house.root().id(), Sign::Rate);
    for _ in 0..1_000 {
        house.fisc.tell(Event::Runaway { budget, sign });
    }
    let told = async {
        while house.gateway.alerts().dropped + 256 < before + 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ARRIVES, told)
        .await
        .expect("the oldest are dropped and counted");
    tokio::time::sleep(SILENCE).await;
    // What was in the queue before was dropped, too: the loop of equal calls was told.
    let dropped = house.gateway.alerts().dropped;
    assert!((744..760).contains(&dropped), "{dropped}");
    assert_eq!(house.gateway.alerts().delivered, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_this_machine_is_not_connected_to_unless_the_owner_says_so() {
    let receiver = Receiver::start(vec![Reply::Status(200)]).await;
    // As an address it is refused at once, as a name when it is looked up.
    assert!(receiver.hook_at("127.0.0.1", false).is_err());
    assert!(receiver.hook_at("[::ffff:127.0.0.1]", false).is_err());
    let named = receiver.hook_at("localhost", false).expect("a name");
    let house = House::start(plan(named)).await;
    spend(&house, 60).await;
    let given_up = async {
        while house.gateway.alerts().failed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ARRIVES, given_up)
        .await
        .expect("it is given up at once");
    receiver.exactly(0).await;
    assert_eq!(house.gateway.alerts().retried, 0);
    house.stop().await;
    // The same name, allowed.
    let named = receiver.hook_at("localhost", true).expect("a name");
    let house = House::start(plan(named)).await;
    spend(&house, 60).await;
    receiver.exactly(1).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let other = Receiver::start(vec![Reply::Status(200)]).await;
    let to = format!("http://{}/elsewhere", other.address);
    let receiver = Receiver::start(vec![Reply::Redirect(to)]).await;
    let house = House::start(plan(receiver.hook())).await;
    spend(&house, 60).await;
    receiver.exactly(1).await;
    other.exactly(0).await;
    let counts = house.gateway.alerts();
    assert_eq!((counts.delivered, counts.retried, counts.failed), (0, 0, 1));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_only_what_it_wants() {
    let receiver = Receiver::start(vec![Reply::Status(200)]).await;
    let kinds = [AlertKind::Level, AlertKind::Unpriced];
    let hook = receiver.hook().with_kinds(kinds).with_min_level(Level::Red);
    let below = format!("{ROOT}/a/*");
    let house = House::start(Plan {
        webhooks: vec![hook.clone(), hook.with_budgets([below])],
        ..plan(receiver.hook())
    })
    .await;
    spend(&house, 80).await;
    let frozen = house.fisc.set_frozen(house.root().id(), true).await;
    frozen.expect("it is frozen");
    let thawed = house.fisc.set_frozen(house.root().id(), false).await;
    thawed.expect("it goes on");
    spend(&house, 11).await;
    // The first webhook wants the last of all these, and the second none.
    let taken = receiver.exactly(1).await;
    assert_eq!(taken[0].json()["data"]["to"], "red");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_told_once() {
    let receiver = Receiver::start(vec![Reply::Status(200)]).await;
    let hook = || receiver.hook().with_kinds([AlertKind::Unpriced]);
    let body = |model: &str| {
        let mut body: Value = serde_json::from_str(&ask("hello")).expect("JSON");
        body["model"] = model.into();
        body.to_string()
    };
    let house = House::start(plan(hook())).await;
    for model in ["made-up-1", "made-up-1", "made-up-2", "made-up-1"] {
        assert_eq!(call(&house, "a", &body(model)).await, 200);
    }
    let taken = receiver.exactly(2).await;
    let expected = json!({"budget": "run/a", "provider": "openai", "model": "made-up-1"});
    assert_eq!(taken[0].json()["data"], expected);
    house.stop().await;
    // Also where it is refused; but not where the owner said that it costs nothing.
    let refusing = Plan {
        root: limited(Resource::Cost, 1_000_000_000),
        ..plan(hook())
    };
    let house = House::start(refusing).await;
    assert_ne!(call(&house, "a", &body("made-up-1")).await, 200);
    receiver.exactly(3).await;
    house.stop().await;
    let mut free = plan(hook());
    free.policy.unknown_price = UnknownPrice::Free;
    let house = House::start(free).await;
    assert_eq!(call(&house, "a", &body("made-up-1")).await, 200);
    receiver.exactly(3).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_told_and_raises_a_level_where_the_owner_wants_it() {
    for (on_runaway, told, raised) in [
        (OnRunaway::Off, 0, None),
        (OnRunaway::Tell, 1, None),
        (OnRunaway::Raise, 1, Some(Sign::Repeats)),
    ] {
        let receiver = Receiver::start(vec![Reply::Status(200)]).await;
        let mut plan = plan(receiver.hook().with_kinds([AlertKind::Runaway]));
        plan.policy.on_runaway = on_runaway;
        let house = House::start(plan).await;
        let same = ask("again");
        for number in 0..12 {
            assert_eq!(call(&house, "looping", &same).await, 200);
            let other = ask(&format!("task {number}"));
            assert_eq!(call(&house, "working", &other).await, 200);
        }
        for taken in receiver.exactly(told).await {
            let expected = json!({"budget": "run/looping", "sign": "repeats"});
            assert_eq!(taken.json()["data"], expected);
        }
        let why = |agent: &str| {
            let id = house.status(&format!("{ROOT}/{agent}")).id;
            house.fisc.raised(id).map(|raised| raised.why)
        };
        assert_eq!((why("looping"), why("working")), (raised, None));
        house.stop().await;
    }
}

/// Ends a process's books while a call runs.
async fn leave_a_hold(options: Options) {
    let fisc = Fisc::open(options).expect("a ledger opens");
    let root = fisc
        .allocate("team", Terms::default())
        .await
        .expect("a root");
    let amount = Amount::new(Tokens(7), Money::ZERO, TimeUs(0));
    let hold = root
        .hold("research", amount, Patience(Duration::ZERO))
        .await;
    std::mem::forget(hold.expect("it fits"));
    fisc.close().await.expect("a ledger closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_in_doubt_are_told_at_the_start() {
    let directory = temp::Dir::new();
    let options = || Options::at(directory.join("ledger.db"));
    leave_a_hold(options()).await;
    let receiver = Receiver::start(vec![Reply::Status(200)]).await;
    let fisc = Fisc::open(options()).expect("a ledger opens");
    let run = Secret::generate().expect("there is randomness");
    let upstream = Upstream::new(Provider::OpenAi, "http://127.0.0.1:9", &Credential::Nothing);
    let elsewhere = receiver.hook().with_budgets(["other/*".to_owned()]);
    let parts = Parts {
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        hosts: Vec::new(),
        keyring: Keyring::new().with_run(&run, "team"),
        upstreams: vec![upstream.expect("a URL")],
        prices: PriceBook::builtin(),
        policy: Policy::default(),
        webhooks: vec![receiver.hook(), elsewhere],
        taught_by: Vec::new(),
    };
    let gateway = Gateway::start(parts, fisc.clone()).expect("a gateway starts");
    let taken = receiver.exactly(1).await;
    taken[0].verify();
    let told = taken[0].json();
    assert_eq!(
        (&told["type"], &told["data"]["count"]),
        (&json!("in-doubt"), &json!(1))
    );
    let hold = &told["data"]["holds"][0];
    assert_eq!(hold["hold"], fisc.in_doubt()[0].id.to_string());
    let said = (
        &hold["budget"],
        &hold["operation"],
        &hold["charged"]["tokens"],
    );
    assert_eq!(said, (&json!("team"), &json!("research"), &json!(7)));
    gateway.shutdown(Duration::ZERO).await;
    fisc.close().await.expect("a ledger closes");
}
