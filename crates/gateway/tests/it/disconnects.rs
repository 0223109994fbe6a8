//! Clients that leave: at a random byte of the request or the answer, on both wires, streaming
//! and not. Whatever the policy, every call is settled once; a drained one equals the truth.
//!
//! `FISC_DISCONNECTS=10000` makes as many; without it a thousand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fisc::{Durability, Outcome};
use fisc_gateway::{OnDisconnect, Policy};
use fisc_rehearsal::{Latency, Settings, TruthRecord, Wire};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Books, House, Plan, usage};
use crate::raw::{self, Ask, Ended, PRICES, Seen};

/// How many clients leave, unless `FISC_DISCONNECTS` says otherwise.
const CLIENTS: usize = 1_000;
/// How many are there at once.
const AT_ONCE: usize = 64;
/// How long an answer is, in tokens.
const TOKENS: u64 = 40;
/// The prompt says how long the answer is; the cap leaves room above it.
const DIRECTIONS: &str = "tokens=40";
/// What a provider plays that does not honour the cap, so that the hold has to grow.
const BEYOND: &str = "over_max";
/// One in so many drained calls is of that kind.
const BEYOND_IN: usize = 7;
/// One in so many clients leaves while it still sends its request.
const UNSENT_IN: u64 = 20;
/// One in so many leaves while it waits for the first byte.
const EARLY_IN: u64 = 8;
/// The longest that a call takes here; what is held for it is ten minutes.
const CALL_MAX_US: i64 = 10_000_000;

/// The four kinds of calls.
const KINDS: [(Wire, bool); 4] = [
    (Wire::OpenAi, true),
    (Wire::OpenAi, false),
    (Wire::Anthropic, true),
    (Wire::Anthropic, false),
];

/// A client and what it got before it left.
struct Left {
    ask: Ask,
    /// What came of the answer, when its head did.
    seen: Option<Seen>,
    /// Whether the request was sent whole.
    sent: bool,
}

