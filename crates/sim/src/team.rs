//! Teams: agents drawn from scripts, what is believed of them, and their budget.

use fisc_core::{Money, Timestamp};

use crate::draw::Draw;
use crate::script::{Call, Script};
use crate::settings::Settings;

/// A team and its budget. Every policy meets the same teams.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    /// What it may spend.
    pub(crate) budget: Money,
    pub(crate) agents: Vec<Agent>,
}

/// One agent of a team.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) calls: Vec<Call>,
    /// What all its calls cost.
    pub(crate) need: Money,
    /// What it is believed to need.
    pub(crate) estimate: Money,
    /// Its weight under `priority`.
    pub(crate) weight: u16,
    /// When it makes its first call.
    pub(crate) start: Timestamp,
}

/// How far estimates are off: the deviation of their logarithm. That of runs of the same task.
const ESTIMATE_SIGMA: f64 = 0.35;

/// Within how many seconds late starters start.
const LATE_SECONDS: f64 = 600.0;

/// How many times a runaway repeats its calls.
const RUNAWAY: usize = 10;

const WEIGHTS: [u16; 3] = [1, 2, 4];

/// Draws all teams of the settings.
pub(crate) fn teams(settings: &Settings, scripts: &[Script]) -> Vec<Team> {
    let mut teams = Vec::new();
    for size in &settings.sizes {
        for scarcity in &settings.scarcities {
            for number in 0..settings.teams_per_cell() {
                let cell = [*size as u64, scarcity.to_bits(), number as u64];
                let mut draw = Draw::new(settings.seed, &cell);
                teams.push(team(settings, scripts, *size, *scarcity, &mut draw));
            }
        }
    }
    teams
}

fn team(
    settings: &Settings,
    scripts: &[Script],
    size: usize,
    scarcity: f64,
    draw: &mut Draw,
) -> Team {
    let mut agents: Vec<Agent> = picked(scripts.len(), size, draw)
        .into_iter()
        .map(|index| agent(&scripts[index], draw))
        .collect();
    let need: f64 = agents.iter().map(|agent| agent.need.nanos() as f64).sum();
    let budget = Money::from_nanos((need * scarcity).round() as i64);
    let runaway = draw.below(size);
    let starts: Vec<f64> = (0..size).map(|_| draw.between(0.0, LATE_SECONDS)).collect();
    if settings.runaway {
        agents[runaway].run_away();
    }
    if settings.late_starters {
        for (agent, seconds) in agents.iter_mut().zip(starts) {
            agent.start = Timestamp((seconds * 1e6) as i64);
        }
    }
    Team { budget, agents }
}

/// Picks `size` of `count` scripts, none twice while there are enough.
fn picked(count: usize, size: usize, draw: &mut Draw) -> Vec<usize> {
    let mut left: Vec<usize> = (0..count).collect();
    let mut picked = Vec::with_capacity(size);
    while picked.len() < size {
        if left.is_empty() {
            left = (0..count).collect();
        }
        picked.push(left.swap_remove(draw.below(left.len())));
    }
    picked
}

fn agent(script: &Script, draw: &mut Draw) -> Agent {
    let need = script.need();
    let estimate = need.nanos() as f64 * draw.lognormal(ESTIMATE_SIGMA);
    Agent {
        calls: script.calls.clone(),
        need,
        estimate: Money::from_nanos((estimate.round() as i64).max(1)),
        weight: WEIGHTS[draw.below(WEIGHTS.len())],
        start: Timestamp(0),
    }
}

// === impl Agent ===

impl Agent {
    /// Repeats its work instead of ending it; nobody expects that.
    fn run_away(&mut self) {
        self.calls = self.calls.repeat(RUNAWAY);
        let nanos = self.need.nanos().saturating_mul(RUNAWAY as i64);
        self.need = Money::from_nanos(nanos);
    }
}
