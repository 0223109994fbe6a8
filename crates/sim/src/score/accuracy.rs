//! How good forecasts are on recorded or invented agents: what is scored, as table and JSON.

use std::fmt;

use fisc_core::{Method, Resource};
use serde_json::{Map, Value, json};

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForecastSettings {
    /// Which resource's course is forecast.
    pub resource: Resource,
    /// How many other runs the forecaster knows; 0 is none, more than there are is all.
    pub history: usize,
    /// Decides which runs are known.
    pub seed: u64,
}

/// How good every method was.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastScore {
    /// What was scored.
    pub settings: ForecastSettings,
    /// How many runs there were.
    pub runs: usize,
    /// How many forecasts each method was asked for.
    pub forecasts: usize,
    /// One line a method.
    pub methods: Vec<MethodScore>,
}

/// How good one method was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MethodScore {
    /// The method.
    pub method: Method,
    /// The median of |forecast − truth| / truth of the time until the limit is spent.
    pub rem_error_median: Option<f64>,
    /// The same of the total at the end of the run, by its true total.
    pub total_error_median: Option<f64>,
    /// How many of the intervals of remaining time held the truth; `None` without intervals.
    pub coverage_90: Option<f64>,
    /// The same of the intervals of the total.
    pub total_coverage_90: Option<f64>,
    /// The F1 of the alarm that a total will be exceeded.
    pub alarm_f1: Option<f64>,
    /// How many of the cases without excess had the alarm.
    pub alarm_false: Option<f64>,
}

// === impl ForecastScore ===

impl ForecastScore {
    /// Returns what scripts read; what there is no figure for is `null`.
    pub fn to_json(&self) -> Value {
        let methods: Map<String, Value> = self
            .methods
            .iter()
            .map(|score| (score.method.name().to_owned(), score.to_json()))
            .collect();
        json!({ "methods": methods })
    }
}

impl fmt::Display for ForecastScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, {} forecasts of {}, {} past runs known",
            self.runs, self.forecasts, self.settings.resource, self.settings.history
        )?;
        writeln!(
            f,
            "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "method", "time off", "total off", "covered", "covered", "alarm f1", "false"
        )?;
        for score in &self.methods {
            writeln!(f, "{score}")?;
        }
        Ok(())
    }
}

// === impl MethodScore ===

impl MethodScore {
    fn to_json(self) -> Value {
        json!({
            "rem_error_median": rounded(self.rem_error_median),
            "total_error_median": rounded(self.total_error_median),
            "coverage_90": rounded(self.coverage_90),
            "total_coverage_90": rounded(self.total_coverage_90),
            "alarm_f1": rounded(self.alarm_f1),
            "alarm_false": rounded(self.alarm_false),
        })
    }
}

impl fmt::Display for MethodScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14}", self.method.name())?;
        for figure in [
            self.rem_error_median,
            self.total_error_median,
            self.coverage_90,
            self.total_coverage_90,
            self.alarm_f1,
            self.alarm_false,
        ] {
            match figure {
                Some(figure) => write!(f, " {figure:>9.3}")?,
                None => write!(f, " {:>9}", "-")?,
            }
        }
        Ok(())
    }
}

/// Six decimals, as in every report.
fn rounded(figure: Option<f64>) -> Option<f64> {
    figure.map(|figure| (figure * 1e6).round() / 1e6)
}
