//! A simulator of teams that share a budget: seeded, replayable, and on the real tree.
//!
//! Agents come from synthetic profiles or from a recorded trace. They make their calls in
//! simulated time; every hold, settlement and division is the one of [`fisc_core`], so what is
//! compared is what runs in production. The same settings give the same report, byte for byte.
//!
//! How large a hold should be is a score of its own, on single calls and with the sizing and
//! learning of [`fisc_llm`]; where ways of sharing are compared, a call holds what it costs.
//! What is left out: that agents may react to a budget (they repeat what was recorded).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod books;
mod draw;
mod engine;
mod measure;
mod plot;
mod policy;
mod queue;
mod report;
mod request;
mod score;
mod script;
mod settings;
mod synthetic;
mod team;
mod trace;

pub use measure::{Measures, jain};
pub use plot::{PlotError, plot};
pub use policy::Policy;
pub use report::{PolicyReport, Report};
pub use request::{Request, Requests};
pub use score::{CacheMode, HoldPolicy, HoldScore, HoldsError, HoldsScore, HoldsSettings};
pub use score::{ForecastScore, ForecastSettings, MethodScore, score_forecast};
pub use score::{InputHeld, Loose, score_holds};
pub use script::{Call, Script};
pub use settings::{Settings, SettingsError};
pub use synthetic::{Profile, synthetic};
pub use trace::{Rates, TraceError, read_requests, read_trace};

use fisc_core::TimeUs;

/// Runs every team of the settings under every policy. `stopwatch` tells the time used so far by
/// some clock; what it measures is reported apart from everything that is simulated.
pub fn run(
    settings: &Settings,
    scripts: &[Script],
    stopwatch: &mut dyn FnMut() -> TimeUs,
) -> Result<Report, SettingsError> {
    settings.check(scripts)?;
    let teams = team::teams(settings, scripts);
    let policies = settings
        .policies
        .iter()
        .map(|policy| {
            let started = stopwatch();
            let measures: Vec<Measures> = teams
                .iter()
                .map(|team| measure::measure(team, &engine::run(*policy, team)))
                .collect();
            let spent = TimeUs(stopwatch().0 - started.0);
            PolicyReport::new(*policy, &measures, spent)
        })
        .collect();
    Ok(Report {
        teams: teams.len(),
        agents: teams.iter().map(|team| team.agents.len()).sum(),
        policies,
    })
}
