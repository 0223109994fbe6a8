//! Providers that ignore `max_tokens`, many streams at once: a stream whose hold cannot grow ends
//! as its wire ends one that met its cap, soon after that is certain; one whose client leaves is
//! settled at the truth, or at an estimate that is not below what was relayed.
//!
//! `FISC_STREAMS=10000` makes as many of each kind; without it two hundred.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fisc::core::Resource;
use fisc::{Durability, Outcome, Permille, Terms};
use fisc_gateway::{OnDisconnect, Policy};
use fisc_rehearsal::{TruthRecord, Wire};
use serde_json::Value;

use crate::disconnects::Random;
use crate::harness::{Books, House, Plan, limited, usage};
use crate::raw::{self, Ask, Ended, PRICES, Seen};

/// How many streams of each kind there are, unless `FISC_STREAMS` says otherwise.
const STREAMS: usize = 200;
/// How many run at once.
const AT_ONCE: usize = 32;
/// How many run in one house; each has a budget of its own.
const ROUND: usize = 1_000;
/// How much is generated, whatever the cap.
const TOKENS: u64 = 400;
/// The caps: no less, and so many of them.
const CAPS: (u64, u64) = (10, 7);
/// What the provider plays, and of the same length what one plays that honours its cap.
const IGNORES: &str = "over_max=1 tokens=400 gap_ms=1";
const HONOURS: &str = "over_max=0 tokens=400 gap_ms=1";
/// By how much the gateway enlarges a hold at a time.
const EXTENSION: i64 = 256;
/// The most tokens that one event of the provider carries.
const EVENT_TOKENS: u64 = 7;
/// The most bytes of text that it carries.
const EVENT_BYTES: usize = 64;
/// So many bytes of text are certainly more than a token.
const TOKEN_BYTES_MAX: u64 = 24;

/// One stream, from all sides.
struct Streamed {
    ask: Ask,
    seen: Option<Seen>,
    truth: TruthRecord,
    end: Ended,
    /// All that the provider would have said.
    whole: String,
}

/// Where a client leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Never,
    InTheMiddle,
}

