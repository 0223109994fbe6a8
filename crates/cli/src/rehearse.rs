//! `fisc rehearse`: the scripted provider by itself.

use fisc_rehearsal::{Rehearsal, Settings};

use crate::args::RehearseArgs;
use crate::failure::Failure;
use crate::supervise::Signals;

/// Serves the scripted provider until it is told to end.
pub(crate) async fn run(args: &RehearseArgs) -> Result<u8, Failure> {
    let settings = Settings {
        listen: args.listen,
        seed: args.seed,
        faults: args
            .faults
            .parse()
            .map_err(|error: fisc_rehearsal::FaultsError| {
                Failure::usage(format!("--faults: {error}"))
            })?,
        latency: args
            .latency
            .parse()
            .map_err(|error: fisc_rehearsal::LatencyError| {
                Failure::usage(format!("--latency: {error}"))
            })?,
        truth_file: args.truth.clone(),
        ..Settings::default()
    };
    let rehearsal = Rehearsal::start(settings).map_err(|error| {
        Failure::configuration(format!("cannot listen on {}: {error}", args.listen))
    })?;
    println!("OPENAI_BASE_URL={}/v1", rehearsal.url());
    println!("ANTHROPIC_BASE_URL={}", rehearsal.url());
    let signals = Signals::listen_for_end();
    let mut signals = signals.map_err(|error| Failure::internal(error.to_string()))?;
    signals.next().await;
    rehearsal.shutdown().await;
    Ok(0)
}
