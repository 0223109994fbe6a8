//! Programs that ran away: an agent that asks the same again and again, whose prompts double, or
//! that calls far more often than it used to. Signs, not proofs: they are told, and where the owner
//! wants it, acted upon one level early. Nothing is refused by them.
//!
//! Pure and bounded: time comes in, and of each agent only the last calls are kept.

use std::collections::{HashMap, VecDeque};

use fisc_core::{BudgetId, Level, Sign, TimeUs, Timestamp};

use crate::handle::Fisc;

/// How many calls of an agent are kept.
const CALLS_MAX: usize = 32;

/// How many agents are watched at once; who called least recently is forgotten.
const AGENTS_MAX: usize = 1_024;

/// After how many calls an agent is known well enough to say that it behaves otherwise now.
const CALLS_MIN: usize = 20;

/// How many alike prompts of the last [`REPEATS_AMONG`] are a loop.
const REPEATS: usize = 10;

/// See [`REPEATS`]: something else in between does not make a loop of two steps none.
const REPEATS_AMONG: usize = 20;

/// How many of the last calls must be outliers.
const RECENT: usize = 5;

/// A robust z above which a call is an outlier.
const Z_MAX: f64 = 4.0;

/// What makes the median absolute deviation the standard deviation of a normal distribution.
const MAD_SCALE: f64 = 1.4826;

/// For how many more calls a sign that was told is not told again.
const QUIET: u8 = 20;

/// What is looked at of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When, by a clock that never goes back.
    pub at: TimeUs,
    /// A hash of the whole prompt.
    pub prompt: u128,
    /// A hash of the prompt but for its last message, where so much comes before it that no other
    /// task begins alike.
    pub stem: Option<u128>,
    /// How long the prompt is, in bytes.
    pub bytes: u64,
}

/// Watches the calls of agents.
#[derive(Debug, Default)]
pub struct Runaways {
    agents: HashMap<BudgetId, Agent>,
}

/// Why a budget is acted upon as if its level were one higher, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Why.
    pub why: Sign,
    /// Until when.
    pub until: Timestamp,
}

/// The last calls of one agent, oldest first.
#[derive(Debug, Default)]
struct Agent {
    calls: VecDeque<Asked>,
    /// For how many calls each sign is not told again, in the order of [`Sign::ALL`].
    quiet: [u8; Sign::ALL.len()],
}

// === impl Fisc ===

impl Fisc {
    /// Has a budget acted upon as if its level were one higher, until some time. It changes no
    /// level and refuses nothing: who acts on levels asks for it.
    pub fn raise_level(&self, id: BudgetId, why: Sign, until: Timestamp) {
        let now = self.now();
        let mut engine = self.shared.engine();
        engine.raised.retain(|_, raised| raised.until > now);
        if engine.tree.budget(id).is_some() {
            engine.raised.insert(id, Raised { why, until });
        }
    }

    /// Says whether and why a budget is to be acted upon as if its level were one higher.
    pub fn raised(&self, id: BudgetId) -> Option<Raised> {
        let now = self.now();
        let raised = self.shared.engine().raised.get(&id).copied();
        raised.filter(|raised| raised.until > now)
    }
}

// === impl Raised ===

impl Raised {
    /// Returns the level to act upon instead: one higher, but never Black by a mere sign.
    pub fn lift(&self, level: Level) -> Level {
        level.up().filter(|up| *up < Level::Black).unwrap_or(level)
    }
}

// === impl Runaways ===

impl Runaways {
    /// Takes note of a call of an agent, and returns what looks like running away, if anything.
    /// Whoever goes on as before is told again after a while.
    pub fn observe(&mut self, agent: BudgetId, call: Asked) -> Option<Sign> {
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(&agent) {
            self.forget_one();
        }
        self.agents.entry(agent).or_default().observe(call)
    }

    fn forget_one(&mut self) {
        let last = |agent: &Agent| agent.calls.back().map(|call| call.at);
        let oldest = self.agents.iter().min_by_key(|(_, agent)| last(agent));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.agents.remove(&id);
        }
    }
}

// === impl Agent ===

impl Agent {
    fn observe(&mut self, call: Asked) -> Option<Sign> {
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        for quiet in &mut self.quiet {
            *quiet = quiet.saturating_sub(1);
        }
        let mut found = None;
        for (sign, quiet) in Sign::ALL.into_iter().zip(0..) {
            if self.quiet[quiet] == 0 && found.is_none() && self.shows(sign) {
                self.quiet[quiet] = QUIET;
                found = Some(sign);
            }
        }
        found
    }

    fn shows(&self, sign: Sign) -> bool {
        match sign {
            Sign::Repeats => self.repeats(),
            Sign::Growth => self.grows(),
            Sign::Rate => self.races(),
        }
    }

    /// The last prompt, or the same with another last message, came again and again.
    fn repeats(&self) -> bool {
        let Some(last) = self.calls.back() else {
            return false;
        };
        let alike = |call: &&Asked| {
            let stem = call.stem.is_some() && call.stem == last.stem;
            call.prompt == last.prompt || (stem && near(call.bytes, last.bytes))
        };
        let among = self.calls.iter().rev().take(REPEATS_AMONG);
        among.filter(alike).count() >= REPEATS
    }

    /// Each of the last prompts grew by far more than prompts of this agent grow.
    fn grows(&self) -> bool {
        let lengths = self.calls.iter().map(|call| call.bytes as f64);
        let lengths: Vec<f64> = lengths.collect();
        let growth: Vec<f64> = lengths.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // An agent that reads a document grows at once, and then goes on as before.
        outliers(&growth, 256.0).is_some_and(|z| z.iter().all(|z| *z > Z_MAX))
    }

    /// The last calls followed one another far faster than calls of this agent do.
    fn races(&self) -> bool {
        let times = self.calls.iter().map(|call| call.at.0);
        let times: Vec<i64> = times.collect();
        // Gaps are told apart by their ratio: half is as far as double. Below a millisecond they
        // are those of calls made side by side.
        let pace = |pair: &[i64]| -((pair[1] - pair[0]).max(1_000) as f64).ln();
        let pace: Vec<f64> = times.windows(2).map(pace).collect();
        outliers(&pace, 0.2).is_some_and(|z| z.iter().all(|z| *z > Z_MAX))
    }
}

/// Returns how far each of the last few values lies above those before, in robust standard
/// deviations of at least `least`; `None` while too few are known.
fn outliers(values: &[f64], least: f64) -> Option<Vec<f64>> {
    if values.len() + 1 < CALLS_MIN {
        return None;
    }
    let (usual, recent) = values.split_at(values.len() - RECENT);
    let middle = median(usual.to_vec());
    let deviations = usual.iter().map(|value| (value - middle).abs());
    let scale = (median(deviations.collect()) * MAD_SCALE).max(least);
    Some(
        recent
            .iter()
            .map(|value| (value - middle) / scale)
            .collect(),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Says whether two lengths differ by less than a fiftieth.
fn near(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= one.max(other) / 50
}

#[cfg(test)]
mod tests;
