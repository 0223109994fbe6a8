//! The demo's team of agents: a planner that spawns workers, and one that runs away.
//!
//! It is an ordinary client program: it knows two base URLs and names its agents and operations
//! in headers, and it finds out about a budget as any program does, by being refused.

mod wire;

use std::io::Write;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use wire::{Client, Problem, Service};

/// How long the runaway may go on when nobody stops it.
const PATIENCE: Duration = Duration::from_secs(18);
/// How many of the runaway's calls are printed before it is only counted.
const RUNAWAY_LINES: u64 = 3;
/// Every how many calls the runaway is printed after that.
const RUNAWAY_STEP: u64 = 10;

/// How the team fared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TeamOutcome {
    /// Calls that were answered.
    pub calls: u64,
    /// Tokens that the answers reported, input and output.
    pub tokens: u64,
    /// The agents that did all their work.
    pub finished: Vec<String>,
    /// The agents that did not, each with the reason.
    pub failed: Vec<(String, String)>,
    /// Calls of the runaway that were answered.
    pub runaway_calls: u64,
    /// Whether the runaway was stopped by a refusal (HTTP 402).
    pub runaway_stopped: bool,
}

/// A worker's part: who it is, whom it asks, what it does.
struct Role {
    name: &'static str,
    service: Service,
    model: &'static str,
    system: &'static str,
    steps: &'static [(&'static str, &'static str)],
    stream: bool,
}

/// An agent at work.
struct Agent<'a> {
    client: &'a Client,
    role: &'a Role,
    said: Vec<(&'static str, String)>,
    calls: u64,
    tokens: u64,
    lines: &'a UnboundedSender<String>,
}

const PLANNER: Role = Role {
    name: "planner",
    service: Service::OpenAi,
    model: "gpt-4o",
    system: "You plan the work of a small team of agents and sum up what they found.",
    steps: &[],
    stream: false,
};

const RUNAWAY: Role = Role {
    name: "runaway",
    service: Service::OpenAi,
    model: "gpt-4o-mini",
    system: "You search until you are certain. You are never certain.",
    steps: &[],
    stream: false,
};

const RESEARCHER: Role = Role {
    name: "researcher",
    service: Service::OpenAi,
    model: "gpt-4o-mini",
    system: "You find sources and read them critically.",
    steps: &[
        (
            "search",
            "Find sources on how teams of agents exceed their budgets.",
        ),
        ("read", "Read the best of them and note its figures."),
        ("search", "Find what contradicts those figures."),
        ("read", "Read that too and weigh both."),
        (
            "report",
            "Report the three findings that stand, with their sources.",
        ),
    ],
    stream: false,
};

const WRITER: Role = Role {
    name: "writer",
    service: Service::Anthropic,
    model: "claude-sonnet-4-5",
    system: "You write short, plain English for engineers.",
    steps: &[
        (
            "outline",
            "Outline a one-page note on budgets for teams of agents.",
        ),
        ("draft", "Draft the first half of the note."),
        ("draft", "Draft the second half of the note."),
        ("polish", "Cut a third of the words and keep the sense."),
    ],
    stream: true,
};

const REVIEWER: Role = Role {
    name: "reviewer",
    service: Service::OpenAi,
    model: "gpt-4.1-mini",
    system: "You review notes for errors of fact and of tone.",
    steps: &[
        ("read", "Read the outline and list what is missing."),
        ("check", "Check every number in the draft."),
        ("check", "Check every claim that has no number."),
        ("review", "Write the review, the worst first."),
    ],
    stream: true,
};

/// Plays the team against the services behind the base URLs and writes what happens to `out`.
///
/// `base_url` is what `OPENAI_BASE_URL` would be, `anthropic_base` what `ANTHROPIC_BASE_URL`
/// would be; without the latter everybody uses the former. Keys come from `OPENAI_API_KEY` and
/// `ANTHROPIC_API_KEY`, or are made up. Lines that cannot be written are dropped.
pub async fn team(
    base_url: &str,
    anthropic_base: Option<&str>,
    out: &mut impl Write,
) -> TeamOutcome {
    let client = Client::new(base_url, anthropic_base);
    let (lines, mut printed) = unbounded_channel();
    let mut work = Box::pin(play(&client, &lines));
    let outcome = loop {
        tokio::select! {
            Some(line) = printed.recv() => print(out, &line),
            outcome = &mut work => break outcome,
        }
    };
    rest(out, &mut printed);
    outcome
}

