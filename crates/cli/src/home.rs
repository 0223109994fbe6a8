//! Where runs are kept: a directory for each, and a history of all, in the user's data
//! directory (`$XDG_DATA_HOME/fisc`, or `~/.local/share/fisc`).

mod known;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fisc::clock::{Clock, SystemClock};
use fisc_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::args::LedgerArgs;
use crate::failure::Failure;

/// The letters of run ids: no vowels, so that none spells a word; no digit that looks like a
/// letter.
const ID_LETTERS: &[u8; 28] = b"23456789bcdfghjkmnpqrstvwxyz";

/// How many letters tell runs apart that start in the same second.
const ID_LENGTH: usize = 4;

/// The user's runs.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// The run's id.
    pub(crate) run: String,
    /// When it ended, in seconds since 1970.
    pub(crate) ended_s: i64,
    /// The command, without arguments: they may hold secrets.
    pub(crate) command: String,
    /// How it ended.
    pub(crate) outcome: String,
    /// What it spent, in nano-dollars.
    pub(crate) cost_nanousd: i64,
    /// The tokens it used.
    pub(crate) tokens: i64,
    /// How long it took, in milliseconds.
    pub(crate) elapsed_ms: i64,
}

// === impl Home ===

impl Home {
    /// Finds the user's data directory.
    pub(crate) fn find() -> Result<Home, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = match (set("XDG_DATA_HOME"), set("HOME")) {
            (Some(data), _) => PathBuf::from(data).join("fisc"),
            (None, Some(home)) => PathBuf::from(home).join(".local/share/fisc"),
            (None, None) => {
                let failure = Failure::configuration("no directory to keep runs in");
                return Err(failure.hint("set HOME or XDG_DATA_HOME"));
            }
        };
        Ok(Home { root })
    }

    /// Makes the directory of a new run and returns its id and its ledger file.
    pub(crate) fn new_run(&self) -> Result<(String, PathBuf), Failure> {
        let id = new_id()?;
        let directory = self.root.join("runs").join(&id);
        make_private(&directory).map_err(|error| {
            let place = directory.display();
            Failure::configuration(format!("cannot make {place}: {error}"))
                .hint("set XDG_DATA_HOME to a directory that you can write to")
        })?;
        Ok((id, directory.join("ledger.db")))
    }

    /// Finds the ledger that a command is about.
    pub(crate) fn ledger(&self, which: &LedgerArgs) -> Result<PathBuf, Failure> {
        match (&which.db, &which.run) {
            (Some(path), _) => existing(path.clone()),
            (None, Some(run)) => self.ledger_of(run),
            (None, None) => self.last_ledger(),
        }
    }

    /// Finds the ledger of a run by its id, or its id's unique beginning.
    pub(crate) fn ledger_of(&self, run: &str) -> Result<PathBuf, Failure> {
        let known = self.runs();
        let found: Vec<&String> = known.iter().filter(|id| id.starts_with(run)).collect();
        match found[..] {
            [id] => Ok(self.root.join("runs").join(id).join("ledger.db")),
            [] => {
                let recent: Vec<&str> = known.iter().rev().take(3).map(String::as_str).collect();
                Err(Failure::usage(format!("no run {run:?}"))
                    .hint(format!("the latest runs are: {}", recent.join(", "))))
            }
            _ => Err(
                Failure::usage(format!("{} runs begin with {run:?}", found.len()))
                    .hint("write more of the id"),
            ),
        }
    }

    /// Adds a line to the history.
    pub(crate) fn remember(&self, past: &Past) -> io::Result<()> {
        make_private(&self.root)?;
        let mut line = serde_json::to_string(past)?;
        line.push('\n');
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.root.join("history.jsonl"))?;
        // One write, so that two runs that end at once do not mix their lines.
        file.write_all(line.as_bytes())
    }

    /// Finds where the owners of runs are let in: of the one named, or of all that have a door, the
    /// last first. A run that was killed leaves one to which nobody comes.
    pub(crate) fn doors(&self, run: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
        let beside = |ledger: PathBuf| ledger.with_file_name(crate::run::DOOR);
        if let Some(run) = run {
            let door = beside(self.ledger_of(run)?);
            if !door.exists() {
                let failure = Failure::usage(format!("{run} is not running, or asks nobody"));
                return Err(failure.hint("start it with --on-limit ask"));
            }
            return Ok(vec![door]);
        }
        let runs = self.root.join("runs");
        let doors = self.runs().into_iter().rev();
        let doors = doors.map(|id| runs.join(id).join(crate::run::DOOR));
        Ok(doors.filter(|door| door.exists()).collect())
    }

    fn last_ledger(&self) -> Result<PathBuf, Failure> {
        let runs = self.root.join("runs");
        let modified = |id: &String| fs::metadata(runs.join(id)).and_then(|meta| meta.modified());
        let last = self.runs().into_iter().max_by_key(|id| modified(id).ok());
        match last {
            Some(id) => existing(runs.join(id).join("ledger.db")),
            None => Err(Failure::usage("no run yet").hint("start with: fisc demo")),
        }
    }

    /// The ids of all runs, in order of their names.
    fn runs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("runs"))
            .into_iter()
            .flatten()
            .flatten();
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        ids
    }
}

fn existing(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.is_file() {
        return Ok(path);
    }
    let failure = Failure::usage(format!("there is no ledger {}", path.display()));
    Err(failure.hint("leave it out for the last run's, or name the one that fisc serve keeps"))
}

/// Makes a directory that only its owner can look into: ledgers say what agents did.
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn new_id() -> Result<String, Failure> {
    let mut random = [0u8; ID_LENGTH];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::internal(format!("no randomness: {error}")))?;
    Ok(id(SystemClock::default().now(), random))
}

/// Makes the id of a run: the date and time (UTC) first, so that ids sort by age.
fn id(now: Timestamp, random: [u8; ID_LENGTH]) -> String {
    let now = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
    let letters: String = random.map(letter).iter().collect();
    format!("r-{}-{letters}", now.strftime("%y%m%d-%H%M%S"))
}

fn letter(random: u8) -> char {
    char::from(ID_LETTERS[usize::from(random) % ID_LETTERS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_age_over_the_turn_of_a_year() {
        let at = |text: &str| {
            let at: jiff::Timestamp = text.parse().expect("a time");
            Timestamp(at.as_microsecond())
        };
        let old = id(at("2026-12-31T23:59:59Z"), [255; ID_LENGTH]);
        let new = id(at("2027-01-01T00:00:00Z"), [0; ID_LENGTH]);
        assert_eq!(old, "r-261231-235959-5555");
        assert_eq!(new, "r-270101-000000-2222");
        assert!(old < new);
    }

    #[test]
    fn every_letter_of_an_id_can_come() {
        let all: String = (0..ID_LETTERS.len() as u8).map(letter).collect();
        assert_eq!(all.as_bytes(), ID_LETTERS);
    }
}
