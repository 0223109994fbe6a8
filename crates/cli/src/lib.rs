//! The `fisc` command line.
//!
//! Commands resolve what was typed, call the crates below and show what came of it; nothing here
//! decides about budgets. [`start`] is one match over everything that the program can do.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod amounts;
pub mod args;
mod budget;
mod check;
mod demo;
pub mod env_file;
pub mod exit;
pub mod failure;
mod forecast;
mod home;
mod price;
mod question;
mod rehearse;
mod remote;
pub mod report;
mod resolve;
mod run;
mod serve;
pub mod sim;
pub mod supervise;
mod verify;
mod wire;
pub mod wiring;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::Failure;

/// Does what the command line says and returns the exit code.
pub fn start(cli: Cli) -> ExitCode {
    end_when_nobody_reads();
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli.command)),
        Err(error) => Err(Failure::internal(format!("no runtime: {error}"))),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// Ends as other programs do when nobody reads any more what is printed, as before `| head`. The
/// standard library ignores the signal and panics over what comes of it.
fn end_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        let is_closed = message.is_some_and(|message| {
            message.starts_with("failed printing to stdout") && message.contains("Broken pipe")
        });
        if is_closed {
            std::process::exit(exit::NOBODY_READS.into());
        }
        usual(panic);
    }));
}

async fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => run::run(&args).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Serve(args) => serve::run(&args).await,
        Command::Check(args) => check::run(&args),
        Command::Report(args) => report::run(&args).map(|()| exit::OK),
        Command::Forecast(args) => forecast::run(&args).map(|()| exit::OK),
        Command::Budget(args) => budget::run(&args.command).await,
        Command::Grant(args) => budget::grant(&args).await,
        Command::Approve(args) => question::approve(&args).await,
        Command::Deny(args) => question::deny(&args).await,
        Command::Freeze(args) => budget::set_frozen(&args, true).await,
        Command::Thaw(args) => budget::set_frozen(&args, false).await,
        Command::Resolve(args) => resolve::run(&args).await,
        Command::Verify(args) => verify::run(&args),
        Command::Price(args) => price::run(&args),
        Command::Rehearse(args) => rehearse::run(&args).await,
        Command::Sim(args) => sim::run(&args),
    }
}

/// Logs go to standard error, and only when `FISC_LOG` asks for them.
fn start_logging() {
    let Ok(filter) = EnvFilter::try_from_env("FISC_LOG") else {
        return;
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(io::stderr);
    // Started once; a second start in tests changes nothing.
    let _ = subscriber.try_init();
}
