//! Runs the child of `fisc run`: its process group, its signals, its terminal, its end.
//!
//! Responsible for the child's life and nothing else: whether a budget is exhausted is told to
//! it through [`Control`], what the ending means is decided in [`crate::exit`]. It is written
//! on `std` and `nix` because the terminal must be handed over between the spawn and the first
//! read, and stops (not only ends) of the child must be seen.
//!
//! One supervision per process: while it runs it reaps every child of this process.

use std::ffi::OsString;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use fisc_core::Resource;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep};

mod family;
mod processes;
mod signals;
mod terminal;

use family::{Family, Seen};
use terminal::Terminal;

pub(crate) use processes::descends_from_this_process;
pub(crate) use signals::Signals;
pub use terminal::never_stop_on_output;

/// How often a group whose leader has ended is looked at while its members have their grace.
const GRACE_POLL: Duration = Duration::from_millis(20);

/// What to run and how long it may take.
#[derive(Debug)]
pub struct Supervision {
    /// The program, as typed.
    pub command: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables to set, or with `None` to remove; everything else is inherited.
    pub environment: Vec<(OsString, Option<OsString>)>,
    /// The wall-clock time from now after which the child is ended; `None` for no limit.
    pub deadline: Option<Duration>,
    /// The time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// An order from the gateway.
#[derive(Debug)]
pub enum Control {
    /// End the child: SIGTERM, the grace, SIGKILL.
    Stop(StopReason),
    /// Take the terminal from the child for a while; told when it is taken, dropped when it cannot
    /// be.
    Borrow(oneshot::Sender<()>),
    /// Give it back.
    Return,
}

/// Why the gateway ends a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The run's own budget has run out of this, and nothing is to go on without.
    Exhausted(Resource),
    /// Nothing went on but calls after so many refusals.
    Refusals,
    /// The gateway itself cannot go on.
    GatewayFailed,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// It died of the signal of this number.
    Signal(i32),
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The child ended by itself.
    Completed,
    /// The deadline passed.
    Deadline,
    /// The gateway ended it.
    Stopped(StopReason),
    /// `fisc` was told to end by this signal, forwarded it, and the child ended after it.
    Interrupted(Signal),
}

/// The end of a child and of everything that it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// How the child itself ended.
    pub status: Status,
    /// Why.
    pub why: Why,
    /// Whether SIGKILL was needed, because the grace passed or ctrl-C came twice.
    pub forced: bool,
    /// How many processes the child left behind, all killed.
    pub strays: usize,
}

enum Phase {
    Running,
    /// Asked to end; SIGKILL follows when the alarm rings.
    Ending,
    Killed,
}

enum Event {
    Signal(Signal),
    Control(Control),
    ControlClosed,
    Alarm,
    Poll,
}

struct Supervisor {
    // Dropped in this order: first the family ends, then the terminal comes back.
    family: Family,
    terminal: Terminal,
    signals: Signals,
    control: Option<mpsc::Receiver<Control>>,
    alarm: Option<Pin<Box<Sleep>>>,
    grace: Duration,
    phase: Phase,
    why: Why,
    interrupts: u32,
    forced: bool,
}

/// Starts the child in a process group of its own and supervises it to its end.
///
/// Before the child starts, this process becomes undumpable (no other process of the same user
/// can read its memory or environment) and a subreaper (what the child leaves behind becomes
/// its child, and is killed). Handlers for SIGINT and the like stay installed afterwards.
///
/// # Errors
/// Those of starting the child; see [`crate::exit::start_failure`].
pub async fn supervise(
    supervision: Supervision,
    control: mpsc::Receiver<Control>,
) -> io::Result<Ending> {
    processes::shield_this_process()?;
    let signals = Signals::listen()?;
    let family = Family::start(&supervision)?;
    let terminal = Terminal::open(family.group());
    let mut supervisor = Supervisor {
        family,
        terminal,
        signals,
        control: Some(control),
        alarm: supervision.deadline.map(|after| Box::pin(sleep(after))),
        grace: supervision.grace,
        phase: Phase::Running,
        why: Why::Completed,
        interrupts: 0,
        forced: false,
    };
    let status = supervisor.until_over().await?;
    let strays = supervisor.family.end_strays().await;
    let Supervisor { why, forced, .. } = supervisor;
    if forced || matches!(status, Status::Signal(_)) {
        supervisor.terminal.restore_modes();
    }
    Ok(Ending {
        status,
        why,
        forced,
        strays,
    })
}

// === impl Ending ===

