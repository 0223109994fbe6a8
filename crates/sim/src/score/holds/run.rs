//! One budget used up: workers that make the calls of a trace, one after the other, and hold for
//! each what the policy says.

pub(super) mod price;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fisc_core::{
    Amount, BudgetId, HoldId, Limits, Money, Permille, Refusal, Resource, Terms, Thresholds,
    TimeUs, Timestamp, TokenCounting, Tree,
};
use fisc_llm::{
    Ask, CallBound, CallClass, Expected, How, InputBound, Learner, Lesson, Maximum, ModelLimits,
    OUTPUT_FLOOR, Sizing, Wire, size,
};

use self::price::Prices;
use super::measure::Outcome;
use super::{CacheMode, HoldPolicy};
use crate::request::{Requests, duration};

/// One budget under one policy.
pub(super) struct Run<'a> {
    requests: &'a Requests,
    prices: &'a Prices,
    policy: HoldPolicy,
    mode: CacheMode,
    workers: usize,
    budget: Money,
    tree: Tree,
    root: BudgetId,
    learner: Learner,
    /// The place of the next request of the trace.
    next: usize,
    /// Requests that wait, first come first served: all are of one budget.
    waiting: VecDeque<usize>,
    flights: BinaryHeap<Reverse<(Timestamp, u128)>>,
    open: Vec<Option<Flight>>,
    now: Timestamp,
    outcome: Outcome,
}

/// A call that runs.
#[derive(Debug, Clone, Copy)]
struct Flight {
    place: usize,
    output: u64,
    /// Whether its output ends at a cap that is lower than its own.
    cut: bool,
    began: Timestamp,
}

/// What a policy says of a request.
enum Plan {
    Hold { amount: Amount, cap: u64 },
    Wait,
    Never,
}

const MESSAGE: &str = "the simulator asks nothing that the tree calls an error";

/// All calls are alike to the learner.
const CLASS: CallClass<'static> = CallClass {
    upstream: "trace",
    model: "trace",
    agent: "agent",
};

/// How long a call may take; nothing here is limited in time.
const TIME_LIMIT: TimeUs = TimeUs(3_600_000_000);

// === impl Run ===

