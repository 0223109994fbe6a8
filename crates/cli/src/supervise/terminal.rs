//! Whose the terminal is: the child's while it runs, the shell's job again on every way out.
//!
//! A child in a process group of its own is a background job: reading the terminal stops it
//! with SIGTTIN, setting its modes with SIGTTOU. So its group is made the foreground one. Done
//! from this side it can come late, after the child's first read; the supervisor then sees the
//! stop, hands over again and continues the child.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

use super::processes::group_exists;

/// The controlling terminal, if there is one, between this process's group and the child's.
pub(super) struct Terminal {
    device: Option<File>,
    own: Pid,
    child: Pid,
    /// Whether the child's group has it, by our hand.
    is_handed_over: bool,
    /// Whether the child gets it back after a stop.
    is_wanted: bool,
    /// Whether the child has to do without it for now.
    is_borrowed: bool,
    modes: Option<Termios>,
}

/// Keeps a status line from stopping `fisc` while the child's group owns a terminal that is set
/// to stop background output (`stty tostop`). To be called before any thread is started: the
/// others inherit it.
pub fn never_stop_on_output() {
    let _ = output_stop().thread_block();
}

/// Runs `action` in a thread that output may stop, which is how a child must be born.
pub(super) fn with_output_stops_allowed<T>(action: impl FnOnce() -> T) -> T {
    with_mask(SigmaskHow::SIG_UNBLOCK, action)
}

fn with_output_stops_blocked<T>(action: impl FnOnce() -> T) -> T {
    with_mask(SigmaskHow::SIG_BLOCK, action)
}

fn with_mask<T>(how: SigmaskHow, action: impl FnOnce() -> T) -> T {
    let before = output_stop().thread_swap_mask(how);
    let result = action();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

fn output_stop() -> SigSet {
    SigSet::from_iter([Signal::SIGTTOU])
}

// === impl Terminal ===

impl Terminal {
    /// Opens the controlling terminal; without one nothing below does anything.
    pub(super) fn open(child: Pid) -> Terminal {
        let flags = OFlag::O_NOCTTY.bits();
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open("/dev/tty")
            .ok();
        let modes = device.as_ref().and_then(|device| tcgetattr(device).ok());
        Terminal {
            device,
            own: getpgrp(),
            child,
            is_handed_over: false,
            is_wanted: false,
            is_borrowed: false,
            modes,
        }
    }

    /// Says whether there is a controlling terminal.
    pub(super) fn is_there(&self) -> bool {
        self.device.is_some()
    }

    /// Hands the terminal to the child when it is the child's standard input. A child that
    /// wants it all the same shows so by being stopped.
    pub(super) fn hand_over_at_start(&mut self) {
        if io::stdin().is_terminal() {
            self.is_wanted = true;
            self.hand_over();
        }
    }

    /// Takes the terminal from the child until it is given back. Returns whether it is ours then:
    /// a shell, or a job that the child put in front, keeps it.
    pub(super) fn borrow(&mut self) -> bool {
        let was_handed_over = self.is_handed_over;
        self.take_back();
        let foreground = self
            .device
            .as_ref()
            .and_then(|device| tcgetpgrp(device).ok());
        self.is_borrowed = foreground == Some(self.own);
        self.is_handed_over = was_handed_over && !self.is_borrowed;
        self.is_borrowed
    }

    /// Says whether the child has to do without the terminal for now.
    pub(super) fn is_borrowed(&self) -> bool {
        self.is_borrowed
    }

    /// Gives a borrowed terminal back to a child that had it, or asked for it.
    pub(super) fn give_back(&mut self) {
        self.is_borrowed = false;
        self.hand_over_again();
    }

    /// Hands the terminal to the child again after this process was continued.
    pub(super) fn hand_over_again(&mut self) {
        if self.is_wanted {
            self.hand_over();
        }
    }

    /// Hands the terminal to the child, if it is ours to give. Returns whether the child has it.
    pub(super) fn hand_over(&mut self) -> bool {
        if self.is_borrowed {
            return false;
        }
        let foreground = self
            .device
            .as_ref()
            .and_then(|device| tcgetpgrp(device).ok());
        if foreground == Some(self.child) {
            return true;
        }
        if foreground != Some(self.own) || !self.set_foreground(self.child) {
            return false;
        }
        self.is_handed_over = true;
        self.is_wanted = true;
        true
    }

    /// Takes the terminal back, unless a shell has taken it meanwhile.
    pub(super) fn take_back(&mut self) {
        let Some(device) = &self.device else { return };
        if !self.is_handed_over {
            return;
        }
        self.is_handed_over = false;
        // A shell that was the child may have left a group of its own in front, now dead.
        let is_ours_to_take = tcgetpgrp(device).map_or(true, |foreground| {
            foreground == self.child || !group_exists(foreground)
        });
        if is_ours_to_take {
            self.set_foreground(self.own);
        }
    }

    /// Takes the terminal back and undoes the modes (raw, no echo) of a child that was killed.
    pub(super) fn restore_modes(&mut self) {
        if !self.is_handed_over {
            return;
        }
        self.take_back();
        if let (Some(device), Some(modes)) = (&self.device, &self.modes) {
            let _ = with_output_stops_blocked(|| tcsetattr(device, SetArg::TCSANOW, modes));
        }
    }

    fn set_foreground(&self, group: Pid) -> bool {
        let Some(device) = &self.device else {
            return false;
        };
        // From the background, the call itself raises SIGTTOU.
        with_output_stops_blocked(|| tcsetpgrp(device, group)).is_ok()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}
