//! A provider's bad days, one by one: what is charged, whether it is marked as an estimate, what
//! the client gets to see, and that each hold ends exactly once (`raw::ended` checks that).

use std::time::Duration;

use fisc::core::Resource;
use fisc::{Durability, Outcome};
use fisc_gateway::{Credential, Policy};
use fisc_rehearsal::{TruthRecord, Wire};
use fisc_testkit::ports;

use crate::harness::{Books, House, Plan, limited, usage};
use crate::raw::{self, Ask, Ended, Fake, PRICES, Seen};

const WIRES: [Wire; 2] = [Wire::OpenAi, Wire::Anthropic];

/// One call that was made, from all sides.
struct Played {
    ask: Ask,
    seen: Seen,
    truth: TruthRecord,
    end: Ended,
}

// === what is reported ===

#[tokio::test]
async fn an_honest_report_is_charged_as_it_is_however_its_lines_end() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["tokens=60", "tokens=60 crlf"], &[true, false]).await {
        played.is_exact();
        assert_eq!(played.outcome(), Outcome::Completed);
        assert_eq!(played.seen.status, 200);
        played.shows_all(&house).await;
    }
    house.stop().await;
}

#[tokio::test]
async fn a_report_that_is_missing_or_cannot_be_is_replaced_by_an_estimate() {
    let house = house(Policy::default()).await;
    let reports = [
        "none", "null", "negative", "huge", "string", "fraction", "zero",
    ];
    let directions = reports.map(|report| format!("tokens=400 usage={report}"));
    let directions: Vec<&str> = directions.iter().map(String::as_str).collect();
    for played in play_all(&house, &directions, &[true, false]).await {
        played.is_estimated_from(played.truth.canonical.output_total());
        assert_eq!(played.outcome(), Outcome::Completed, "{}", played.ask.name);
        assert_eq!(played.seen.status, 200);
        played.shows_all(&house).await;
    }
    house.stop().await;
}

#[tokio::test]
async fn a_report_of_nothing_is_believed_where_nothing_speaks_against_it() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["tokens=20 usage=zero"], &[true, false]).await {
        let facts = played.end.facts.as_ref().expect("it was charged");
        assert!(!facts.estimated, "0 is a figure, not a gap: {facts:?}");
        assert_eq!((facts.usage.input(), facts.usage.output()), (0, 0));
        assert_eq!(played.end.charged.cost().nanos(), 0);
    }
    house.stop().await;
}

// === answers that break off ===

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_of_its_wire() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["tokens=80 cut=0", "tokens=80 cut=5"], &[true]).await {
        played.is_estimated_from(played.truth.written_output_tokens);
        assert_eq!(played.outcome(), Outcome::Broken);
        assert_eq!(played.seen.status, 200);
        played.ends_with_error("upstream_broken");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_502_and_charged() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["tokens=80 cut=1"], &[false]).await {
        // All of it may have been generated: nobody saw how far it came.
        played.is_estimated_from(played.truth.canonical.output_total());
        assert_eq!(played.outcome(), Outcome::Broken);
        assert_eq!(
            (played.seen.status, played.seen.code().as_str()),
            (502, "upstream_broken")
        );
        assert!(
            !played.seen.text().contains("nothing was"),
            "{}",
            played.seen.text()
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn an_error_within_a_stream_is_passed_on_and_no_success() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["tokens=80 error_event"], &[true]).await {
        played.is_estimated_from(played.truth.written_output_tokens);
        assert_eq!(played.outcome(), Outcome::UpstreamError);
        assert!(played.seen.whole && played.seen.status == 200);
        let events = raw::events(&played.seen.body);
        let errors = events.iter().filter(|event| event["error"].is_object());
        assert_eq!(errors.count(), 1, "{}", played.seen.text());
    }
    house.stop().await;
}

// === answers that are none ===

