//! A score as a table and as JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::measure::Loose;
use super::{HoldScore, HoldsScore};

// === impl HoldsScore ===

impl HoldsScore {
    /// Returns it as JSON: the policies with the input known, and below `worst` with it bounded.
    pub fn to_json(&self) -> Value {
        let policies = |scores: &[HoldScore]| -> Map<String, Value> {
            let one = |score: &HoldScore| (score.policy.name().to_owned(), score.to_json());
            scores.iter().map(one).collect()
        };
        let loose = |loose: &Loose| json!({ "calls": loose.calls, "ratio": loose.ratio() });
        json!({
            "workers": self.settings.workers,
            "budget_calls": self.settings.budget_calls,
            "cache": "known",
            "policies": policies(&self.known),
            "worst": {
                "cache": "worst",
                "policies": policies(&self.worst),
                "input_bound": {
                    "prefix": loose(&self.input.prefix),
                    "bytes": loose(&self.input.bytes),
                },
            },
        })
    }
}

impl fmt::Display for HoldsScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        writeln!(
            f,
            "{} workers, a budget of {} mean calls, from {} places",
            settings.workers, settings.budget_calls, settings.offsets
        )?;
        table(f, "cache: known", &self.known)?;
        table(f, "cache: worst", &self.worst)?;
        self.gap(f)
    }
}

impl HoldsScore {
    /// Says what bounding the input costs, and what narrows it.
    fn gap(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(known), Some(worst)) = (self.known.first(), self.worst.first()) else {
            return Ok(());
        };
        writeln!(
            f,
            "\nthe gap of {}: {:.4} of utilization, {:.3} of concurrency",
            known.policy.name(),
            known.utilization - worst.utilization,
            known.concurrency - worst.concurrency,
        )?;
        let ratio = |loose: &Loose| match loose.ratio() {
            Some(ratio) => format!("{ratio:.2} times the input"),
            None => "none".to_owned(),
        };
        writeln!(
            f,
            "bound of calls with a known prefix ({:.0} %): {}; of the others: {}",
            100.0 * self.input.with_prefix(),
            ratio(&self.input.prefix),
            ratio(&self.input.bytes),
        )
    }
}

fn table(f: &mut fmt::Formatter<'_>, title: &str, scores: &[HoldScore]) -> fmt::Result {
    writeln!(
        f,
        "\n{title:<12} {:>11} {:>9} {:>11} {:>9}",
        "utilization", "overspend", "concurrency", "truncated"
    )?;
    for score in scores {
        writeln!(f, "{score}")?;
    }
    Ok(())
}

// === impl HoldScore ===

impl HoldScore {
    fn to_json(self) -> Value {
        json!({
            "utilization": self.utilization,
            "overspend": self.overspend,
            "concurrency": self.concurrency,
            "truncated": self.truncated,
        })
    }
}

impl fmt::Display for HoldScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12} {:>11.4} {:>8.2}% {:>11.3} {:>8.2}%",
            self.policy.name(),
            self.utilization,
            100.0 * self.overspend,
            self.concurrency,
            100.0 * self.truncated,
        )
    }
}
