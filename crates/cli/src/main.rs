//! The `fisc` program: parse, run, exit.

use std::process::ExitCode;

use clap::Parser;
use fisc_cli::args::Cli;

fn main() -> ExitCode {
    fisc_cli::start(Cli::parse())
}
