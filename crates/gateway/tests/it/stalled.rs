//! Clients that stop reading: whatever fills up behind them, their hold ends when it has to, and
//! so does the call. A client that reads on afterwards finds an end in the words of its wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fisc::core::{Resource, TimeUs};
use fisc::{Durability, Outcome, Terms};
use fisc_gateway::{Credential, Gateway, Policy};
use fisc_rehearsal::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{Books, House, Plan, limited};
use crate::raw::{self, Ask, Beside, Ended, PRICES, Seen};

const WIRES: [Wire; 2] = [Wire::OpenAi, Wire::Anthropic];
/// How long calls may run in these tests.
const LIFE: Duration = Duration::from_millis(1_200);
/// By how much a call may outlive that.
const LATE_MAX: Duration = Duration::from_millis(600);
/// Nobody sends as much and calls it a standstill.
const STILL: Duration = Duration::from_millis(100);

/// More bytes than the buffers of all sockets on the way take.
const SOCKETS_MAX: u64 = 64 << 20;

/// A provider whose streams have no end, and which keeps what became of them.
struct Endless {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    /// How many callers have hung up.
    hung_up: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

/// A client that got the head of its answer and reads no more.
struct Stalled {
    house: House,
    gateway: Gateway,
    provider: Endless,
    ask: Ask,
    socket: TcpStream,
    /// What it has read.
    bytes: Vec<u8>,
    /// When it called.
    began: TimeUs,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_hold_of_a_client_that_does_not_read() {
    for wire in WIRES {
        let root = Terms {
            elapsed: Some(TimeUs(LIFE.as_micros() as i64)),
            ..Terms::default()
        };
        let stalled = Stalled::begin(wire, root, Policy::default()).await;
        stalled.ends_in_time().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_call_ends_it_though_its_client_does_not_read() {
    let policy = Policy {
        call_time: LIFE,
        ..Policy::default()
    };
    let stalled = Stalled::begin(Wire::OpenAi, Terms::default(), policy).await;
    stalled.ends_in_time().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_time_runs_out_though_a_client_does_not_read() {
    let root = limited(Resource::Time, LIFE.as_micros() as i64);
    let stalled = Stalled::begin(Wire::Anthropic, root, Policy::default()).await;
    stalled.ends_in_time().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_ends_the_hold_of_a_client_that_does_not_read() {
    const GRACE: Duration = Duration::from_millis(300);
    let Stalled {
        house,
        gateway,
        provider,
        ask,
        socket,
        ..
    } = Stalled::begin(Wire::OpenAi, Terms::default(), Policy::default()).await;
    let began = house.fisc.ticks();
    let stopping = tokio::spawn(gateway.shutdown(GRACE));
    house.rest().await;
    let took = since(&house, began);
    // A connection that does not move is dropped two seconds later; its hold has ended by then.
    assert!((GRACE..GRACE + LATE_MAX).contains(&took), "{took:?}");
    provider.is_hung_up_on().await;
    drop(socket);
    stopping.await.expect("the gateway stops");
    let end = end_of(&house, &ask).await;
    assert_eq!(end.facts.expect("it was sent").outcome, Outcome::TimedOut);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_and_leaves_is_charged_once() {
    let policy = Policy {
        on_disconnect: fisc_gateway::OnDisconnect::Cancel,
        ..Policy::default()
    };
    let stalled = Stalled::begin(Wire::OpenAi, Terms::default(), policy).await;
    stalled.socket.set_zero_linger().expect("a socket");
    drop(stalled.socket);
    stalled.house.rest().await;
    stalled.provider.is_hung_up_on().await;
    let end = end_of(&stalled.house, &stalled.ask).await;
    assert_eq!(end.facts.expect("it was sent").outcome, Outcome::ClientGone);
    stalled.gateway.shutdown(Duration::from_secs(1)).await;
    stalled.house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_ended_shows_usage_to_who_asked_for_it_alone() {
    let policy = || Policy {
        call_time: Duration::from_millis(500),
        ..Policy::default()
    };
    // The provider mentions no usage before the end, which here never comes.
    for include_usage in [true, false] {
        let mut stalled = Stalled::begin_with(
            Wire::OpenAi,
            Terms::default(),
            policy(),
            Some(include_usage),
        )
        .await;
        stalled.house.rest().await;
        let seen = stalled.read_on().await;
        let last = raw::events(&seen.body).pop().expect("an event");
        assert_eq!(last["usage"].is_object(), include_usage, "{last}");
        stalled.gateway.shutdown(Duration::from_secs(1)).await;
        stalled.house.stop().await;
    }
}

// === impl Stalled ===

impl Stalled {
    async fn begin(wire: Wire, root: Terms, policy: Policy) -> Stalled {
        Stalled::begin_with(wire, root, policy, None).await
    }

    /// Calls, and reads until nothing moves any more.
    async fn begin_with(
        wire: Wire,
        root: Terms,
        policy: Policy,
        include_usage: Option<bool>,
    ) -> Stalled {
        let plan = Plan {
            root,
            books: Books::File(Durability::Process),
            prices: Some(PRICES.to_owned()),
            ..Plan::default()
        };
        let house = House::start(plan).await;
        let provider = Endless::start(wire).await;
        let url = format!("http://{}", provider.address);
        let mut beside = Beside::new(&house, &url, &Credential::Nothing);
        beside.policy = policy;
        let gateway = beside.start(&house).await;
        let ask = Ask::new(wire, true, "stalled", "");
        let mut body: serde_json::Value = serde_json::from_str(&ask.body()).expect("JSON");
        if let Some(include_usage) = include_usage {
            body["stream_options"] = serde_json::json!({ "include_usage": include_usage });
        }
        let headers = [("connection", "close")];
        let request = raw::post(&ask.path(&house), &headers, body.to_string().as_bytes());
        let began = house.fisc.ticks();
        let mut socket = raw::send(gateway.addr(), &request).await;
        let bytes = raw::read_some(&mut socket, 512).await;
        let head = Seen::read(&bytes).expect("an answer has a head");
        assert_eq!(head.status, 200);
        provider.is_still().await;
        assert_eq!(house.fisc.open_holds(), 1, "the call runs");
        Stalled {
            house,
            gateway,
            provider,
            ask,
            socket,
            bytes,
            began,
        }
    }

    /// Checks that the call ends when its time is up, in order and settled.
    async fn ends_in_time(mut self) {
        self.house.rest().await;
        let took = since(&self.house, self.began);
        assert!((LIFE / 2..LIFE + LATE_MAX).contains(&took), "{took:?}");
        self.provider.is_hung_up_on().await;
        let seen = self.read_on().await;
        assert!(seen.whole, "the answer ends as its framing says");
        let last = match self.ask.wire {
            Wire::OpenAi => "data: [DONE]\n\n",
            Wire::Anthropic => "data: {\"type\":\"message_stop\"}\n\n",
        };
        assert!(seen.text().ends_with(last));
        let reason = raw::events(&seen.body)
            .iter()
            .rev()
            .find_map(|event| match self.ask.wire {
                Wire::OpenAi => event["choices"][0]["finish_reason"]
                    .as_str()
                    .map(str::to_owned),
                Wire::Anthropic => event["delta"]["stop_reason"].as_str().map(str::to_owned),
            });
        assert!(matches!(reason.as_deref(), Some("length" | "max_tokens")));
        let end = end_of(&self.house, &self.ask).await;
        assert!(end.charged.fits(&end.held), "{end:?}");
        let facts = end.facts.expect("it was sent");
        assert!(facts.estimated, "{facts:?}");
        assert_eq!(facts.outcome, Outcome::TimedOut);
        self.gateway.shutdown(Duration::from_secs(1)).await;
        self.house.stop().await;
    }

    /// Reads all that is still to come.
    async fn read_on(&mut self) -> Seen {
        let mut bytes = std::mem::take(&mut self.bytes);
        let rest = self.socket.read_to_end(&mut bytes);
        let rest = tokio::time::timeout(Duration::from_secs(30), rest).await;
        rest.expect("the answer ends").expect("it is readable");
        Seen::read(&bytes).expect("an answer has a head")
    }
}

async fn end_of(house: &House, ask: &Ask) -> Ended {
    let mut ended = raw::ended(house).await;
    let ends = ended.remove(&ask.name).unwrap_or_default();
    let [end] = <[Ended; 1]>::try_from(ends).expect("one hold was taken");
    end
}

fn since(house: &House, began: TimeUs) -> Duration {
    Duration::from_micros((house.fisc.ticks().0 - began.0).unsigned_abs())
}

// === impl Endless ===

impl Endless {
    /// Streams one event of text, then comments, which no client and no meter counts.
    async fn start(wire: Wire) -> Endless {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sent, hung_up) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let counters = (Arc::clone(&sent), Arc::clone(&hung_up));
        let serving = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                raw::whole_request(&mut socket).await;
                let (sent, hung_up) = counters.clone();
                tokio::spawn(async move {
                    stream(wire, socket, &sent).await;
                    hung_up.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Endless {
            address,
            sent,
            hung_up,
            serving,
        }
    }

    /// Waits until nobody takes any more of it: what a client does not read is kept nowhere but
    /// in the sockets.
    async fn is_still(&self) {
        let mut before = u64::MAX;
        while before != self.sent.load(Ordering::Relaxed) || before == 0 {
            before = self.sent.load(Ordering::Relaxed);
            tokio::time::sleep(STILL).await;
            assert!(
                before == u64::MAX || before < SOCKETS_MAX,
                "{before} are kept"
            );
        }
    }

    /// Checks that its caller hangs up.
    async fn is_hung_up_on(&self) {
        let hung_up = async {
            while self.hung_up.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let hung_up = tokio::time::timeout(LATE_MAX, hung_up).await;
        hung_up.expect("the upstream's connection is dropped");
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Streams until nobody listens.
async fn stream(wire: Wire, mut socket: TcpStream, sent: &AtomicU64) {
    let text = match wire {
        Wire::OpenAi => {
            "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"
        }
        Wire::Anthropic => concat!(
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9}}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,",
            "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,",
            "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
        ),
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let mut next = format!("{head}{}", chunk(text));
    while socket.write_all(next.as_bytes()).await.is_ok() {
        sent.fetch_add(next.len() as u64, Ordering::Relaxed);
        next = chunk(&": nothing to say yet\n\n".repeat(500));
    }
}
