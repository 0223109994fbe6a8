//! The hard cap: 200 agents at once on a budget worth 20 or 200 calls overspend nothing, use
//! nearly all of it, and are told the truth when there is nothing left.
//!
//! A budget is worth N calls when its limit is N times what such calls truly cost on average in
//! a warm-up against another budget. What is compared is the provider's record, priced here; the
//! gateway's own books must say the same. `FISC_FULL=1` runs it at the full latency.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fisc::core::{Amount, Resource};
use fisc::{Durability, Limits, Permille, Terms};
use fisc_gateway::Policy;
use fisc_rehearsal::{Latency, Settings, TruthRecord, Wire};
use fisc_testkit::http::Answer;
use tokio::sync::{Barrier, RwLock, Semaphore};

use crate::agents::{Agent, Called, Manner, check_ending};
use crate::harness::{Books, House, Plan, ROOT};

/// How many clients call at once.
const CLIENTS: usize = 200;
/// How many agents they are clients of.
const AGENTS: usize = 8;
/// How many calls each of them wants to make.
const CALLS_EACH: usize = 3;
/// The cap that clients send, where they send one.
const MAX_TOKENS: u64 = 256;
/// By how much the provider's latency of 50-200 ms is shortened, unless `FISC_FULL=1`.
const LATENCY_SHORTENED: u64 = 5;
/// Likewise where active time is short: the least time of a call is not shortened with it.
const LATENCY_SHORTENED_LITTLE: u64 = 2;
/// The provider measures durations in whole milliseconds, each end rounded.
const CLOCK_GRAIN_US: i64 = 2_000;
/// Time is kept by timers: by so much a loaded machine may be late to end the last calls. The
/// gateway's own books must not show any of it.
const LATE_US: i64 = 100_000;
/// How many clients the warm-up has.
const WARM_UP_CLIENTS: usize = 40;
/// How many of them call at once where time is measured: about as many as a budget of time lets.
const WARM_UP_AT_ONCE: usize = 4;

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
struct Cell {
    worth: i64,
    manner: Manner,
    binding: Resource,
}

/// What the agents of a cell were answered.
struct Answers {
    agents: Vec<(Agent, Vec<Called>)>,
    waiting_most: u32,
}

/// Held alone where time is measured: what other cells use of the processor would be, too.
static PROCESSOR: RwLock<()> = RwLock::const_new(());

// === the matrix ===