impl<'a> Run<'a> {
    pub(super) fn new(
        requests: &'a Requests,
        prices: &'a Prices,
        policy: HoldPolicy,
        mode: CacheMode,
        budget: Money,
        workers: usize,
    ) -> Run<'a> {
        let mut tree = Tree::new(Thresholds::default());
        let terms = Terms {
            limits: Limits::NONE.with(Resource::Cost, Some(budget.nanos())),
            reserve: Permille(0),
            ..Terms::default()
        };
        let root = tree
            .allocate(Timestamp(0), None, "all", terms, &mut Vec::new())
            .expect(MESSAGE);
        Run {
            requests,
            prices,
            policy,
            mode,
            workers,
            budget,
            tree,
            root,
            learner: Learner::new(),
            next: 0,
            waiting: VecDeque::new(),
            flights: BinaryHeap::new(),
            open: Vec::new(),
            now: Timestamp(0),
            outcome: Outcome::default(),
        }
    }

    /// Uses the budget up with the calls from a place of the trace on. A worker that is refused
    /// for good gives up; the others go on.
    pub(super) fn run(mut self, start: usize) -> Outcome {
        self.next = start;
        for _ in 0..self.workers {
            self.queue_next();
        }
        self.serve();
        while let Some(Reverse((at, number))) = self.flights.pop() {
            self.pass(at);
            self.end(number);
            self.queue_next();
            self.serve();
        }
        self.outcome.spent = self.spent();
        self.outcome
    }

    fn queue_next(&mut self) {
        self.waiting.push_back(self.next % self.requests.len());
        self.next += 1;
    }

    /// Lets time pass, and counts it while more than a twentieth of the budget is left.
    fn pass(&mut self, until: Timestamp) {
        let span = until.since(self.now).0;
        let left = self.budget.nanos() - self.spent().nanos();
        if left > self.budget.nanos() / 20 {
            let running = self.tree.open_holds() as i64;
            self.outcome.busy.0 += span;
            self.outcome.in_flight.0 += span * running;
        }
        self.now = until;
    }

    /// Starts the calls that fit, in order: nobody overtakes.
    fn serve(&mut self) {
        while let Some(place) = self.waiting.front().copied() {
            match self.plan(place) {
                Plan::Hold { amount, cap } => match self.hold(amount) {
                    Ok(()) => self.begin(place, cap),
                    Err(Refusal::NotNow(_)) => return,
                    Err(_) => {}
                },
                Plan::Wait => return,
                Plan::Never => {}
            }
            self.waiting.pop_front();
        }
    }

    fn hold(&mut self, amount: Amount) -> Result<(), Refusal> {
        let id = HoldId(self.open.len() as u128);
        let held = self
            .tree
            .hold(self.now, id, self.root, amount, false, &mut Vec::new());
        held.expect(MESSAGE)
    }

    fn begin(&mut self, place: usize, cap: u64) {
        let wanted = price::output(self.requests.get(place));
        let output = wanted.min(cap);
        self.outcome.calls += 1;
        self.outcome.truncated += u64::from(wanted > cap);
        let ends = self.now.after(duration(output));
        self.flights.push(Reverse((ends, self.open.len() as u128)));
        self.open.push(Some(Flight {
            place,
            output,
            cut: output == cap && cap < self.requests.output_max(),
            began: self.now,
        }));
    }

    /// Settles a call, and learns from it.
    fn end(&mut self, number: u128) {
        let Some(flight) = self.open[number as usize].take() else {
            return;
        };
        let request = self.requests.get(flight.place);
        let charge = self.prices.charge(request, flight.output);
        let used = Amount::from_raw([0, charge.nanos(), 0]);
        let settled = self.tree.settle(HoldId(number), used, &mut Vec::new());
        settled.expect(MESSAGE);
        let lesson = Lesson {
            cached: 0,
            input: price::input(request)[0],
            output: flight.output,
            time: self.now.since(flight.began),
            output_cut: flight.cut,
            expected_input: None,
        };
        let shape = self.requests.shape(flight.place);
        self.learner.settle(&CLASS, &shape, &lesson);
    }

    fn spent(&self) -> Money {
        self.tree.budget(self.root).expect(MESSAGE).spent.cost()
    }

    fn plan(&mut self, place: usize) -> Plan {
        let own = self.requests.output_max();
        match self.policy {
            HoldPolicy::TwoTier => self.two_tier(place),
            HoldPolicy::MaxTokens => {
                let ask = self.ask(place).0;
                match ask.amount(own, TimeUs(0)) {
                    Ok(amount) => Plan::Hold { amount, cap: own },
                    Err(_) => Plan::Never,
                }
            }
            HoldPolicy::NoHold if self.spent() < self.budget => Plan::Hold {
                amount: Amount::ZERO,
                cap: own,
            },
            HoldPolicy::NoHold => Plan::Never,
        }
    }

    fn two_tier(&mut self, place: usize) -> Plan {
        let room = self.tree.headroom(self.root, false);
        let (ask, expected) = self.ask(place);
        let ask = with_siblings(ask, expected.input, self.waiting.len());
        match size(&ask, &room.now, &room.idle) {
            Sizing::Hold {
                amount, output_cap, ..
            } => {
                let input = ask.input;
                let cap = output_cap.unwrap_or(self.requests.output_max());
                self.note(place, input);
                Plan::Hold { amount, cap }
            }
            Sizing::Wait { .. } => Plan::Wait,
            Sizing::Never { .. } => Plan::Never,
        }
    }

    /// Asks for a request as the gateway does, but with its input known where that is the mode.
    fn ask(&mut self, place: usize) -> (Ask<'a>, Expected) {
        let request = self.requests.get(place);
        let shape = self.requests.shape(place);
        let known = self.learner.known(&CLASS, &shape);
        let mut expected = self.learner.expected(&CLASS, &shape, known);
        let prices: &'a Prices = self.prices;
        let own = Maximum::Known(self.requests.output_max());
        let (price, input) = match self.mode {
            CacheMode::Known => {
                expected.input = price::tenths(request);
                let input = InputBound {
                    tokens: expected.input,
                    bounded: true,
                    how: How::Prefix,
                };
                (&prices.tenths, input)
            }
            CacheMode::Worst => {
                let limits = ModelLimits {
                    output: own,
                    window: Maximum::Assumed(u64::MAX),
                    image_tokens: 0,
                };
                let input = InputBound::of_body(Wire::OpenAiChat, &shape, known, &limits);
                (&prices.charged, input)
            }
        };
        let output = self.learner.output_need(&CLASS);
        let ask = Ask {
            price: Some(price),
            counting: TokenCounting::Fresh,
            input,
            call: CallBound {
                choices: 1,
                calls: 1,
                ..CallBound::default()
            },
            asked_output: Some(own.tokens()),
            model_output: own,
            output_q95: output.map(|output| output.q95),
            output_q99: output.map(|output| output.q99),
            output_floor: OUTPUT_FLOOR,
            time_limit: TIME_LIMIT,
            time_q99: None,
            time_floor: TimeUs(0),
            time_likely: None,
            per_call: Amount::from_raw([i64::MAX; Resource::COUNT]),
            running: u64::from(self.tree.headroom(self.root, false).open),
            siblings: 0,
            sibling_room: Amount::ZERO,
        };
        (ask, expected)
    }

    fn note(&mut self, place: usize, bound: InputBound) {
        let [actual, _] = price::input(self.requests.get(place));
        let held = match bound.how {
            How::Prefix => &mut self.outcome.input.prefix,
            How::Bytes => &mut self.outcome.input.bytes,
        };
        held.calls += 1;
        held.bound = held.bound.saturating_add(bound.tokens);
        held.actual = held.actual.saturating_add(actual);
    }
}

/// Leaves the calls that wait the room of a usual one each.
fn with_siblings(ask: Ask<'_>, expected_input: u64, waiting: usize) -> Ask<'_> {
    let Some(usual) = ask.output_q99 else {
        return ask;
    };
    let input = InputBound {
        tokens: expected_input,
        ..ask.input
    };
    let room = Ask {
        input,
        ..ask.clone()
    }
    .amount(usual, TimeUs(0));
    Ask {
        siblings: (waiting as u64).saturating_sub(1),
        sibling_room: room.unwrap_or(Amount::ZERO),
        ..ask
    }
}
