//! Counts the instructions of what a call pays for its budget, without a clock that a neighbour
//! could disturb:
//!
//! ```text
//! bench=$(cargo bench -p fisc --bench instructions --no-run 2>&1 |
//!     sed -n 's/.*Executable.*(\(.*\))/\1/p')
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
//!     $bench call 100 10000 2>&1 | grep Collected
//! ```
//!
//! `call AGENTS TIMES` holds and settles at depth 3, with courses and forecasts, no ledger.
//! `judge AGENTS TIMES` is what the clock does once a second for all of them: levels of elapsed
//! time, forecasts, warnings. `meter EVENTS TIMES` reads a stream of so many events as it passes.
//! The count divided by `TIMES` is that of one.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fisc::{
    Amount, Budget, Fisc, Limits, Money, Options, Patience, Resource, Terms, TimeUs, Tokens,
};
use fisc_llm::{StreamMeter, Wire};

/// Calls before anything is counted: memories have grown, forecasts have enough to go by.
const WARM_UP: usize = 2_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    let (size, times) = (number(1).unwrap_or(100), number(2).unwrap_or(1_000));
    match words.first().map(String::as_str) {
        Some("judge") => judge(size, times),
        Some("meter") => meter(size, times),
        _ => call(size, times),
    }
}

/// Polls what has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

fn limited(limit: i64) -> Terms {
    let all = |limits: Limits, resource| limits.with(resource, Some(limit));
    Terms {
        limits: Resource::ALL.into_iter().fold(Limits::NONE, all),
        ..Terms::default()
    }
}

fn house(agents: usize) -> (Fisc, Vec<Budget>) {
    let fisc = Fisc::open(Options::default()).expect("a tree in memory");
    let allocate = |path: &str| now(fisc.allocate(path, limited(1 << 60))).expect("it fits");
    allocate("run");
    allocate("run/team");
    let leaves = (0..agents).map(|agent| allocate(&format!("run/team/{agent}")));
    let leaves: Vec<Budget> = leaves.collect();
    for turn in 0..WARM_UP.max(5 * agents) {
        hold_and_settle(&leaves[turn % agents]);
    }
    (fisc, leaves)
}

fn hold_and_settle(budget: &Budget) {
    let held = Amount::new(Tokens(900), Money::from_nanos(12_345), TimeUs(2_000_000));
    let spent = Amount::new(Tokens(700), Money::from_nanos(9_876), TimeUs(1_500_000));
    let hold = now(budget.hold("call", held, Patience(Duration::ZERO)));
    let settled = hold.expect("it fits").settle_amount(spent);
    drop(settled.expect("it was held"));
}

fn call(agents: usize, times: usize) {
    let (fisc, leaves) = house(agents);
    measured(|| {
        for turn in 0..times {
            hold_and_settle(&leaves[turn % agents]);
        }
    });
    let spent = fisc.root().expect("the root").status().spent.tokens().0;
    let calls = (WARM_UP.max(5 * agents) + times) as i64;
    assert_eq!(spent, 700 * calls, "every call is booked");
}

fn judge(agents: usize, times: usize) {
    let (fisc, _leaves) = house(agents);
    measured(|| {
        for _ in 0..times {
            fisc.tick();
        }
    });
}

fn meter(events: usize, times: usize) {
    let chunk = |delta: &str, finish: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
             \"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{delta},\
             \"finish_reason\":{finish}}}]}}\n\n"
        ))
    };
    let text = chunk("{\"content\":\" word\"}", "null");
    let ends = [
        chunk("{}", "\"stop\""),
        Bytes::from_static(
            b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
              \"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\
              \"completion_tokens\":100,\"total_tokens\":120}}\n\ndata: [DONE]\n\n",
        ),
    ];
    let mut relay = Vec::new();
    measured(|| {
        for _ in 0..times {
            let mut meter = StreamMeter::new(Wire::OpenAiChat, false);
            for chunk in std::iter::repeat_n(&text, events).chain(&ends) {
                relay.clear();
                meter.feed(chunk.clone(), &mut relay);
            }
            let reported = meter.finish(&mut relay);
            assert_eq!(reported.usage.map(|usage| usage.output()), Some(100));
        }
    });
}

#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}
