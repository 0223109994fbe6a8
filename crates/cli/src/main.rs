//! The `fisc` program: parse, run, exit.

use std::process::ExitCode;

use clap::Parser;
use fisc_cli::args::Cli;

fn main() -> ExitCode {
    // Before any thread: each inherits what is blocked.
    fisc_cli::supervise::never_stop_on_output();
    fisc_cli::start(Cli::parse())
}