// === the streams ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_outgrow_their_holds_end_in_order_and_soon() {
    let limits = first_holds().await;
    let (mut unproven, mut late, mut overruns) = (Vec::new(), Vec::new(), Vec::new());
    let mut off = Vec::new();
    for (first, count) in rounds() {
        let house = house(Policy::default()).await;
        for number in first..first + count {
            let limit = limits[number % 2] + (cap(number) - CAPS.0) as i64;
            let terms = Terms {
                reserve: Permille(0),
                ..limited(Resource::Tokens, limit)
            };
            let path = format!("run/{}", name(number));
            house.fisc.allocate(&path, terms).await.expect("it fits");
        }
        for streamed in play(house, first, count, Leaves::Never).await {
            let (cap, written) = (
                streamed.ask.max_tokens,
                streamed.truth.written_output_tokens,
            );
            let certain = streamed.is_cut_in_order();
            let limit = limits[streamed.number() % 2] + (cap - CAPS.0) as i64;
            let held = streamed.end.held.tokens().0;
            assert!(held <= limit && limit - held < EXTENSION, "{held} {limit}");
            let used = (streamed.truth.canonical.input_total() + written) as i64;
            // What nobody could tell from the text, and what came after it could be told.
            unproven.push(certain.saturating_sub(cap));
            late.push(written.saturating_sub(certain));
            let overrun = u64::try_from(used - limit).unwrap_or(0);
            let most = written - cap.min(written);
            assert!(
                overrun <= most,
                "{}: {overrun} of {most}",
                streamed.ask.name
            );
            overruns.push(overrun);
            off.push(streamed.difference());
        }
    }
    println!(
        "tokens beyond the cap before the text proves it: {}",
        show(&mut unproven)
    );
    println!("tokens from the proof to the close: {}", show(&mut late));
    println!("tokens beyond the budget: {}", show(&mut overruns));
    println!("estimate less truth: {}", show(&mut off));
    // One event is on its way when the stream is closed, and one may share its write.
    let usual = late[late.len() / 2];
    assert!(usual <= 2 * EVENT_TOKENS, "{usual} after the proof");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_streams_beyond_their_cap_are_settled_at_the_truth() {
    let (holds, mut extended) = (first_holds().await, 0);
    for (first, count) in rounds() {
        let house = house(leaving(OnDisconnect::Drain)).await;
        for streamed in play(house, first, count, Leaves::InTheMiddle).await {
            let Streamed { truth, end, .. } = &streamed;
            let facts = end.facts.as_ref().expect("it was made");
            assert!(!facts.estimated && truth.complete, "{facts:?}");
            assert_eq!(facts.usage, usage(truth), "{}", streamed.ask.name);
            assert_eq!(end.charged.cost().nanos(), raw::nanos(truth));
            assert_eq!(truth.canonical.output_total(), TOKENS);
            let least = holds[streamed.number() % 2] + EXTENSION;
            extended += usize::from(end.held.tokens().0 >= least);
        }
    }
    println!("{extended} of {} holds were enlarged", streams());
    assert!(extended * 10 > streams() * 9, "they outgrew their holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_streams_beyond_their_cap_are_estimated_from_what_was_relayed() {
    let (mut off, mut trusted) = (Vec::new(), 0);
    for (first, count) in rounds() {
        let house = house(leaving(OnDisconnect::Cancel)).await;
        for streamed in play(house, first, count, Leaves::InTheMiddle).await {
            let Streamed {
                ask, truth, end, ..
            } = &streamed;
            let facts = end.facts.as_ref().expect("it was made");
            if !facts.estimated {
                // It was all but over: its usage had come.
                assert_eq!(facts.usage, usage(truth), "{}", ask.name);
                continue;
            }
            assert_eq!(facts.outcome, Outcome::ClientGone, "{}", ask.name);
            assert!(facts.usage.input() >= truth.canonical.input_total());
            let (texts, output) = (streamed.texts(), facts.usage.output());
            let relayed = streamed.tokens(texts.iter().map(String::len).sum());
            // Until the text proves the contrary a cap is taken to be honoured.
            let least = match proof(ask, &texts) {
                Some(_) => relayed,
                None => relayed.min(ask.max_tokens),
            };
            assert!(output >= least, "{}: {output} of {least}", ask.name);
            trusted += usize::from(output < relayed);
            off.push(streamed.difference());
        }
    }
    println!("estimate less truth: {}", show(&mut off));
    println!(
        "{trusted} of {} below what was relayed, their cap trusted",
        off.len()
    );
    assert!(off.len() * 2 > streams(), "most left before the end");
}

// === impl Streamed ===

impl Streamed {
    fn number(&self) -> usize {
        self.ask.name[1..].parse().expect("a number")
    }

    /// Returns the texts that reached the client, event by event.
    fn texts(&self) -> Vec<String> {
        let seen = self.seen.as_ref();
        let events = seen.map(|seen| raw::events(&seen.body)).unwrap_or_default();
        let texts = events.iter().filter_map(|event| said(self.ask.wire, event));
        texts.map(str::to_owned).collect()
    }

    /// Returns how many tokens the first bytes of the text are: all are of one length, within a
    /// letter, which is left to the doubt.
    fn tokens(&self, bytes: usize) -> u64 {
        (bytes as u64 * TOKENS / self.whole.len() as u64).saturating_sub(u64::from(bytes > 0))
    }

    /// Returns by how much the charged output differs from what was generated until the end.
    fn difference(&self) -> u64 {
        let facts = self.end.facts.as_ref().expect("it was charged");
        let written = self.truth.written_output_tokens;
        facts.usage.output().abs_diff(written)
    }

    /// Checks that the stream was ended as if at its cap, and how it was charged; returns the
    /// tokens that it had put out when its text proved that it was beyond its cap.
    #[track_caller]
    fn is_cut_in_order(&self) -> u64 {
        let Streamed {
            ask, truth, end, ..
        } = self;
        let seen = self.seen.as_ref().expect("it was answered");
        check_ending(ask.wire, seen);
        let texts = self.texts();
        let text = texts.concat();
        assert!(
            self.whole.starts_with(&text),
            "{text:?} of {:?}",
            self.whole
        );
        assert!(
            text.len() < self.whole.len() && !truth.complete,
            "it was cut"
        );
        let proof = proof(ask, &texts).expect("what ends early was proven to be too long");
        let facts = end.facts.as_ref().expect("it was charged");
        assert!(facts.estimated, "{}: {facts:?}", ask.name);
        assert_eq!(facts.outcome, Outcome::Cut, "{}", ask.name);
        let relayed = self.tokens(text.len());
        let output = facts.usage.output();
        assert!(output >= relayed, "{}: {output} of {relayed}", ask.name);
        // One more event may have come of which the client had not got the last byte.
        let most = (text.len() + EVENT_BYTES) as u64;
        assert!(output <= most, "{}: {output} of {most}", ask.name);
        self.tokens(proof)
    }
}

/// Returns after how many bytes a text is certainly longer than its cap, if it is.
fn proof(ask: &Ask, texts: &[String]) -> Option<usize> {
    let (mut events, mut bytes) = (0, 0);
    for text in texts {
        bytes += text.len();
        events += 1;
        let least = match ask.wire {
            Wire::OpenAi => events.max(bytes as u64 / TOKEN_BYTES_MAX),
            Wire::Anthropic => bytes as u64 / TOKEN_BYTES_MAX,
        };
        if least > ask.max_tokens {
            return Some(bytes);
        }
    }
    None
}

fn said(wire: Wire, event: &Value) -> Option<&str> {
    let text = match wire {
        Wire::OpenAi => &event["choices"][0]["delta"]["content"],
        Wire::Anthropic => &event["delta"]["text"],
    };
    text.as_str().filter(|text| !text.is_empty())
}

// === endings ===

/// Checks, event by event, that a stream is one that met its cap, as the strictest of clients
/// reads it.
#[track_caller]
pub(crate) fn check_ending(wire: Wire, seen: &Seen) {
    let text = String::from_utf8(seen.body.clone()).expect("UTF-8");
    assert!(seen.whole && seen.status == 200, "{text}");
    let events = text.strip_suffix("\n\n").expect("no event is cut");
    let mut names = Vec::new();
    let mut events: Vec<&str> = events
        .split("\n\n")
        .map(|event| {
            let (name, data) = event.split_once("data: ").expect("an event has data");
            assert!(!data.contains('\n'), "one line of data: {event}");
            names.push(name.trim_start_matches("event: ").trim_end());
            data
        })
        .collect();
    if wire == Wire::OpenAi {
        assert_eq!(events.pop(), Some("[DONE]"), "{text}");
    }
    let events = events.iter().map(|data| {
        serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {data}"))
    });
    let events: Vec<Value> = events.collect();
    match wire {
        Wire::OpenAi => check_openai(&events),
        Wire::Anthropic => {
            let kinds = events.iter().map(|event| event["type"].as_str());
            assert!(kinds.eq(names.iter().copied().map(Some)), "{text}");
            check_anthropic(&events);
        }
    }
}

#[track_caller]
fn check_openai(events: &[Value]) {
    let mut reasons = Vec::new();
    for event in events {
        assert_eq!(event["object"], "chat.completion.chunk", "{event}");
        assert_eq!(event["id"], events[0]["id"], "one answer: {event}");
        assert_eq!(event["model"], events[0]["model"], "{event}");
        if let Some(choice) = event["choices"].get(0) {
            assert!(reasons.is_empty(), "nothing after the end: {event}");
            reasons.extend(choice["finish_reason"].as_str());
        }
    }
    assert_eq!(reasons, ["length"]);
}

#[track_caller]
fn check_anthropic(events: &[Value]) {
    let (mut open, mut reason) = (None, None);
    for (place, event) in events.iter().enumerate() {
        let kind = event["type"].as_str().expect("a type");
        assert_eq!(kind == "message_start", place == 0, "{event}");
        assert_eq!(kind == "message_stop", place == events.len() - 1, "{event}");
        match kind {
            "content_block_start" => {
                assert!(open.replace(&event["index"]).is_none(), "{event}");
            }
            "content_block_delta" => assert_eq!(open, Some(&event["index"]), "{event}"),
            "content_block_stop" => assert_eq!(open.take(), Some(&event["index"]), "{event}"),
            "message_delta" => {
                assert!(open.is_none() && reason.is_none(), "{event}");
                assert!(event["usage"]["output_tokens"].is_u64(), "{event}");
                reason = event["delta"]["stop_reason"].as_str();
            }
            "message_start" | "message_stop" | "ping" => {}
            _ => panic!("unknown: {event}"),
        }
    }
    assert_eq!(reason, Some("max_tokens"));
}

// === playing ===

fn streams() -> usize {
    let streams = std::env::var("FISC_STREAMS").ok();
    streams.map_or(STREAMS, |text| text.parse().expect("a number of streams"))
}

/// Returns the first stream of each round and how many it has.
fn rounds() -> impl Iterator<Item = (usize, usize)> {
    let streams = streams();
    let firsts = (0..streams).step_by(ROUND);
    firsts.map(move |first| (first, ROUND.min(streams - first)))
}

fn name(number: usize) -> String {
    format!("s{number:06}")
}

fn cap(number: usize) -> u64 {
    CAPS.0 + (number / 2) as u64 % CAPS.1
}

fn ask(number: usize, directions: &str) -> Ask {
    let wire = [Wire::OpenAi, Wire::Anthropic][number % 2];
    Ask::new(wire, true, &name(number), directions).capped(cap(number))
}

fn leaving(on_disconnect: OnDisconnect) -> Policy {
    Policy {
        on_disconnect,
        ..Policy::default()
    }
}

async fn house(policy: Policy) -> House {
    House::start(Plan {
        policy,
        books: Books::File(Durability::Process),
        prices: Some(PRICES.to_owned()),
        ..Plan::default()
    })
    .await
}

/// Returns what is held at first for a stream with the lowest cap, on each wire.
async fn first_holds() -> [i64; 2] {
    let house = house(Policy::default()).await;
    let asks = [ask(0, HONOURS), ask(1, HONOURS)];
    for ask in &asks {
        assert_eq!(ask.max_tokens, CAPS.0);
        assert_eq!(ask.call(&house).await.status, 200);
    }
    let ended = raw::ended(&house).await;
    house.stop().await;
    asks.map(|ask| ended[&ask.name][0].held.tokens().0)
}

/// Plays streams, each for an agent of its own, and returns them from all sides.
async fn play(house: House, first: usize, count: usize, leaves: Leaves) -> Vec<Streamed> {
    let (house, next) = (Arc::new(house), Arc::new(AtomicUsize::new(first)));
    let workers = (0..AT_ONCE).map(|_| {
        let (house, next) = (Arc::clone(&house), Arc::clone(&next));
        tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= first + count {
                    return all;
                }
                all.push(stream(&house, number, leaves).await);
            }
        })
    });
    let mut seen = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        seen.extend(worker.await.expect("no client panics"));
    }
    house.rest().await;
    let truth = house.truth().await.into_iter();
    let named = truth.map(|record| (record.label.clone().expect("named"), record));
    let mut truth: HashMap<String, TruthRecord> = named.collect();
    let mut ended = raw::ended(&house).await;
    let mut all = Vec::new();
    for (ask, seen) in seen {
        let whole = ask.unstreamed();
        let whole = whole.text(&whole.direct(&house).await.body);
        let ends = ended.remove(&ask.name).expect("it is in the books");
        let [end] = <[Ended; 1]>::try_from(ends).expect("one hold was taken");
        let truth = truth.remove(&ask.name).expect("it was made");
        all.push(Streamed {
            ask,
            seen,
            truth,
            end,
            whole,
        });
    }
    let house = Arc::into_inner(house).expect("the workers have ended");
    house.stop().await;
    all
}

/// Makes one call, and leaves after some of the answer's text has come, or reads all of it.
async fn stream(house: &House, number: usize, leaves: Leaves) -> (Ask, Option<Seen>) {
    let ask = ask(number, IGNORES);
    let path = house.path(ask.wire, &format!("{0}/o/{0}", ask.name));
    let request = raw::post(&path, &[], ask.body().as_bytes());
    let mut socket = raw::send(house.gateway.addr(), &request).await;
    if leaves == Leaves::Never {
        let seen = raw::answer(&mut socket).await;
        return (ask, Some(seen));
    }
    let bytes = 1_000 + Random(number as u64).below(15_000) as usize;
    let bytes = raw::read_some(&mut socket, bytes).await;
    // Let go for good, so that the gateway learns of it at once.
    socket.set_zero_linger().expect("a socket");
    drop(socket);
    (ask, Seen::read(&bytes))
}

/// Says how figures are distributed; sorts them.
fn show(figures: &mut [u64]) -> String {
    figures.sort_unstable();
    let at = |permille: usize| figures[(figures.len() - 1) * permille / 1_000];
    format!("median {}, p95 {}, max {}", at(500), at(950), at(1_000))
}
