//! What finished runs of a command taught, for the next ones: one small file a command.
//!
//! Numbers alone, by the class of the agent; neither arguments nor anything that was said.

use std::fs;
use std::io;
use std::path::PathBuf;

use fisc::{PastRuns, Resource};
use serde::{Deserialize, Serialize};

use super::{Home, make_private};

/// What the file of a command says.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// The command.
    command: String,
    /// The last of its runs; its ledger tells what its calls needed.
    #[serde(default)]
    run: Option<String>,
    classes: Vec<Taught>,
}

/// What the runs of one class spent of one resource.
#[derive(Debug, Serialize, Deserialize)]
struct Taught {
    /// Empty for the run as a whole.
    class: String,
    resource: String,
    /// Each run as the library takes it back.
    runs: Vec<Vec<f64>>,
}

// === impl Home ===

impl Home {
    /// Returns what earlier runs of a command taught; nothing where that cannot be read.
    pub(crate) fn known(&self, command: &str) -> Vec<PastRuns> {
        let known = self.read_known(command);
        let classes = known.into_iter().flat_map(|known| known.classes);
        classes.filter_map(Taught::past).collect()
    }

    /// Returns the ledger of the last run of a command that taught anything.
    pub(crate) fn known_ledger(&self, command: &str) -> Option<PathBuf> {
        let run = self.read_known(command)?.run?;
        let ledger = self.ledger_of(&run).ok()?;
        ledger.is_file().then_some(ledger)
    }

    fn read_known(&self, command: &str) -> Option<Known> {
        let text = fs::read(self.known_file(command)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what the runs of a command taught, up to `run`, instead of what was known.
    pub(crate) fn keep_known(
        &self,
        command: &str,
        run: &str,
        past: Vec<PastRuns>,
    ) -> io::Result<()> {
        let file = self.known_file(command);
        make_private(&self.root.join("known"))?;
        let known = Known {
            command: command.to_owned(),
            run: Some(run.to_owned()),
            classes: past.into_iter().map(Taught::new).collect(),
        };
        // Written beside and moved there: who reads finds the old or the new one.
        let beside = file.with_extension(format!("{}.new", std::process::id()));
        fs::write(&beside, serde_json::to_vec(&known)?)?;
        fs::rename(beside, file)
    }

    fn known_file(&self, command: &str) -> PathBuf {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = command
            .chars()
            .map(|c| if plain(c) { c } else { '.' })
            .collect();
        self.root.join("known").join(format!("run-{name}.json"))
    }
}

// === impl Taught ===

impl Taught {
    fn new(past: PastRuns) -> Taught {
        Taught {
            class: past.class,
            resource: past.resource.name().to_owned(),
            runs: past.runs,
        }
    }

    fn past(self) -> Option<PastRuns> {
        let resource = Resource::ALL
            .into_iter()
            .find(|resource| resource.name() == self.resource)?;
        Some(PastRuns {
            class: self.class,
            resource,
            runs: self.runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use fisc_testkit::temp;

    use super::*;

    #[test]
    fn what_is_kept_is_known_again_by_its_command_alone() {
        let folder = temp::Dir::new();
        let home = Home {
            root: folder.path().join("fisc"),
        };
        assert_eq!(home.known("team"), []);
        let past = vec![PastRuns {
            class: "coder".to_owned(),
            resource: Resource::Cost,
            runs: vec![vec![1.0, 0.25, 1e15 + 1.0]],
        }];
        let kept = home.keep_known("python team.py", "r-1", past.clone());
        kept.expect("it can be written");
        assert_eq!(home.known("python team.py"), past);
        assert_eq!(home.known("python other.py"), []);
        assert_eq!(home.known_ledger("python team.py"), None, "it is gone");
        let run = home.root.join("runs").join("r-1");
        fs::create_dir_all(&run).expect("a folder");
        fs::write(run.join("ledger.db"), "").expect("a file");
        let ledger = home.known_ledger("python team.py");
        assert_eq!(ledger, Some(run.join("ledger.db")));
        let broken = home.known_file("python team.py");
        fs::write(broken, "{}").expect("it can be written");
        assert_eq!(home.known("python team.py"), []);
    }
}
