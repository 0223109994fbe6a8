//! Real processes under a test's control, and the product's own binary.
//!
//! A [`Running`] leads a process group of its own; dropping it kills the whole group, so a test
//! that panics leaves nothing behind. What the processes print is collected all the time, so
//! that no pipe ever fills up.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

mod binary;

pub use binary::{binary, profile_folder, target_folder, workspace};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// It died of this signal.
    Signal(Signal),
}

/// What a process left: how it ended and all that it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error; bytes that are no UTF-8 are replaced.
    pub stderr: String,
}

/// A process that runs, or that ended and was not dropped yet.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    shared: Arc<Shared>,
}

/// One of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the threads that watch a process tell the test, and the bell they ring.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    exit: Option<Exit>,
    outputs: [Vec<u8>; 2],
    open_outputs: usize,
}

// === impl Running ===

impl Running {
    /// Starts `command` as the leader of a process group of its own, with no standard input
    /// unless `command` sets one.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        Running::start_with(command, Stdio::null())
    }

    /// Starts `command` as [`Running::start`] does, with a pipe as standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_with_input(command: &mut Command) -> Running {
        Running::start_with(command, Stdio::piped())
    }

    #[track_caller]
    fn start_with(command: &mut Command, stdin: Stdio) -> Running {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {name}: {error}"),
        };
        let shared = Arc::new(Shared::default());
        shared.lock().open_outputs = 2;
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        collect(&shared, Output::Stdout, stdout);
        collect(&shared, Output::Stderr, stderr);
        watch(&shared, pid_of(&child));
        Running {
            name,
            child,
            shared,
        }
    }

    /// Returns the process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to the standard input of a process made by [`Running::start_with_input`].
    ///
    /// # Panics
    /// When there is no such pipe or the process closed it.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let stdin = self
            .child
            .stdin
            .as_mut()
            .expect("the process was started with an input");
        stdin
            .write_all(text.as_bytes())
            .expect("the process reads its input");
    }

    /// Closes the standard input of a process made by [`Running::start_with_input`].
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Returns what was printed so far.
    pub fn output(&self, output: Output) -> String {
        self.shared.lock().text(output)
    }

    /// Waits until a whole line of `output` satisfies `wanted`, and returns it without its end.
    /// Lines that were printed before the call count.
    ///
    /// # Panics
    /// When `timeout` passes or the output ends first; the message holds all that was printed.
    #[track_caller]
    pub fn wait_for_line(
        &self,
        output: Output,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let find = |state: &State| {
            let text = state.text(output);
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            whole.lines().find(|line| wanted(line)).map(str::to_owned)
        };
        let guard = self.shared.wait(timeout, |state| {
            find(state).is_some() || (state.exit.is_some() && state.open_outputs == 0)
        });
        match find(&guard) {
            Some(line) => line,
            None => panic!("{}: no such line came; {}", self.name, guard.describe()),
        }
    }

    /// Waits for the process to end and for its output to close; descendants that hold the
    /// output open are not waited for longer than a second.
    ///
    /// # Panics
    /// When `timeout` passes first; the message holds all that was printed.
    #[track_caller]
    pub fn wait(&self, timeout: Duration) -> Finished {
        const OUTPUT_WAIT: Duration = Duration::from_secs(1);

        let guard = self.shared.wait(timeout, |state| state.exit.is_some());
        let Some(exit) = guard.exit else {
            panic!("{} runs after {timeout:?}; {}", self.name, guard.describe());
        };
        drop(guard);
        let guard = self
            .shared
            .wait(OUTPUT_WAIT, |state| state.open_outputs == 0);
        let (stdout, stderr) = (guard.text(Output::Stdout), guard.text(Output::Stderr));
        Finished {
            exit,
            stdout,
            stderr,
        }
    }

    /// Says how the process ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.lock().exit
    }

    /// Sends a signal to the process alone. A process that ended gets nothing.
    pub fn signal(&self, signal: Signal) {
        // The number cannot belong to another process: it is freed when we are dropped.
        let _ = kill(pid_of(&self.child), signal);
    }

    /// Sends a signal to every process of the group, as a terminal does at ctrl-C.
    pub fn signal_group(&self, signal: Signal) {
        let _ = killpg(pid_of(&self.child), signal);
    }

    /// Kills the process alone and waits until it is gone; returns what it left.
    ///
    /// # Panics
    /// When it outlives the signal, which no process can.
    #[track_caller]
    pub fn kill(&self) -> Finished {
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(30))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal_group(Signal::SIGKILL);
        // Only now is the process's number freed; until here it was at least a zombie.
        let _ = self.child.wait();
    }
}

// === impl Finished ===

impl Finished {
    /// Returns the exit code.
    ///
    /// # Panics
    /// When the process died of a signal.
    #[track_caller]
    pub fn code(&self) -> i32 {
        match self.exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => panic!("died of {signal}; stderr: {}", self.stderr),
        }
    }

    /// Returns itself after checking that the process ended with code 0.
    ///
    /// # Panics
    /// When it did not; the message holds all that was printed.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "the check is what is wanted"
    )]
    #[track_caller]
    pub fn success(self) -> Finished {
        let (exit, stdout, stderr) = (self.exit, &self.stdout, &self.stderr);
        assert_eq!(exit, Exit::Code(0), "stdout:\n{stdout}\nstderr:\n{stderr}");
        self
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no watcher panics")
    }

    /// Waits until `done`, for at most `timeout`, and returns the state in either case.
    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| !done(state);
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, waiting);
        waited.expect("no watcher panics").0
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

// === impl State ===

impl State {
    fn text(&self, output: Output) -> String {
        String::from_utf8_lossy(&self.outputs[output as usize]).into_owned()
    }

    fn describe(&self) -> String {
        let (stdout, stderr) = (self.text(Output::Stdout), self.text(Output::Stderr));
        format!(
            "exit: {:?}\nstdout:\n{stdout}\nstderr:\n{stderr}",
            self.exit
        )
    }
}

/// Runs `command` to its end, as [`Running`] does.
///
/// # Panics
/// When it cannot be started or runs longer than `timeout`.
#[track_caller]
pub fn run(command: &mut Command, timeout: Duration) -> Finished {
    Running::start(command).wait(timeout)
}

/// Says whether a process of this number exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    // The state follows the name, which is in brackets and may hold any character.
    let state = stat
        .ok()
        .and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"))
}

fn collect(shared: &Arc<Shared>, output: Output, mut pipe: impl Read + Send + 'static) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut bytes = [0; 8192];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => {
                    shared.change(|state| state.outputs[output as usize].extend(&bytes[..count]));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        shared.change(|state| state.open_outputs -= 1);
    });
}

/// Learns how the process ended without freeing its number, so that no later signal of ours can
/// reach a stranger.
fn watch(shared: &Arc<Shared>, pid: Pid) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let exit = loop {
            match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(WaitStatus::Exited(_, code)) => break Exit::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => break Exit::Signal(signal),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                // Dropped meanwhile; nobody waits for this any more.
                Err(_) => return,
            }
        };
        shared.change(|state| state.exit = Some(exit));
    });
}
