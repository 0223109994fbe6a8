//! The process under test: this binary again, supervising one shell script.
//!
//! A supervision owns its process (it reaps every child, handles signals), so each test needs
//! a process of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use fisc_cli::exit::{self, Facts};
use fisc_cli::supervise::{Control, StopReason, Supervision, never_stop_on_output, supervise};
use fisc_core::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;

use crate::process::{eventually, wait_for};

/// The variable that makes [`entry`] supervise: the folder of the test.
const FOLDER: &str = "FISC_TEST_FOLDER";
const ENTRY: &str = "subject::entry";

/// What the process under test is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The script that `sh` runs in the test's folder.
    pub(crate) script: &'static str,
    /// The program to run instead of `sh`.
    pub(crate) program: Option<PathBuf>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    /// Stop the child with this reason when the file `ready` is there.
    pub(crate) stop: Option<&'static str>,
    /// Drop the supervision in its midst when the file `ready` is there.
    pub(crate) drop: bool,
}

/// A test's folder and its process under test.
pub(crate) struct Subject {
    folder: PathBuf,
    plan: Plan,
    child: Option<Child>,
}

// === impl Subject ===

impl Subject {
    /// Makes the folder; starts nothing yet.
    pub(crate) fn new(plan: Plan) -> Subject {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "supervise-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Subject {
            folder,
            plan,
            child: None,
        }
    }

    pub(crate) fn start(plan: Plan) -> Subject {
        let mut subject = Subject::new(plan);
        let executable = env::current_exe().expect("the tests' own path");
        // Without a terminal, so that a child that stops does not stop the tests.
        let mut command = Command::new("setsid");
        command
            .arg(executable)
            .args(["--exact", ENTRY, "--ignored", "--nocapture"]);
        subject.spawn(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        subject
    }

    /// Starts a command that, perhaps through a shell, ends up in [`Subject::invocation`].
    pub(crate) fn spawn(&mut self, command: &mut Command) {
        let millis =
            |time: Option<Duration>| time.map_or(String::new(), |t| t.as_millis().to_string());
        command
            .current_dir(&self.folder)
            .env(FOLDER, &self.folder)
            .env("TEST_SCRIPT", self.plan.script)
            .env(
                "TEST_PROGRAM",
                self.plan.program.clone().unwrap_or_else(|| "sh".into()),
            )
            .env("TEST_DEADLINE_MS", millis(self.plan.deadline))
            .env("TEST_GRACE_MS", millis(self.plan.grace))
            .env("TEST_STOP", self.plan.stop.unwrap_or_default())
            .env("TEST_DROP", if self.plan.drop { "yes" } else { "" });
        self.child = Some(command.spawn().expect("the process under test"));
    }

    /// Returns the shell command that runs the process under test.
    pub(crate) fn invocation() -> String {
        let executable = env::current_exe().expect("the tests' own path");
        format!(
            "'{}' --exact {ENTRY} --ignored --nocapture --quiet",
            executable.display()
        )
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a started process");
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("a living process");
    }

    /// Waits for a file of the test's folder to hold a whole line, and returns its text.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.folder.join(name);
        let whole = |text: String| text.ends_with('\n').then(|| text.trim().to_owned());
        eventually(name, || fs::read_to_string(&path).ok().and_then(whole))
    }

    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// Waits for the end; returns the exit code and what [`entry`] told.
    pub(crate) fn finish(&mut self) -> (Option<i32>, String) {
        let status = self.wait();
        (
            status.code(),
            fs::read_to_string(self.folder.join("ending")).unwrap_or_default(),
        )
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("a started process");
        wait_for("the process under test to end", child)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Supervises, writes what became of it to the file `ending`, and exits as `fisc` would.
#[test]
#[ignore = "started by the other tests as the process under test"]
fn entry() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    never_stop_on_output();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let code = runtime.block_on(run(&folder));
    process::exit(i32::from(code));
}

/// Writes a status line, as `fisc` does on a terminal, when the file `ready` is there.
async fn write_status(folder: PathBuf) {
    until_ready(&folder).await;
    eprintln!("status");
    fs::write(folder.join("status"), "\n").expect("the test's folder");
}

async fn until_ready(folder: &Path) {
    while !folder.join("ready").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(folder: &Path) -> u8 {
    tokio::spawn(write_status(folder.to_owned()));
    let variable = |name: &str| env::var(name).expect("a variable of the plan");
    let time = |name: &str| variable(name).parse().ok().map(Duration::from_millis);
    let supervision = Supervision {
        command: variable("TEST_PROGRAM").into(),
        args: vec!["-c".into(), variable("TEST_SCRIPT").into()],
        environment: vec![
            (OsString::from(FOLDER), None),
            ("CHANGED".into(), Some("by the supervision".into())),
        ],
        deadline: time("TEST_DEADLINE_MS"),
        grace: time("TEST_GRACE_MS").unwrap_or(Duration::from_mins(1)),
    };
    let (orders, control) = mpsc::channel(1);
    if !variable("TEST_DROP").is_empty() {
        tokio::select! {
            _ = supervise(supervision, control) => unreachable!("the child does not end"),
            () = until_ready(folder) => {}
        }
        return exit::OK;
    }
    let stop = variable("TEST_STOP");
    let order = async {
        let reason = match stop.as_str() {
            "exhausted" => StopReason::Exhausted(Resource::Tokens),
            "refusals" => StopReason::Refusals,
            _ => return,
        };
        until_ready(folder).await;
        let _ = orders.send(Control::Stop(reason)).await;
    };
    let (ending, ()) = tokio::join!(supervise(supervision, control), order);
    match ending {
        Err(error) => exit::start_failure(&error),
        Ok(ending) => {
            let dumpable = nix::sys::prctl::get_dumpable().expect("a flag of this process");
            let told = format!("{ending:?} dumpable={dumpable}");
            fs::write(folder.join("ending"), told).expect("the test's folder");
            exit::conclude(&ending, Facts::default()).code
        }
    }
}
