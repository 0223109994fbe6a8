//! The child, its process group and whatever descends from it: starting, signalling, reaping,
//! ending.
//!
//! It does not decide when: that is the supervisor's.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::processes::{children_of_this_process, descendants_of_this_process};
use super::terminal::with_output_stops_allowed;
use super::{Status, Supervision};

/// How often strays are looked for and killed again before one that cannot be is given up.
const STRAY_PASSES: u32 = 400;
/// The pause between two passes.
const STRAY_PAUSE: Duration = Duration::from_millis(5);

/// Something that happened to the child.
pub(super) enum Seen {
    Ended,
    Stopped(Signal),
}

/// The child and its descendants.
pub(super) struct Family {
    child: Child,
    group: Pid,
    status: Option<Status>,
    /// Children of this process from before, which are nobody's strays.
    strangers: BTreeSet<i32>,
    killed: BTreeSet<i32>,
    over: bool,
}

// === impl Family ===

impl Family {
    /// Starts the child as the leader of a new process group.
    pub(super) fn start(supervision: &Supervision) -> io::Result<Family> {
        let strangers = children_of_this_process();
        let mut command = Command::new(&supervision.command);
        command.args(&supervision.args).process_group(0);
        for (name, value) in &supervision.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // The child inherits the mask of this thread.
        let child = with_output_stops_allowed(|| command.spawn())?;
        let group = Pid::from_raw(child.id().cast_signed());
        Ok(Family {
            child,
            group,
            status: None,
            strangers,
            killed: BTreeSet::new(),
            over: false,
        })
    }

    /// Returns the process group, whose number is also the child's.
    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// Returns how the child ended, once it has.
    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Sends a signal to the whole group. Nobody left to take it is no error.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = killpg(self.group, signal);
        if signal == Signal::SIGKILL && self.status.is_none() {
            // The leader may have moved to another group.
            let _ = kill(self.group, signal);
        }
    }

    /// Says whether the group still has a member.
    pub(super) fn group_is_alive(&self) -> bool {
        killpg(self.group, None) != Err(Errno::ESRCH)
    }

    /// Reaps whatever has ended and returns what happened to the child, until nothing is new.
    pub(super) fn observe(&mut self) -> io::Result<Option<Seen>> {
        if self.status.is_none() {
            if let Some(status) = self.child.try_wait()? {
                self.status = Some(status_of(status));
                return Ok(Some(Seen::Ended));
            }
            let stops = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
            if let Ok(WaitStatus::Stopped(_, signal)) = waitid(Id::Pid(self.group), stops) {
                return Ok(Some(Seen::Stopped(signal)));
            }
        }
        Ok(self.reap_orphans().then_some(Seen::Ended))
    }

    /// Kills every descendant that is left, in whatever session, and reaps it. Returns how many
    /// there were.
    pub(super) async fn end_strays(&mut self) -> usize {
        for _ in 0..STRAY_PASSES {
            if self.kill_strays() == 0 {
                break;
            }
            tokio::time::sleep(STRAY_PAUSE).await;
        }
        self.over = true;
        self.killed.len()
    }

    /// Makes one pass over the descendants; returns how many were still alive.
    fn kill_strays(&mut self) -> usize {
        self.reap_orphans();
        let strays = descendants_of_this_process(&self.strangers);
        for pid in &strays {
            if kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok() {
                self.killed.insert(*pid);
            }
        }
        strays.len()
    }

    /// Reaps ended orphans; returns whether the child was found among them.
    fn reap_orphans(&mut self) -> bool {
        loop {
            let ended = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Status::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Status::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return false,
                // A process that died of a signal without a name, or an interrupted call.
                Ok(_) | Err(_) => continue,
            };
            // It ended between the look at the child and this one.
            if ended.0 == self.group && self.status.is_none() {
                self.status = Some(ended.1);
                return true;
            }
        }
    }
}

impl Drop for Family {
    /// Ends the family also when the supervision is dropped before its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a drop cannot await, and must not leave strays"
    )]
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.signal(Signal::SIGKILL);
        for _ in 0..STRAY_PASSES {
            if self.kill_strays() == 0 {
                return;
            }
            std::thread::sleep(STRAY_PAUSE);
        }
    }
}

fn status_of(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => unreachable!("a reaped process exited or died of a signal"),
    }
}
