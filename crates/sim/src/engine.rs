//! One team under one policy, event by event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fisc_core::{Amount, HoldId, Money, TimeUs, Timestamp};

use crate::books::{Answer, Books};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::team::Team;

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What each agent spent.
    pub(crate) granted: Vec<Money>,
    /// Whether each agent made all its calls.
    pub(crate) finished: Vec<bool>,
    /// What the team spent.
    pub(crate) spent: Money,
    /// What is lent and not repaid.
    pub(crate) on_loan: Money,
    /// How many calls were made.
    pub(crate) calls: u64,
}

/// What happens at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A call ends.
    End(usize, HoldId),
    /// An agent wants its next call.
    Ask(usize),
    /// The shares are divided anew.
    Round,
}

struct Run<'a> {
    team: &'a Team,
    books: Books,
    queue: Queue,
    /// The next call of each agent.
    next: Vec<usize>,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    scheduled: u64,
    /// Scheduled events that are agents' own.
    moving: usize,
    calls: u64,
}

/// How often shares are divided anew when nothing else causes it.
const ROUND: TimeUs = TimeUs(5_000_000);

/// After how many rounds that change nothing nobody will go on: one sale, and one more.
const QUIET_ROUNDS: u32 = 4;

/// Runs a team to its end: until everybody has finished, or nobody can go on.
pub(crate) fn run(policy: Policy, team: &Team) -> Outcome {
    let mut run = Run::new(policy, team);
    for (number, agent) in team.agents.iter().enumerate() {
        run.schedule(agent.start, Event::Ask(number));
    }
    run.schedule(Timestamp(0), Event::Round);
    let mut quiet = 0;
    while let Some(Reverse((now, _, event))) = run.events.pop() {
        match event {
            Event::Ask(agent) => run.ask(now, agent),
            Event::End(agent, hold) => run.end(now, agent, hold),
            Event::Round => {
                let changed = run.books.rebalance(now);
                let changed = run.serve_waiting(now) || changed || run.moving > 0;
                quiet = if changed { 0 } else { quiet + 1 };
                if quiet < QUIET_ROUNDS {
                    run.schedule(now.after(ROUND), Event::Round);
                }
            }
        }
    }
    run.books.check();
    let agents = 0..team.agents.len();
    Outcome {
        granted: agents.clone().map(|agent| run.books.spent(agent)).collect(),
        finished: agents.map(|agent| run.is_finished(agent)).collect(),
        spent: run.books.spent_by_all(),
        on_loan: run.books.on_loan(),
        calls: run.calls,
    }
}

// === impl Run ===

impl Run<'_> {
    fn new(policy: Policy, team: &Team) -> Run<'_> {
        Run {
            team,
            books: Books::open(policy, team),
            queue: Queue::new(team.agents.len()),
            next: vec![0; team.agents.len()],
            events: BinaryHeap::new(),
            scheduled: 0,
            moving: 0,
            calls: 0,
        }
    }

    fn ask(&mut self, now: Timestamp, agent: usize) {
        self.moving -= 1;
        self.queue.joins(agent);
        if !self.serve(now, agent) {
            // The tree may have divided anew for it, which may help others.
            self.serve_waiting(now);
        }
    }

    fn end(&mut self, now: Timestamp, agent: usize, hold: HoldId) {
        self.moving -= 1;
        self.calls += 1;
        self.books.settle(hold, self.next_amount(agent));
        self.next[agent] += 1;
        if self.is_finished(agent) {
            self.leave(now, agent);
        } else {
            self.predict(agent);
            let call = &self.team.agents[agent].calls[self.next[agent]];
            self.schedule(now.after(call.pause), Event::Ask(agent));
        }
    }

    fn leave(&mut self, now: Timestamp, agent: usize) {
        self.queue.leaves(agent);
        self.books.release(now, agent);
        self.serve_waiting(now);
    }

    /// Serves everybody who waits and has room now; says whether anybody was.
    fn serve_waiting(&mut self, now: Timestamp) -> bool {
        let mut served = false;
        for agent in self.queue.order() {
            // Whoever gives up lets others be served before their turn comes here.
            if self.queue.is_waiting(agent) {
                served |= self.serve(now, agent);
            }
        }
        served
    }

    /// Makes an agent's next call if there is room, else lets it wait, or give up for good.
    fn serve(&mut self, now: Timestamp, agent: usize) -> bool {
        let amount = self.next_amount(agent);
        match self.books.hold(now, agent, amount) {
            Answer::Held(hold) => {
                self.queue.served(agent, amount.cost().nanos());
                self.schedule(now.after(amount.time()), Event::End(agent, hold));
                true
            }
            Answer::Waits => {
                self.queue.waits(agent);
                false
            }
            Answer::Refused => {
                self.leave(now, agent);
                false
            }
        }
    }

    /// Predicts anew what an agent will have spent when it is done. An estimate says least near
    /// its end: whoever has not finished by then may need much more. So nobody is taken to be
    /// nearer to its end than half of its estimate, and whoever is far beyond it than half of
    /// what it is beyond.
    fn predict(&mut self, agent: usize) {
        let spent = self.books.spent(agent).nanos();
        let estimate = self.team.agents[agent].estimate.nanos();
        let missing = estimate.saturating_sub(spent);
        let remaining = missing.max(estimate / 2).max(-missing / 2).max(1);
        let need = Money::from_nanos(spent.saturating_add(remaining));
        self.books.expect(agent, need);
    }

    fn next_amount(&self, agent: usize) -> Amount {
        self.team.agents[agent].calls[self.next[agent]].amount()
    }

    fn is_finished(&self, agent: usize) -> bool {
        self.next[agent] == self.team.agents[agent].calls.len()
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        if event != Event::Round {
            self.moving += 1;
        }
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }
}
