//! What a simulation shows: a table to read, JSON for scripts.

use std::fmt;

use fisc_core::TimeUs;
use serde_json::{Map, Value, json};

use crate::measure::{Measures, mean};
use crate::policy::Policy;

/// All policies over the same teams.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many teams there were.
    pub teams: usize,
    /// How many agents, over all teams.
    pub agents: usize,
    /// One line a policy.
    pub policies: Vec<PolicyReport>,
}

/// One policy: means over all teams.
#[derive(Debug, Clone, Copy)]
pub struct PolicyReport {
    /// The policy.
    pub policy: Policy,
    /// See [`Measures::utilization`].
    pub utilization: f64,
    /// See [`Measures::completed`].
    pub completed_vs_clairvoyant: f64,
    /// See [`Measures::jain`].
    pub jain: f64,
    /// See [`Measures::starved`].
    pub starved: f64,
    /// See [`Measures::stranded`].
    pub stranded: f64,
    /// See [`Measures::overspend`].
    pub overspend: f64,
    /// See [`Measures::on_loan`].
    pub on_loan: f64,
    /// The overhead index as it is written: 0.1 an agent, 1 for tracking operations, 2 for
    /// dividing anew, 5 for auctions.
    pub overhead: f64,
    /// The same with each loop's part divided by its period in seconds.
    pub overhead_amortised: f64,
    /// Measured time a simulated call, holds, divisions and simulation together, in
    /// microseconds.
    pub measured_us: f64,
}

/// The periods of the loops that divide anew and sell, in seconds.
const ROUND_SECONDS: f64 = 5.0;
const PERIOD_SECONDS: f64 = 10.0;

// === impl Report ===

impl Report {
    /// Returns what scripts read; nothing in it depends on the machine.
    pub fn to_json(&self) -> Value {
        let policies: Map<String, Value> = self
            .policies
            .iter()
            .map(|report| (report.policy.name().to_owned(), report.to_json()))
            .collect();
        json!({ "policies": policies })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} teams, {} agents", self.teams, self.agents)?;
        writeln!(
            f,
            "{:<13} {:>7} {:>9} {:>7} {:>8} {:>9} {:>10} {:>8} {:>9} {:>10} {:>8}",
            "policy",
            "used",
            "finished",
            "jain",
            "starved",
            "stranded",
            "overspent",
            "on loan",
            "overhead",
            "amortised",
            "us/call",
        )?;
        for report in &self.policies {
            writeln!(f, "{report}")?;
        }
        Ok(())
    }
}

// === impl PolicyReport ===

impl PolicyReport {
    /// Takes the means over all teams; `spent` is what the machine needed for them.
    pub(crate) fn new(policy: Policy, measures: &[Measures], spent: TimeUs) -> PolicyReport {
        let over = |field: fn(&Measures) -> f64| mean(measures.iter().map(field));
        let agents = over(|one| one.agents as f64);
        let calls: u64 = measures.iter().map(|one| one.calls).sum();
        let dividing = f64::from(u8::from(policy.rebalances()));
        let selling = f64::from(u8::from(policy == Policy::Auction));
        PolicyReport {
            policy,
            utilization: over(|one| one.utilization),
            completed_vs_clairvoyant: mean(measures.iter().filter_map(|one| one.completed)),
            jain: over(|one| one.jain),
            starved: mean_by_agent(measures),
            stranded: over(|one| one.stranded),
            overspend: over(|one| one.overspend),
            on_loan: over(|one| one.on_loan),
            overhead: 0.1 * agents + 1.0 + 2.0 * dividing + 5.0 * selling,
            overhead_amortised: 0.1 * agents
                + 1.0
                + 2.0 * dividing / ROUND_SECONDS
                + 5.0 * selling / PERIOD_SECONDS,
            measured_us: spent.0 as f64 / calls.max(1) as f64,
        }
    }

    fn to_json(self) -> Value {
        json!({
            "utilization": rounded(self.utilization),
            "completed_vs_clairvoyant": rounded(self.completed_vs_clairvoyant),
            "jain": rounded(self.jain),
            "starved": rounded(self.starved),
            "stranded": rounded(self.stranded),
            "overspend": rounded(self.overspend),
        })
    }
}

impl fmt::Display for PolicyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<13} {:>7.4} {:>9.4} {:>7.4} {:>7.2}% {:>8.2}% {:>9.2}% {:>7.2}% \
             {:>9.2} {:>10.2} {:>8.2}",
            self.policy,
            self.utilization,
            self.completed_vs_clairvoyant,
            self.jain,
            self.starved * 100.0,
            self.stranded * 100.0,
            self.overspend * 100.0,
            self.on_loan * 100.0,
            self.overhead,
            self.overhead_amortised,
            self.measured_us,
        )
    }
}

/// The starved part of all agents, not of the average team.
fn mean_by_agent(measures: &[Measures]) -> f64 {
    let agents: f64 = measures.iter().map(|one| one.agents as f64).sum();
    let starved: f64 = measures
        .iter()
        .map(|one| one.starved * one.agents as f64)
        .sum();
    if agents > 0.0 { starved / agents } else { 0.0 }
}

/// Six decimals: no more is meant, and none of them depends on the machine.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