impl Ending {
    /// Says whether the user asked twice for the end: nothing is to be waited for.
    pub fn is_hurried(&self) -> bool {
        self.forced && matches!(self.why, Why::Interrupted(Signal::SIGINT))
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn until_over(&mut self) -> io::Result<Status> {
        self.terminal.hand_over_at_start();
        loop {
            while let Some(seen) = self.family.observe()? {
                if let Seen::Stopped(signal) = seen {
                    self.on_child_stopped(signal);
                }
            }
            if let Some(status) = self.family.status()
                && self.is_over()
            {
                return Ok(status);
            }
            match self.next_event().await {
                Event::Signal(signal) => self.on_signal(signal),
                Event::Control(control) => self.on_control(control),
                Event::ControlClosed => self.control = None,
                Event::Alarm => self.on_alarm(),
                Event::Poll => {}
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let leader_ended = self.family.status().is_some();
        let control = async {
            match &mut self.control {
                Some(control) => match control.recv().await {
                    Some(control) => Event::Control(control),
                    None => Event::ControlClosed,
                },
                None => std::future::pending().await,
            }
        };
        let alarm = async {
            match &mut self.alarm {
                Some(alarm) => alarm.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = self.signals.next() => Event::Signal(signal),
            event = control => event,
            () = alarm => Event::Alarm,
            () = sleep(GRACE_POLL), if leader_ended => Event::Poll,
        }
    }

    /// Says whether nothing is worth waiting for, the child itself having ended. Who was asked
    /// to end has the grace for its whole group, not only for the shell in front of it.
    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Killed => true,
            Phase::Ending => !self.family.group_is_alive(),
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Stop(reason) => self.ask_to_end(Why::Stopped(reason), Signal::SIGTERM),
            Control::Borrow(lent) => {
                if !self.terminal.borrow() {
                    // Dropped unanswered: whoever asked is told that there is none.
                    return;
                }
                // Who waits for a key already goes on doing so, whoever has the terminal. When it
                // is continued it asks anew, and stands still like any background job.
                self.family.signal(Signal::SIGSTOP);
                self.family.signal(Signal::SIGCONT);
                // Who asked for it and left returns it nevertheless.
                let _ = lent.send(());
            }
            Control::Return => {
                self.terminal.give_back();
                // It may have been stopped because it wanted the terminal meanwhile.
                self.family.signal(Signal::SIGCONT);
            }
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGCHLD => {}
            Signal::SIGINT => {
                self.interrupts += 1;
                self.note_interrupt(signal);
                if self.interrupts > 1 {
                    self.kill();
                } else {
                    self.family.signal(signal);
                    self.wake_for_signal();
                }
            }
            Signal::SIGTERM | Signal::SIGHUP => self.ask_to_end(Why::Interrupted(signal), signal),
            Signal::SIGCONT => {
                self.terminal.hand_over_again();
                self.family.signal(signal);
            }
            Signal::SIGQUIT => {
                self.note_interrupt(signal);
                self.family.signal(signal);
                self.wake_for_signal();
            }
            other => self.family.signal(other),
        }
    }

    /// Continues a child that stands still because it wants the terminal: else it would not hear.
    fn wake_for_signal(&mut self) {
        if self.terminal.is_borrowed() {
            self.family.signal(Signal::SIGCONT);
        }
    }

    fn on_alarm(&mut self) {
        match self.phase {
            Phase::Running => self.ask_to_end(Why::Deadline, Signal::SIGTERM),
            Phase::Ending => self.kill(),
            Phase::Killed => self.alarm = None,
        }
    }

    fn note_interrupt(&mut self, signal: Signal) {
        if matches!(self.why, Why::Completed) {
            self.why = Why::Interrupted(signal);
        }
    }

    fn ask_to_end(&mut self, why: Why, signal: Signal) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        self.phase = Phase::Ending;
        self.why = why;
        self.alarm = Some(Box::pin(sleep(self.grace)));
        self.family.signal(signal);
        // A stopped process takes no SIGTERM before it goes on.
        self.family.signal(Signal::SIGCONT);
    }

    fn kill(&mut self) {
        self.phase = Phase::Killed;
        self.alarm = None;
        self.forced = true;
        self.family.signal(Signal::SIGKILL);
    }

    fn on_child_stopped(&mut self, signal: Signal) {
        let wants_terminal = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        let is_ours = wants_terminal || signal == Signal::SIGSTOP;
        if is_ours && self.terminal.is_borrowed() && matches!(self.phase, Phase::Running) {
            return;
        }
        let has_got_it = wants_terminal && self.terminal.hand_over();
        let is_to_end = !matches!(self.phase, Phase::Running);
        if has_got_it || is_to_end {
            self.family.signal(Signal::SIGCONT);
        } else if self.terminal.is_there() && processes::has_job_control() {
            self.stop_this_process();
        } else if signal == Signal::SIGTSTP {
            // No shell would ever continue it; without fisc the kernel had dropped the signal.
            self.family.signal(Signal::SIGCONT);
        }
    }

    /// Stops with the child, as the shell above expects of a job. What follows is in
    /// [`Supervisor::on_signal`] when the shell sends SIGCONT. The SIGTSTP that goes to our own
    /// group comes back here and is forwarded to the stopped child; the SIGCONT voids it.
    fn stop_this_process(&mut self) {
        self.terminal.take_back();
        processes::stop_own_group();
    }
}
