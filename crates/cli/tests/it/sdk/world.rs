//! A user's machine in a folder: the real binary, a home of its own, and a provider to call.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fisc_testkit::process::{self, Finished, Output, Running};
use fisc_testkit::python;
use fisc_testkit::temp::Dir;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The provider's keys, which nobody but the provider may ever see.
pub(crate) const OPENAI_KEY: &str = "sk-proj-canary-d41f7a90c2b84e55-oaiK";
/// As [`OPENAI_KEY`].
pub(crate) const ANTHROPIC_KEY: &str = "sk-ant-canary-77c0e6b1f3a94d02-antK";

/// A folder that stands for a user's machine.
pub(crate) struct World {
    pub(crate) dir: Dir,
}

/// A provider that runs as a process of its own and keeps the truth in a file.
pub(crate) struct Provider {
    process: Running,
    pub(crate) url: String,
    truth: PathBuf,
}

/// A gateway that serves.
pub(crate) struct Served {
    pub(crate) process: Running,
    pub(crate) url: String,
}

// === impl World ===

impl World {
    pub(crate) fn new() -> World {
        World { dir: Dir::new() }
    }

    /// Returns `fisc` with these arguments and nothing inherited but where programs are.
    pub(crate) fn fisc<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(process::binary("fisc"));
        self.settle_in(&mut command);
        command.args(args);
        command
    }

    /// Returns one of the testkit's Python programs by itself.
    pub(crate) fn python(&self, program: &str) -> Command {
        let mut command = Command::new(python::environment());
        self.settle_in(&mut command);
        command.arg(python::program(program));
        command
    }

    /// Returns `fisc run` of one of the testkit's Python programs, with both keys set.
    pub(crate) fn run_python(&self, provider: &Provider, args: &[&str], program: &str) -> Command {
        let mut command = self.fisc(["run"]);
        command
            .args(provider.as_upstreams())
            .args(args)
            .arg("--")
            .arg(python::environment())
            .arg(python::program(program))
            .env("OPENAI_API_KEY", OPENAI_KEY)
            .env("ANTHROPIC_API_KEY", ANTHROPIC_KEY);
        command
    }

    /// Runs `fisc` to its end.
    #[track_caller]
    pub(crate) fn done<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Finished {
        process::run(&mut self.fisc(args), PATIENCE)
    }

    /// Starts a provider.
    #[track_caller]
    pub(crate) fn provider(&self, seed: &str) -> Provider {
        let truth = self.dir.join(&format!("truth-{seed}.jsonl"));
        let mut command = self.fisc(["rehearse", "--latency", "1-9", "--seed", seed]);
        let process = Running::start(command.arg("--truth").arg(&truth));
        let line = process.wait_for_line(Output::Stdout, PATIENCE, |line| {
            line.starts_with("ANTHROPIC_BASE_URL=")
        });
        let (_, url) = line.split_once('=').expect("as found");
        Provider {
            url: url.to_owned(),
            process,
            truth,
        }
    }

    /// Starts a gateway with this configuration, on a port of its choice.
    #[track_caller]
    pub(crate) fn serve(&self, config: &str, secrets: &[(&str, &str)]) -> Served {
        let path = self.dir.write("fisc.toml", config);
        let mut command = self.fisc(["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(path).envs(secrets.iter().copied());
        let process = Running::start(&mut command);
        let line = process.wait_for_line(Output::Stdout, PATIENCE, |line| {
            line.contains("http://127.0.0.1:")
        });
        let at = line.find("http://").expect("as found");
        Served {
            url: line[at..].trim().to_owned(),
            process,
        }
    }

    /// Returns the ledger of a run.
    pub(crate) fn ledger_of(&self, run: &str) -> PathBuf {
        self.data().join("runs").join(run).join("ledger.db")
    }

    /// Returns where `fisc` keeps what it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data").join("fisc")
    }

    /// Reads a JSON file of the folder.
    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.dir.join(name)).expect("a file of the test");
        serde_json::from_str(&text).expect("JSON")
    }

    fn settle_in(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("XDG_DATA_HOME", self.dir.join("data"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.dir.path());
    }
}

// === impl Provider ===

impl Provider {
    /// Returns the options that send both wires here.
    pub(crate) fn as_upstreams(&self) -> [String; 4] {
        let option = || "--upstream".to_owned();
        let (openai, anthropic) = (
            format!("openai={}/v1", self.url),
            format!("anthropic={}", self.url),
        );
        [option(), openai, option(), anthropic]
    }

    /// Returns how many calls have reached the provider so far.
    pub(crate) fn reached(&self) -> usize {
        let truth = std::fs::read_to_string(&self.truth).unwrap_or_default();
        let started = |line: &&str| line.contains("\"state\":\"started\"");
        truth.lines().filter(started).count()
    }

    /// Ends the provider, so that every record is final, and returns the file of the truth.
    #[track_caller]
    pub(crate) fn end(self) -> PathBuf {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE).success();
        self.truth
    }
}

// === impl Served ===

impl Served {
    /// Ends the gateway as an operator does.
    #[track_caller]
    pub(crate) fn end(self) -> Finished {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE).success()
    }
}