#[tokio::test(flavor = "multi_thread")]
async fn tokens_openai() {
    matrix(Wire::OpenAi, Resource::Tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_openai() {
    matrix(Wire::OpenAi, Resource::Cost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_time_openai() {
    matrix(Wire::OpenAi, Resource::Time).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_anthropic() {
    matrix(Wire::Anthropic, Resource::Tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_anthropic() {
    matrix(Wire::Anthropic, Resource::Cost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_time_anthropic() {
    matrix(Wire::Anthropic, Resource::Time).await;
}

async fn matrix(wire: Wire, binding: Resource) {
    let (_shared, _alone);
    if binding == Resource::Time {
        _alone = PROCESSOR.write().await;
    } else {
        _shared = PROCESSOR.read().await;
    }
    for stream in [false, true] {
        for max_tokens in [Some(MAX_TOKENS), None] {
            // Anthropic's wire has no calls without a cap.
            if wire == Wire::Anthropic && max_tokens.is_none() {
                continue;
            }
            let manner = Manner {
                wire,
                stream,
                max_tokens,
            };
            for worth in [20, 200] {
                let cell = Cell {
                    worth,
                    manner,
                    binding,
                };
                let per_call = cell.warm_up().await.get(binding);
                cell.run(per_call).await;
            }
        }
    }
}

fn is_full() -> bool {
    std::env::var("FISC_FULL").is_ok_and(|full| full == "1")
}

/// Says whether a call was made and ended before its answer came, since its time was up.
fn is_cut(answer: &Answer) -> bool {
    answer.status == 402 && answer.text().contains("the call was cut")
}

/// Returns the dotted name of the agent that a client belongs to: two teams of two groups of two.
fn agent_name(number: usize) -> String {
    let (team, group, agent) = (number % 2, number / 2 % 2, number / 4 % 2);
    format!("team-{team}.group-{group}.agent-{agent}")
}

/// Lets all agents work, so many of them at once.
async fn call_all(house: &House, manner: Manner, clients: usize, at_once: usize) -> Answers {
    let start = Arc::new(Barrier::new(clients));
    let working = Arc::new(Semaphore::new(at_once));
    let mut tasks = Vec::new();
    for number in 0..clients {
        let name = agent_name(number);
        let agent = Agent {
            path: house.path(manner.wire, &name),
            label: format!("{ROOT}/{}", name.replace('.', "/")),
            number,
            manner,
        };
        let (client, start) = (house.client.clone(), Arc::clone(&start));
        let working = Arc::clone(&working);
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            let _works = working.acquire().await.expect("it is never closed");
            let called = agent.work(&client, CALLS_EACH).await;
            (agent, called)
        }));
    }
    let most = AtomicU32::new(0);
    let watch = async {
        loop {
            most.fetch_max(house.counts().waiting, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let work = async {
        let mut agents = Vec::new();
        for task in tasks {
            agents.push(task.await.expect("an agent ends"));
        }
        agents
    };
    let agents = tokio::select! {
        agents = work => agents,
        () = watch => unreachable!("it watches until the work is done"),
    };
    Answers {
        agents,
        waiting_most: most.into_inner(),
    }
}

// === impl Answers ===

impl Answers {
    fn all(&self) -> impl Iterator<Item = &Called> {
        self.agents.iter().flat_map(|(_, called)| called)
    }

    fn count(&self, status: u16) -> usize {
        self.all()
            .filter(|called| called.answer.status == status)
            .count()
    }
}

// === impl Cell ===

impl Cell {
    /// Returns what a call of this manner costs on average, found against another budget.
    async fn warm_up(self) -> Amount {
        let house = House::start(self.plan(Terms::default())).await;
        let at_once = match self.binding {
            Resource::Time => WARM_UP_AT_ONCE,
            Resource::Tokens | Resource::Cost => WARM_UP_CLIENTS,
        };
        let answers = call_all(&house, self.manner, WARM_UP_CLIENTS, at_once).await;
        assert!(answers.all().all(|called| called.answer.status == 200));
        house.rest().await;
        let truth = house.truth().await;
        let calls = truth.len() as i64;
        // Active time is what the gateway measures: the provider does not see the way to it.
        let mut sum = house.sum(&truth);
        sum.set(Resource::Time, house.root().status().spent.time().0);
        house.stop().await;
        Amount::from_raw(sum.raw().map(|units| units / calls))
    }

    fn plan(self, root: Terms) -> Plan {
        let timed = self.binding == Resource::Time;
        let shortened = match self.worth {
            _ if is_full() => 1,
            20 if timed => LATENCY_SHORTENED_LITTLE,
            _ => LATENCY_SHORTENED,
        };
        // The smallest pause is a millisecond: shortened ones would outweigh the latency.
        let gap = if shortened > 1 && (timed || self.worth > 20) {
            Duration::ZERO
        } else {
            Settings::default().gap / shortened as u32
        };
        Plan {
            provider: Settings {
                latency: Latency::millis(50 / shortened, 200 / shortened),
                gap,
                ..Settings::default()
            },
            root,
            policy: Policy {
                patience: Duration::from_mins(1),
                ..Policy::default()
            },
            books: Books::File(Durability::Process),
            ..Plan::default()
        }
    }

    /// Runs it on a budget worth so many calls of `per_call` units each.
    async fn run(self, per_call: i64) {
        let limit = per_call * self.worth;
        let house = House::start(self.plan(self.terms(limit))).await;
        self.allocate(&house, limit).await;
        let begun = house.fisc.ticks();
        let answers = call_all(&house, self.manner, CLIENTS, CLIENTS).await;
        house.check_books().await;
        let truth = house.truth().await;
        self.check_answers(&answers, &truth);
        self.check_spending(&house, &truth);
        let spent = house.status(ROOT).spent.get(self.binding);
        let utilized = spent as f64 / limit as f64;
        println!(
            "{self:?}: utilized {:.2} %, {} calls, {} refused, {} cut, {} waiting, {:.1} s",
            utilized * 100.0,
            truth.len(),
            answers.count(402),
            answers
                .all()
                .filter(|called| is_cut(&called.answer))
                .count(),
            answers.waiting_most,
            (house.fisc.ticks().0 - begun.0) as f64 / 1e6,
        );
        let least = if self.worth == 20 { 0.90 } else { 0.98 };
        assert!(utilized >= least, "{self:?}: only {utilized:.4} was used");
        house.stop().await;
    }

    fn terms(self, limit: i64) -> Terms {
        Terms {
            limits: Limits::NONE.with(self.binding, Some(limit)),
            reserve: Permille(0),
            ..Terms::default()
        }
    }

    /// Limits every level of the tree, so that together the parts are more than the whole.
    async fn allocate(self, house: &House, limit: i64) {
        for team in 0..2 {
            let team = format!("{ROOT}/team-{team}");
            let terms = self.terms(limit * 70 / 100);
            house.fisc.allocate(&team, terms).await.expect("a team");
            for group in 0..2 {
                let group = format!("{team}/group-{group}");
                let terms = self.terms(limit * 45 / 100);
                house.fisc.allocate(&group, terms).await.expect("a group");
                for agent in 0..2 {
                    let agent = format!("{group}/agent-{agent}");
                    let terms = self.terms(limit * 30 / 100);
                    house.fisc.allocate(&agent, terms).await.expect("an agent");
                }
            }
        }
    }

    fn check_answers(self, answers: &Answers, truth: &[TruthRecord]) {
        for (agent, calls) in &answers.agents {
            for Called { answer, attempts } in calls {
                let (status, text) = (answer.status, answer.text());
                assert!(matches!(status, 200 | 402), "{self:?}: {status} {text}");
                assert_eq!(*attempts, 1, "{self:?}: {status} was retried");
                if status == 200 && agent.manner.stream {
                    check_ending(agent.manner.wire, answer);
                }
                if status == 402 {
                    assert_eq!(answer.header("x-should-retry"), Some("false"));
                    if is_cut(answer) {
                        assert_eq!(self.binding, Resource::Time, "{text}");
                    } else {
                        self.check_refusal(&answer.json());
                    }
                }
            }
        }
        // An agent's last call may be cut; calls before it are not.
        let cut = answers
            .all()
            .filter(|called| is_cut(&called.answer))
            .count();
        assert!(cut <= AGENTS, "{self:?}: {cut} calls were cut");
        let refused = answers.count(402);
        assert!(refused > 0, "{self:?}: the budget never ran out");
        assert!(answers.waiting_most > 0, "{self:?}: nobody waited");
        let served = answers.count(200);
        let whole = truth.iter().filter(|record| record.status == 200).count();
        if self.binding == Resource::Time {
            // Time may run out in the middle of a call that was admitted; its provider then has
            // answered nothing yet, or all of it, too late.
            assert!(whole >= served, "{self:?}: {whole} {served}");
            assert!(truth.iter().all(|record| matches!(record.status, 0 | 200)));
        } else {
            let calls = (truth.len(), whole);
            assert_eq!(calls, (served, served), "{self:?}: refused calls stay here");
        }
    }

    /// What is refused for good without having run could not fit even if nothing were held.
    fn check_refusal(self, body: &serde_json::Value) {
        let error = &body["error"];
        let budget = match self.manner.wire {
            Wire::OpenAi => &error["budget"],
            Wire::Anthropic => &error["details"]["budget"],
        };
        let figure = |name: &str| budget[name].as_i64().expect("a figure");
        assert_eq!(budget["resource"], self.binding.name(), "{body}");
        assert!(
            figure("spent") + figure("needed") > figure("limit"),
            "{self:?}: it could have fitted: {body}"
        );
    }

    /// At no level more was truly used than allowed, and the books say what the provider says.
    fn check_spending(self, house: &House, truth: &[TruthRecord]) {
        let mut below: HashMap<&str, Vec<&TruthRecord>> = HashMap::new();
        for record in truth {
            let mut path = record.label.as_deref().expect("every body has a label");
            loop {
                below.entry(path).or_default().push(record);
                match path.rsplit_once('/') {
                    Some((parent, _)) => path = parent,
                    None => break,
                }
            }
        }
        let is_timed = self.binding == Resource::Time;
        let statuses = house.fisc.statuses();
        assert_eq!(statuses.len(), 1 + 2 + 4 + AGENTS, "{self:?}");
        for budget in &statuses {
            let records = below
                .get(budget.path.as_str())
                .map_or(&[][..], Vec::as_slice);
            // The provider learns late that a call was cut, and so does not know its time.
            let timed = |record: &&&TruthRecord| record.complete || !is_timed;
            let truly = house.sum(records.iter().filter(timed).copied());
            let limit = budget
                .terms
                .limits
                .get(self.binding)
                .expect("all are limited");
            let late = if is_timed {
                records.len() as i64 * CLOCK_GRAIN_US + LATE_US
            } else {
                0
            };
            let (path, used) = (&budget.path, truly.get(self.binding));
            assert!(used <= limit + late, "{self:?} {path}: {used} of {limit}");
            assert_eq!(budget.overrun, Amount::ZERO, "{self:?} {path}");
            assert!(budget.spent.get(self.binding) <= limit, "{self:?} {path}");
            if !is_timed {
                assert_eq!(budget.spent.tokens(), truly.tokens(), "{self:?} {path}");
                assert_eq!(budget.spent.cost(), truly.cost(), "{self:?} {path}");
            }
        }
    }
}
