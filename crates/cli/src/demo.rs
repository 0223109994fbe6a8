//! `fisc demo`: a team of agents under a budget, one of which runs away.
//!
//! The team is this very program as a child process: it knows two base URLs from its environment
//! and nothing else, as any program under `fisc run`.

use std::ffi::OsString;
use std::io;

use clap::Parser;
use fisc_rehearsal::team;

use crate::args::{Cli, Command, DemoArgs};
use crate::failure::Failure;

/// What the demo runs. The team needs a few cents; the runaway would take all of them.
const BUDGET: [&str; 11] = [
    "run",
    "--rehearse",
    "--cost",
    "0.20",
    "--tokens",
    "200k",
    "--time",
    "50s",
    "--grace",
    "2s",
    "--budget=runaway=0.002",
];

/// Runs the demo, or is its team.
pub(crate) async fn run(args: &DemoArgs) -> Result<u8, Failure> {
    if args.team {
        return be_the_team().await;
    }
    let me = std::env::current_exe().map_err(|error| Failure::internal(error.to_string()))?;
    let mut line: Vec<OsString> = vec!["fisc".into()];
    line.extend(BUDGET.map(OsString::from));
    if let Some(json) = &args.json {
        line.extend([OsString::from("--json"), json.into()]);
    }
    line.extend(["--".into(), me.into(), "demo".into(), "--team".into()]);
    eprintln!("fisc ▸ four agents and a runaway, against a scripted provider:");
    eprintln!("fisc ▸ fisc {} -- the-team", BUDGET.join(" "));
    let cli = Cli::try_parse_from(line).map_err(|error| Failure::internal(error.to_string()))?;
    let Command::Run(run) = cli.command else {
        return Err(Failure::internal("the demo's own command line is wrong"));
    };
    crate::run::run(&run).await
}

async fn be_the_team() -> Result<u8, Failure> {
    let base = std::env::var("OPENAI_BASE_URL").map_err(|_| {
        Failure::usage("the team has nobody to call").hint("start it with: fisc demo")
    })?;
    let anthropic = std::env::var("ANTHROPIC_BASE_URL").ok();
    let outcome = team::team(&base, anthropic.as_deref(), &mut io::stdout()).await;
    Ok(u8::from(!outcome.failed.is_empty()))
}
