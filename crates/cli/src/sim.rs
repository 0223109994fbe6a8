//! `fisc sim`: ways of sharing compared on the same simulated teams, and scores of what is learned
//! and held on the calls of a trace.

use std::fs::File;
use std::path::{Path, PathBuf};

use fisc::clock::{Clock, SystemClock};
use fisc_core::{Resource, TimeUs};
use fisc_sim::{
    ForecastSettings, HoldsSettings, Policy, Rates, Requests, Script, Settings, TraceError,
    read_requests, read_trace, synthetic,
};

use crate::failure::Failure;

/// `fisc sim`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A team's budget is scarce: a part of what its agents need together. \
Finished: agents that ended their work, as a part of those that would have, had every need been \
known and the smallest been served first. Starved: less than half of need or equal share."
)]
pub struct SimArgs {
    /// The seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Sizes of teams
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "5,10,20"
    )]
    pub teams: Vec<usize>,
    /// Budgets as parts of what a team needs
    #[arg(
        long,
        value_name = "F,...",
        value_delimiter = ',',
        default_value = "0.6,0.7,0.8,0.9"
    )]
    pub scarcity: Vec<f64>,
    /// How many teams there are at least, over all sizes and budgets
    #[arg(long, value_name = "N", default_value_t = 360)]
    pub trials: usize,
    /// A trace of real agents (CSV, plain or gzip) instead of invented ones
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Agents start at any time within ten minutes
    #[arg(long)]
    pub late_starters: bool,
    /// One agent of each team needs ten times what it should
    #[arg(long)]
    pub runaway: bool,
    /// A way of sharing [default: all]
    #[arg(long = "policy", value_name = "P")]
    pub policies: Vec<Policy>,
    /// Score one mechanism instead of comparing ways of sharing
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["policies", "plot"])]
    pub score: Option<Score>,
    /// Calls that are made at a time, at most, where holds are scored
    #[arg(long, value_name = "K", default_value_t = 8, requires = "score")]
    pub workers: usize,
    /// The budget in mean calls, where holds are scored
    #[arg(long, value_name = "N", default_value_t = 100, requires = "score")]
    pub budget_calls: u64,
    /// Of which resource forecasts are scored
    #[arg(long, value_enum, value_name = "R", default_value_t = Scored::Tokens, requires = "score")]
    pub resource: Scored,
    /// How many other runs the forecaster knows
    #[arg(long, value_name = "N", default_value_t = 0, requires = "score")]
    pub history: usize,
    /// Draw the comparison (.svg or .png)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// What is scored apart from ways of sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Score {
    /// How well holds are sized: budget used, calls at a time, answers cut short
    Holds,
    /// How near forecasts are: time left, total, intervals, alarms
    Forecast,
}

/// Of which resource forecasts are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scored {
    /// Tokens of input and output together
    Tokens,
    /// Money
    Cost,
}

/// How many agents are invented when there is no trace.
const SYNTHETIC: usize = 250;

/// Runs the simulation and shows what came of it.
pub(crate) fn run(args: &SimArgs) -> Result<u8, Failure> {
    if let Some(score) = args.score {
        return match score {
            Score::Holds => score_holds(args),
            Score::Forecast => score_forecast(args),
        };
    }
    let settings = settings(args);
    let scripts = scripts(args)?;
    let clock = SystemClock::default();
    let mut stopwatch = || TimeUs(clock.now().0);
    let report = fisc_sim::run(&settings, &scripts, &mut stopwatch)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if let Some(file) = &args.plot {
        fisc_sim::plot(&report, file)
            .map_err(|error| Failure::configuration(format!("{}: {error}", file.display())))?;
    }
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(crate::exit::OK)
}

fn score_holds(args: &SimArgs) -> Result<u8, Failure> {
    let settings = HoldsSettings {
        workers: args.workers,
        budget_calls: args.budget_calls,
        ..HoldsSettings::default()
    };
    let score = fisc_sim::score_holds(&requests(args)?, settings)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if args.json {
        println!("{:#}", score.to_json());
    } else {
        print!("{score}");
    }
    Ok(crate::exit::OK)
}

fn score_forecast(args: &SimArgs) -> Result<u8, Failure> {
    let settings = ForecastSettings {
        resource: match args.resource {
            Scored::Tokens => Resource::Tokens,
            Scored::Cost => Resource::Cost,
        },
        history: args.history,
        seed: args.seed,
    };
    let score = fisc_sim::score_forecast(&scripts(args)?, settings);
    if args.json {
        println!("{:#}", score.to_json());
    } else {
        print!("{score}");
    }
    Ok(crate::exit::OK)
}

fn settings(args: &SimArgs) -> Settings {
    let policies = if args.policies.is_empty() {
        Policy::ALL.to_vec()
    } else {
        args.policies.clone()
    };
    Settings {
        seed: args.seed,
        sizes: args.teams.clone(),
        scarcities: args.scarcity.clone(),
        teams: args.trials,
        late_starters: args.late_starters,
        runaway: args.runaway,
        policies,
    }
}

fn scripts(args: &SimArgs) -> Result<Vec<Script>, Failure> {
    let Some(path) = &args.replay else {
        return Ok(synthetic(args.seed, SYNTHETIC));
    };
    read(path, |file| read_trace(file, Rates::default()))
}

fn requests(args: &SimArgs) -> Result<Requests, Failure> {
    let Some(path) = &args.replay else {
        return Ok(Requests::of_scripts(&synthetic(args.seed, SYNTHETIC)));
    };
    read(path, |file| read_requests(file, Rates::default()))
}

fn read<T>(path: &Path, read: impl FnOnce(File) -> Result<T, TraceError>) -> Result<T, Failure> {
    let failed = |problem: String| Failure::configuration(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    read(file).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        sim: SimArgs,
    }

    fn parsed(words: &[&str]) -> SimArgs {
        let line = ["sim"].iter().chain(words);
        Line::try_parse_from(line).expect("a valid line").sim
    }

    #[test]
    fn what_is_not_given_is_as_the_simulator_would_have_it() {
        let settings = settings(&parsed(&[]));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn lists_are_separated_by_commas_and_policies_repeated() {
        let args = parsed(&[
            "--teams",
            "3,4",
            "--scarcity",
            "0.5,1",
            "--policy",
            "fair",
            "--policy",
            "pool",
            "--runaway",
        ]);
        let settings = settings(&args);
        assert_eq!(settings.sizes, [3, 4]);
        assert_eq!(settings.scarcities, [0.5, 1.0]);
        assert_eq!(settings.policies, [Policy::Fair, Policy::Pool]);
        assert!(settings.runaway && !settings.late_starters);
    }

    #[test]
    fn holds_are_scored_with_as_many_workers_and_calls_as_said() {
        let args = parsed(&["--score", "holds", "--budget-calls", "20"]);
        assert_eq!(args.score, Some(Score::Holds));
        assert_eq!((args.workers, args.budget_calls), (8, 20));
        let both = Line::try_parse_from(["sim", "--score", "holds", "--policy", "fair"]);
        assert!(both.is_err(), "policies of sharing are not scored");
    }

    #[test]
    fn an_unknown_policy_is_refused_with_those_that_there_are() {
        let refused = Line::try_parse_from(["sim", "--policy", "fairest"]);
        let text = refused.expect_err("no such policy").to_string();
        assert!(text.contains("dynamic, fair, equal"), "{text}");
    }
}