async fn play(client: &Client, lines: &UnboundedSender<String>) -> TeamOutcome {
    let mut outcome = TeamOutcome::default();
    let mut planner = Agent::new(client, &PLANNER, lines);
    let plan = "Plan a one-page note on budgets for teams of agents: who does what, in order.";
    let planned = planner.ask("plan", plan.to_owned()).await;
    if let Err(problem) = planned {
        planner.leave(&mut outcome, Err(problem));
        return outcome;
    }
    planner.tell("spawns researcher, writer, reviewer and runaway");
    let (researcher, writer, reviewer, ()) = tokio::join!(
        Agent::new(client, &RESEARCHER, lines).work(),
        Agent::new(client, &WRITER, lines).work(),
        Agent::new(client, &REVIEWER, lines).work(),
        run_away(client, lines, &mut outcome),
    );
    for (agent, result) in [researcher, writer, reviewer] {
        agent.leave(&mut outcome, result);
    }
    let sum_up = "Sum up what the team delivered, in five sentences.".to_owned();
    let summed = planner.ask("summary", sum_up).await;
    planner.leave(&mut outcome, summed.map(|_| ()));
    let end = if outcome.runaway_stopped {
        "stopped"
    } else {
        "not stopped"
    };
    let line = format!(
        "team       done: {} of 4 finished, the runaway was {end} after {} calls; {} tokens",
        outcome.finished.len(),
        outcome.runaway_calls,
        outcome.tokens,
    );
    send(lines, line);
    outcome
}

/// Searches for nearly the same thing for ever, or until it is refused.
async fn run_away(client: &Client, lines: &UnboundedSender<String>, outcome: &mut TeamOutcome) {
    let mut agent = Agent::new(client, &RUNAWAY, lines);
    let until = Instant::now() + PATIENCE;
    loop {
        let page = agent.calls + 1;
        let prompt = format!("Search again: budget overrun causes, page {page}.");
        let quiet = agent.calls >= RUNAWAY_LINES && !page.is_multiple_of(RUNAWAY_STEP);
        match timeout_at(until, agent.step("search", prompt, quiet)).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => {
                agent.tell(&problem.to_string());
                outcome.runaway_stopped = problem.is_budget();
                break;
            }
            Err(_) => {
                agent.tell("gives up by itself: nobody stopped it");
                break;
            }
        }
    }
    agent.tell(&format!(
        "stops after {} calls, {} tokens",
        agent.calls, agent.tokens
    ));
    outcome.runaway_calls = agent.calls;
    outcome.calls += agent.calls;
    outcome.tokens += agent.tokens;
}

// === impl Agent ===

impl<'a> Agent<'a> {
    fn new(client: &'a Client, role: &'a Role, lines: &'a UnboundedSender<String>) -> Agent<'a> {
        Agent {
            client,
            role,
            said: Vec::new(),
            calls: 0,
            tokens: 0,
            lines,
        }
    }

    /// Takes all steps of the role, each with all that was said before.
    async fn work(mut self) -> (Agent<'a>, Result<(), Problem>) {
        for (operation, prompt) in self.role.steps {
            if let Err(problem) = self.ask(operation, (*prompt).to_owned()).await {
                return (self, Err(problem));
            }
        }
        (self, Ok(()))
    }

    async fn ask(&mut self, operation: &str, prompt: String) -> Result<String, Problem> {
        self.step(operation, prompt, false).await
    }

    async fn step(
        &mut self,
        operation: &str,
        prompt: String,
        quiet: bool,
    ) -> Result<String, Problem> {
        self.said.push(("user", prompt));
        let reply = self.client.ask(self.role, operation, &self.said).await?;
        self.calls += 1;
        self.tokens += reply.tokens;
        self.said.push(("assistant", reply.text.clone()));
        if !quiet {
            let name = self.role.name;
            let tokens = reply.tokens;
            send(
                self.lines,
                format!("{name:<10} {operation:<10} {tokens:>6} tokens"),
            );
        }
        Ok(reply.text)
    }

    fn tell(&self, what: &str) {
        send(self.lines, format!("{:<10} {what}", self.role.name));
    }

    fn leave(&self, outcome: &mut TeamOutcome, result: Result<(), Problem>) {
        outcome.calls += self.calls;
        outcome.tokens += self.tokens;
        let name = self.role.name.to_owned();
        match result {
            Ok(()) => outcome.finished.push(name),
            Err(problem) => {
                self.tell(&problem.to_string());
                outcome.failed.push((name, problem.to_string()));
            }
        }
    }
}

fn send(lines: &UnboundedSender<String>, line: String) {
    // The receiver outlives the work; when it does not, nobody reads any more.
    let _ = lines.send(line);
}

fn print(out: &mut impl Write, line: &str) {
    // A closed pipe is no reason to stop the work.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn rest(out: &mut impl Write, printed: &mut UnboundedReceiver<String>) {
    while let Ok(line) = printed.try_recv() {
        print(out, &line);
    }
}