#[tokio::test]
async fn an_error_before_the_first_byte_passes_through_and_costs_nothing() {
    let house = house(Policy::default()).await;
    let statuses = [429, 500, 529, 400, 404];
    for status in statuses {
        let directions = format!("status={status}");
        for played in play_all(&house, &[&directions], &[true, false]).await {
            let facts = played.end.facts.as_ref().expect("it was sent");
            assert!(
                !facts.estimated && facts.outcome == Outcome::UpstreamError,
                "{facts:?}"
            );
            assert_eq!((facts.usage.input(), facts.usage.output()), (0, 0));
            assert_eq!(
                (
                    played.end.charged.tokens().0,
                    played.end.charged.cost().nanos()
                ),
                (0, 0)
            );
            assert_eq!(played.seen.status, status);
            let direct = played.ask.direct(&house).await;
            assert_eq!(played.seen.json()["error"], direct.json()["error"]);
            assert_eq!(
                played.seen.header("retry-after"),
                direct.header("retry-after")
            );
        }
    }
    assert_eq!(house.root().status().spent.cost().nanos(), 0);
    house.stop().await;
}

#[tokio::test]
async fn an_error_of_a_call_without_a_stream_is_the_providers_own() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["error_event"], &[false]).await {
        assert_eq!(played.seen.status, 500);
        assert_eq!(played.end.charged.cost().nanos(), 0);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_page_of_html_passes_and_is_charged_as_an_estimate() {
    let house = house(Policy::default()).await;
    for played in play_all(&house, &["html"], &[true, false]).await {
        let facts = played.end.facts.as_ref().expect("it was sent");
        assert!(facts.estimated, "{facts:?}");
        assert!(
            played.end.charged.fits(&played.end.held),
            "{:?}",
            played.end
        );
        assert!(played.end.charged.cost().nanos() > 0);
        assert_eq!(played.seen.status, 200);
        assert!(
            played
                .seen
                .header("content-type")
                .is_some_and(|kind| kind.contains("html"))
        );
        assert!(played.seen.text().contains("Checking your browser"));
    }
    house.stop().await;
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_when_the_time_of_a_call_is_over() {
    let house = house(hurried()).await;
    for played in play_all(&house, &["hang tokens=50"], &[true, false]).await {
        let facts = played.end.facts.as_ref().expect("it was sent");
        assert!(
            facts.estimated && facts.outcome == Outcome::TimedOut,
            "{facts:?}"
        );
        assert_eq!(
            (played.seen.status, played.seen.code().as_str()),
            (504, "upstream_timeout")
        );
        assert_eq!(played.seen.header("x-should-retry"), Some("false"));
        assert!(facts.usage.input() >= played.truth.canonical.input_total());
        if !played.ask.stream {
            assert!(facts.usage.output() >= played.truth.canonical.output_total());
        }
        let time = played.end.charged.time().0;
        assert!((200_000..5_000_000).contains(&time), "{time}");
        assert!(
            played.end.charged.fits(&played.end.held),
            "{:?}",
            played.end
        );
    }
    house.stop().await;
}

#[tokio::test]
async fn a_stream_that_stalls_is_ended_validly_when_the_time_of_a_call_is_over() {
    let house = house(hurried()).await;
    for played in play_all(&house, &["tokens=80 gap_ms=90"], &[true]).await {
        played.ends_at_its_length();
        let facts = played.end.facts.as_ref().expect("it was sent");
        assert!(
            facts.estimated && facts.outcome == Outcome::TimedOut,
            "{facts:?}"
        );
        assert!(
            played.end.charged.fits(&played.end.held),
            "{:?}",
            played.end
        );
        let text = played.ask.text(&played.seen.body);
        assert!(
            !text.is_empty() && facts.usage.output() > 0,
            "{text:?} {facts:?}"
        );
        assert!(
            facts.usage.output() * 7 >= text.len() as u64,
            "{text:?} {facts:?}"
        );
    }
    house.stop().await;
}

// === a cap that is not honoured ===

#[tokio::test]
async fn what_a_provider_generates_beyond_its_cap_is_charged() {
    let house = house(Policy::default()).await;
    for wire in WIRES {
        for (stream, cap) in [(true, 100), (false, 100), (true, 1), (false, 1)] {
            let name = format!("over-{stream}-{cap}-{wire:?}").to_lowercase();
            let ask = Ask::new(wire, stream, &name, "over_max").capped(cap);
            let played = play(&house, ask).await;
            played.is_exact();
            assert!(played.truth.canonical.output_total() > cap);
            played.shows_all(&house).await;
        }
    }
    house.stop().await;
}

#[tokio::test]
async fn a_stream_that_outgrows_its_hold_is_ended_where_no_more_can_be_held() {
    for wire in WIRES {
        let ask = outgrowing(wire).await;
        let wide = house(Policy::default()).await;
        let held = play(&wide, ask.clone()).await.end.held.tokens().0;
        wide.stop().await;
        // Extended once in the wide house; here there is room for the first hold alone.
        let first = held - 256;
        assert!(first > 0, "it was extended: {held}");
        let root = limited(Resource::Tokens, first);
        let narrow = House::start(Plan {
            root,
            ..plan(Policy::default())
        })
        .await;
        let played = play(&narrow, ask).await;
        played.ends_at_its_length();
        let facts = played.end.facts.as_ref().expect("it was sent");
        assert!(
            facts.estimated && facts.outcome == Outcome::Cut,
            "{facts:?}"
        );
        assert_eq!(played.end.held.tokens().0, first);
        let text = played.ask.text(&played.seen.body);
        let whole = played.ask.unstreamed();
        let whole = whole.text(&whole.direct(&narrow).await.body);
        assert!(
            whole.starts_with(&text) && text.len() < whole.len(),
            "{text:?} of {whole:?}"
        );
        // Beyond the hold lies at most what was relayed, whose bytes are no fewer than its tokens.
        let spent = narrow.root().status().spent.tokens().0;
        assert!(spent < first + text.len() as i64, "{spent} of {first}");
        narrow.stop().await;
    }
}

/// Returns a call whose text is certainly more than its cap of one token: long enough that even
/// the longest tokens would be several.
async fn outgrowing(wire: Wire) -> Ask {
    let house = house(Policy::default()).await;
    for number in 0..100 {
        let ask = Ask::new(wire, true, &format!("long-{number}"), "over_max gap_ms=2").capped(1);
        let whole = ask.unstreamed();
        let text = whole.text(&whole.direct(&house).await.body);
        if text.len() > 90 {
            house.stop().await;
            return ask;
        }
    }
    panic!("some of the texts are long");
}

// === an upstream that is no provider ===

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_costs_nothing() {
    let house = house(Policy::default()).await;
    let base = format!("http://{}", ports::free());
    let gateway = raw::gateway_to(&house, &base, &Credential::Nothing).await;
    for ask in asks("away", &["tokens=20"], &[true, false]) {
        let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (502, "upstream_unreachable")
        );
        let ends = &raw::ended(&house).await[&ask.name];
        assert!(
            matches!(&ends[..], [end] if end.facts.is_none()),
            "{ends:?}"
        );
    }
    assert_eq!(house.root().status().spent.raw(), [0; 3]);
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

#[tokio::test]
async fn an_upstream_that_takes_the_call_and_hangs_up_may_have_billed_it() {
    let house = house(Policy::default()).await;
    let fake = Fake::start("").await;
    let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
    for (made, ask) in (1..).zip(asks("gone", &["tokens=20"], &[true, false])) {
        let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (502, "upstream_broken")
        );
        let ends = &raw::ended(&house).await[&ask.name];
        let [end] = &ends[..] else { panic!("{ends:?}") };
        let facts = end.facts.as_ref().expect("it was sent");
        assert!(
            facts.estimated && facts.outcome == Outcome::Broken,
            "{facts:?}"
        );
        assert!(
            facts.usage.input() > 0 && end.charged.fits(&end.held),
            "{end:?}"
        );
        assert_eq!(fake.got().len(), made, "a call is sent once");
    }
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

#[tokio::test]
async fn half_an_event_is_not_passed_on() {
    let house = house(Policy::default()).await;
    let openai = r#"{"id":"x","choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
    let anthropic = r#"{"type":"message_start","message":{"usage":{"input_tokens":9}}}"#;
    for (wire, event) in [(Wire::OpenAi, openai), (Wire::Anthropic, anthropic)] {
        let events = format!("data: {event}\n\ndata: {}", &event[..event.len() / 2]);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        let framed = format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{events}",
            events.len()
        );
        let fake = Fake::start([head, &framed, "\r\n"].concat()).await;
        let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
        let ask = Ask::new(wire, true, &format!("half-{wire:?}").to_lowercase(), "");
        let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
        assert!(seen.whole, "{}", seen.text());
        let events = raw::events(&seen.body);
        let errors: Vec<bool> = events
            .iter()
            .map(|event| event["error"].is_object())
            .collect();
        assert_eq!(errors, [false, true], "{}", seen.text());
        assert!(seen.text().ends_with("\n\n"), "{}", seen.text());
        gateway.shutdown(Duration::from_secs(1)).await;
    }
    house.stop().await;
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let house = house(Policy::default()).await;
    let elsewhere = Fake::start(raw::reply("200 OK", &[], b"{}")).await;
    let location = elsewhere.url();
    let answer = raw::reply("307 Temporary Redirect", &[("location", &location)], b"");
    let fake = Fake::start(answer).await;
    let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
    let ask = Ask::new(Wire::OpenAi, false, "moved", "");
    let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
    assert_eq!(
        (seen.status, seen.header("location")),
        (307, Some(location.as_str()))
    );
    assert!(
        elsewhere.got().is_empty(),
        "credentials never leave the configured origin"
    );
    assert_eq!(
        raw::ended(&house).await["moved"][0].charged.cost().nanos(),
        0
    );
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_encoded_all_the_same_is_an_estimate() {
    let house = house(Policy::default()).await;
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let fake = Fake::start(raw::reply("200 OK", &headers, b"\x1f\x8b not looked into")).await;
    let gateway = raw::gateway_to(&house, &fake.url(), &Credential::Nothing).await;
    let ask = Ask::new(Wire::Anthropic, false, "zipped", "");
    let seen = raw::exchange(gateway.addr(), &ask.request(&house)).await;
    assert_eq!(
        (seen.status, seen.header("content-encoding")),
        (200, Some("gzip"))
    );
    assert_eq!(seen.body, b"\x1f\x8b not looked into");
    let end = &raw::ended(&house).await["zipped"][0];
    let facts = end.facts.as_ref().expect("it was sent");
    assert!(facts.estimated && facts.usage.output() == 200, "{facts:?}");
    let asked = String::from_utf8_lossy(&fake.got()[0]).to_lowercase();
    assert!(asked.contains("accept-encoding: identity\r\n"), "{asked}");
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
}

// === impl Played ===

impl Played {
    #[track_caller]
    fn outcome(&self) -> Outcome {
        self.end.facts.as_ref().expect("it was charged").outcome
    }

    /// Checks that the charge is the truth.
    #[track_caller]
    fn is_exact(&self) {
        let Played {
            ask, truth, end, ..
        } = self;
        let facts = end.facts.as_ref().expect("it was charged");
        assert!(!facts.estimated, "{}: {facts:?}", ask.name);
        assert_eq!(facts.usage, usage(truth), "{}", ask.name);
        assert_eq!(
            end.charged.cost().nanos(),
            raw::nanos(truth),
            "{}",
            ask.name
        );
    }

    /// Checks that the charge is an estimate: no less than the true input and this output, no
    /// more than was held.
    #[track_caller]
    fn is_estimated_from(&self, output: u64) {
        let Played {
            ask, truth, end, ..
        } = self;
        let facts = end.facts.as_ref().expect("it was charged");
        assert!(facts.estimated, "{}: {facts:?}", ask.directions);
        let input = truth.canonical.input_total();
        assert!(
            facts.usage.input() >= input,
            "{}: {input}: {facts:?}",
            ask.directions
        );
        assert!(
            facts.usage.output() >= output,
            "{}: {output}: {facts:?}",
            ask.directions
        );
        assert!(end.charged.fits(&end.held), "{}: {end:?}", ask.directions);
        let least = 1_000 * (3 * input + 15 * output) as i64;
        assert!(
            end.charged.cost().nanos() >= least,
            "{}: {end:?}",
            ask.directions
        );
    }

    /// Checks that the client got the whole text, in an answer that ended in order.
    async fn shows_all(&self, house: &House) {
        assert!(self.seen.whole, "{}", self.ask.name);
        let whole = self.ask.unstreamed();
        let whole = whole.text(&whole.direct(house).await.body);
        assert_eq!(self.ask.text(&self.seen.body), whole, "{}", self.ask.name);
        if self.ask.stream {
            assert_eq!(self.last_words(), "", "{}", self.ask.name);
        }
    }

    /// Checks that a stream ended in order, with an error event of its wire.
    #[track_caller]
    fn ends_with_error(&self, code: &str) {
        assert!(self.seen.whole, "{}", self.seen.text());
        let last = raw::events(&self.seen.body).pop().expect("an event");
        let error = &last["error"];
        let found = match self.ask.wire {
            Wire::OpenAi => &error["code"],
            Wire::Anthropic => &error["details"]["error_code"],
        };
        assert_eq!(found, code, "{last}");
        assert!(error["message"].is_string(), "{last}");
    }

    /// Checks that a stream ended as its wire ends one that reached its cap.
    #[track_caller]
    fn ends_at_its_length(&self) {
        assert!(
            self.seen.whole && self.seen.status == 200,
            "{}",
            self.seen.text()
        );
        assert_eq!(self.last_words(), "", "{}", self.seen.text());
        let events = raw::events(&self.seen.body);
        let reason = events.iter().rev().find_map(|event| match self.ask.wire {
            Wire::OpenAi => event["choices"][0]["finish_reason"].as_str(),
            Wire::Anthropic => event["delta"]["stop_reason"].as_str(),
        });
        let length = match self.ask.wire {
            Wire::OpenAi => "length",
            Wire::Anthropic => "max_tokens",
        };
        assert_eq!(reason, Some(length), "{}", self.seen.text());
    }

    /// Returns what comes after the event that ends a stream; the whole text without one.
    fn last_words(&self) -> String {
        let text = self.seen.text().replace("\r\n", "\n");
        let end = match self.ask.wire {
            Wire::OpenAi => "data: [DONE]\n\n",
            Wire::Anthropic => "data: {\"type\":\"message_stop\"}\n\n",
        };
        text.rsplit(end).next().unwrap_or_default().to_owned()
    }
}

fn asks(name: &str, directions: &[&str], streams: &[bool]) -> Vec<Ask> {
    let mut asks = Vec::new();
    for wire in WIRES {
        for directions in directions {
            for stream in streams {
                let name = format!("{name}-{}", asks.len());
                asks.push(Ask::new(wire, *stream, &name, directions).capped(1_000));
            }
        }
    }
    asks
}

/// Plays calls with these directions on both wires.
async fn play_all(house: &House, directions: &[&str], streams: &[bool]) -> Vec<Played> {
    let number = house.rehearsal.truth().len();
    let mut all = Vec::new();
    for ask in asks(&format!("call-{number}"), directions, streams) {
        all.push(play(house, ask).await);
    }
    all
}

async fn play(house: &House, ask: Ask) -> Played {
    let seen = ask.call(house).await;
    let truth = house.truth().await;
    let truth = truth
        .iter()
        .rev()
        .find(|record| record.label.as_deref() == Some(&*ask.name));
    let mut ended = raw::ended(house).await;
    let ends = ended.remove(&ask.name).unwrap_or_default();
    let [end] = <[Ended; 1]>::try_from(ends).expect("one hold was taken");
    let truth = truth.expect("the call was made").clone();
    Played {
        ask,
        seen,
        truth,
        end,
    }
}

async fn house(policy: Policy) -> House {
    House::start(plan(policy)).await
}

fn plan(policy: Policy) -> Plan {
    Plan {
        policy,
        books: Books::File(Durability::Process),
        prices: Some(PRICES.to_owned()),
        ..Plan::default()
    }
}

/// Calls may take half a second.
fn hurried() -> Policy {
    Policy {
        call_time: Duration::from_millis(500),
        ..Policy::default()
    }
}
