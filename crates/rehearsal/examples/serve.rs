//! Serves a rehearsal and prints its URL; the first argument may name faults (`cut=0.1`).
//!
//! With `--team URL [ANTHROPIC_URL]` it plays the demo's team against a server instead.

use std::env;
use std::io::{self, stdout};

use fisc_rehearsal::team::team;
use fisc_rehearsal::{Faults, Rehearsal, Settings};

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(("--team", urls)) = arguments
        .split_first()
        .map(|(first, rest)| (&first[..], rest))
    {
        let url = urls
            .first()
            .map_or("http://127.0.0.1:8000/v1", String::as_str);
        let outcome = team(url, urls.get(1).map(String::as_str), &mut stdout()).await;
        println!("{outcome:#?}");
        return Ok(());
    }
    let faults = arguments
        .first()
        .map_or("", String::as_str)
        .parse::<Faults>();
    let settings = Settings {
        faults: faults.map_err(io::Error::other)?,
        ..Settings::instant()
    };
    let rehearsal = Rehearsal::start(settings)?;
    println!("{}", rehearsal.url());
    tokio::signal::ctrl_c().await?;
    rehearsal.shutdown().await;
    Ok(())
}