/// A sequence of numbers that is the same in each run.
pub(crate) struct Random(pub(crate) u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_calls_are_settled_at_the_truth() {
    let (house, left) = play(OnDisconnect::Drain, 0xd1a1).await;
    let (truth, ended) = outcome(&house, &left).await;
    let mut spent = 0;
    for (name, record) in &truth {
        let [end] = &ended[name][..] else {
            panic!("{name} has one hold: {:?}", ended[name]);
        };
        let facts = end.facts.as_ref().expect("a call that was made is charged");
        assert!(!facts.estimated, "{name}: {facts:?}");
        assert_eq!(facts.usage, usage(record), "{name}");
        assert_eq!(end.charged.cost().nanos(), raw::nanos(record), "{name}");
        let tokens = usage(record).count(house.fisc.counting());
        assert_eq!(end.charged.tokens(), tokens, "{name}");
        assert!(end.charged.time().0 < CALL_MAX_US, "{name}: {end:?}");
        let gone = matches!(facts.outcome, Outcome::Completed | Outcome::ClientGone);
        assert!(gone, "{name}: {facts:?}");
        spent += raw::nanos(record);
    }
    // A call that never reached the provider was never charged.
    for (name, ends) in &ended {
        let made = truth.contains_key(name);
        assert!(
            made || ends.iter().all(|end| end.facts.is_none()),
            "{name}: {ends:?}"
        );
    }
    assert_eq!(house.root().status().spent.cost().nanos(), spent);
    stop_without_leaks(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_calls_are_never_charged_less_than_was_relayed() {
    let (house, left) = play(OnDisconnect::Cancel, 0xca4c).await;
    let (truth, ended) = outcome(&house, &left).await;
    let asks: HashMap<&str, &Left> = left.iter().map(|l| (l.ask.name.as_str(), l)).collect();
    let (mut estimated, mut below_written) = (0, 0);
    for (name, record) in &truth {
        let [end] = &ended[name][..] else {
            panic!("{name} has one hold: {:?}", ended[name]);
        };
        let facts = end.facts.as_ref().expect("a call that was made is charged");
        assert!(end.charged.time().0 < CALL_MAX_US, "{name}: {end:?}");
        if !facts.estimated {
            assert_eq!(facts.usage, usage(record), "{name}");
            assert_eq!(end.charged.cost().nanos(), raw::nanos(record), "{name}");
            continue;
        }
        estimated += 1;
        assert!(end.charged.fits(&end.held), "{name}: {end:?}");
        assert!(
            facts.usage.input() >= record.canonical.input_total(),
            "{name}: {facts:?}"
        );
        let seen = tokens_seen(&house, asks[name.as_str()], record).await;
        assert!(
            facts.usage.output() >= seen,
            "{name}: {seen} reached the client: {facts:?}"
        );
        if !record.stream {
            // Nobody saw how far it came: it may have been generated to its end.
            let output = record.canonical.output_total();
            assert!(facts.usage.output() >= output, "{name}: {facts:?}");
        }
        let least = 3_000 * record.canonical.input_total() + 15_000 * seen;
        assert!(
            end.charged.cost().nanos() >= least as i64,
            "{name}: {end:?}"
        );
        below_written += usize::from(facts.usage.output() < record.written_output_tokens);
    }
    let unseen = ended.iter().filter(|(name, _)| !truth.contains_key(*name));
    let charged = unseen.filter(|(_, ends)| ends.iter().any(|end| end.facts.is_some()));
    println!(
        "  {estimated} of {} calls estimated, {below_written} of them below what the provider \
         had written into its socket; {} cancelled on the way to it, and charged",
        truth.len(),
        charged.count()
    );
    assert!(
        estimated * 4 > truth.len(),
        "most clients left before the end: {estimated}"
    );
    stop_without_leaks(house).await;
}

/// Lets all clients come and leave; returns what each saw.
async fn play(policy: OnDisconnect, seed: u64) -> (House, Vec<Left>) {
    let clients = std::env::var("FISC_DISCONNECTS").ok();
    let clients = clients.map_or(CLIENTS, |text| text.parse().expect("a number of clients"));
    let house = Arc::new(House::start(plan(policy)).await);
    let lengths = answer_lengths(&house).await;
    let next = Arc::new(AtomicUsize::new(0));
    let began = now();
    let workers = (0..AT_ONCE as u64).map(|worker| {
        let (house, next) = (Arc::clone(&house), Arc::clone(&next));
        tokio::spawn(async move {
            let mut random = Random(seed ^ (worker << 32));
            let mut left = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= clients {
                    return left;
                }
                left.push(come_and_leave(&house, policy, number, &lengths, &mut random).await);
            }
        })
    });
    let mut left = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        left.extend(worker.await.expect("no client panics"));
    }
    let took = began.elapsed();
    let early = left
        .iter()
        .filter(|l| !l.seen.as_ref().is_some_and(|s| s.whole))
        .count();
    println!(
        "{policy:?}: {clients} clients in {took:.1?} ({:.0} a second), {early} left early",
        clients as f64 / took.as_secs_f64()
    );
    let house = Arc::into_inner(house).expect("the workers have ended");
    (house, left)
}

fn plan(policy: OnDisconnect) -> Plan {
    Plan {
        provider: Settings {
            latency: Latency::millis(0, 8),
            gap: Duration::from_millis(1),
            ..Settings::default()
        },
        policy: Policy {
            on_disconnect: policy,
            ..Policy::default()
        },
        books: Books::File(Durability::Process),
        prices: Some(PRICES.to_owned()),
        ..Plan::default()
    }
}

/// Returns the bytes of a whole answer of each kind, head included.
async fn answer_lengths(house: &House) -> [usize; 4] {
    let mut lengths = [0; 4];
    for (kind, (wire, stream)) in KINDS.into_iter().enumerate() {
        let ask = Ask::new(wire, stream, &format!("whole-{kind}"), DIRECTIONS);
        let mut socket = raw::send(house.gateway.addr(), &ask.request(house)).await;
        let bytes = raw::read_some(&mut socket, usize::MAX).await;
        assert_eq!(
            Seen::read(&bytes).map(|seen| (seen.status, seen.whole)),
            Some((200, true))
        );
        lengths[kind] = bytes.len();
    }
    lengths
}

/// Makes one call and leaves at a random place.
async fn come_and_leave(
    house: &House,
    policy: OnDisconnect,
    number: usize,
    lengths: &[usize; 4],
    random: &mut Random,
) -> Left {
    let kind = number % KINDS.len();
    let (wire, stream) = KINDS[kind];
    let beyond = policy == OnDisconnect::Drain && (number / KINDS.len()).is_multiple_of(BEYOND_IN);
    let name = format!("c{number}");
    let ask = if beyond {
        Ask::new(wire, stream, &name, BEYOND).capped(1 + random.below(8))
    } else {
        Ask::new(wire, stream, &name, DIRECTIONS)
    };
    let request = ask.request(house);
    let sent = random.below(UNSENT_IN) != 0;
    let part = if sent {
        request.len()
    } else {
        random.below(request.len() as u64) as usize
    };
    let mut socket = raw::send(house.gateway.addr(), &request[..part]).await;
    if !sent {
        leave(socket, random).await;
        return Left {
            ask,
            seen: None,
            sent,
        };
    }
    let bytes = if random.below(EARLY_IN) == 0 {
        tokio::time::sleep(Duration::from_micros(random.below(8_000))).await;
        Vec::new()
    } else {
        let most = random.below(lengths[kind] as u64 * 21 / 20) as usize;
        raw::read_some(&mut socket, most).await
    };
    leave(socket, random).await;
    Left {
        ask,
        seen: Seen::read(&bytes),
        sent,
    }
}

/// Closes a connection, in order or not.
async fn leave(mut socket: TcpStream, random: &mut Random) {
    if random.below(2) == 0 {
        socket.set_zero_linger().expect("a socket");
    } else {
        // The other side may have left first.
        let _ = socket.shutdown().await;
    }
}

/// Waits until all has come to rest; returns the provider's records and the ends of all holds,
/// by the call's name.
async fn outcome(
    house: &House,
    left: &[Left],
) -> (HashMap<String, TruthRecord>, HashMap<String, Vec<Ended>>) {
    // A client that left at once may still be in the queue of connections.
    let mut calls = usize::MAX;
    while calls != house.rehearsal.truth().len() {
        calls = house.rehearsal.truth().len();
        house.rest().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let records = house.truth().await;
    let made = records.len();
    let named = records
        .into_iter()
        .map(|record| (record.label.clone().expect("named"), record));
    let truth: HashMap<String, TruthRecord> = named.collect();
    assert_eq!(truth.len(), made, "no call is made twice");
    let ended = raw::ended(house).await;
    for name in truth.keys() {
        assert!(ended.contains_key(name), "{name} is not in the books");
    }
    for left in left {
        let made = truth.contains_key(&left.ask.name);
        let answered = left.seen.as_ref().is_some_and(|seen| seen.status == 200);
        assert!(made || !answered, "an answer comes from the provider");
        assert!(left.sent || !made, "no call is made of half a request");
    }
    (truth, ended)
}

/// Returns the least number of tokens of the text that reached a client: its part of the whole
/// text, whose tokens are all of one length within a letter.
async fn tokens_seen(house: &House, left: &Left, record: &TruthRecord) -> u64 {
    let Some(seen) = &left.seen else { return 0 };
    let text = left.ask.text(&seen.body);
    if text.is_empty() {
        return 0;
    }
    let whole = left.ask.unstreamed();
    let whole = whole.text(&whole.direct(house).await.body);
    assert!(whole.starts_with(&text), "{text:?} begins {whole:?}");
    assert_eq!(record.canonical.output_total(), TOKENS);
    (text.len() as u64 * TOKENS / whole.len() as u64)
        .saturating_sub(1)
        .max(1)
}

/// Stops everything and checks that no task outlives it.
async fn stop_without_leaks(house: House) {
    house.stop().await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let gone = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
    gone.unwrap_or_else(|_| panic!("{} tasks are left", metrics.num_alive_tasks()));
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures a rate, decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}

// === impl Random ===

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
