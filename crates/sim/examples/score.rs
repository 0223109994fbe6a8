//! Scores the forecasts on a trace, or on invented agents without one:
//! `score [TRACE|-] [tokens|cost] [PAST_RUNS] [SEED]`.

use std::fs::File;

use fisc_core::Resource;
use fisc_sim::{ForecastSettings, Rates, read_trace, score_forecast, synthetic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let scripts = match arguments.next().as_deref() {
        None | Some("-") => synthetic(1, 200),
        Some(path) => read_trace(File::open(path)?, Rates::default())?,
    };
    let resource = match arguments.next().as_deref() {
        Some("cost") => Resource::Cost,
        _ => Resource::Tokens,
    };
    let history = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let settings = ForecastSettings {
        resource,
        history,
        seed,
    };
    print!("{}", score_forecast(&scripts, settings));
    Ok(())
}
