//! The signals that a supervision, or the end of a server, listens to, as one stream.
//!
//! It does not say what they mean.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

use super::processes::ignored_signals;

/// What is forwarded to the child or acted upon. The default of each would end or stop `fisc`
/// alone and leave the child without it.
const FORWARDED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What asks a process to end.
const ENDING: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// Streams of signals; several of one kind at once may arrive as one.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

// === impl Signals ===

impl Signals {
    /// Starts to listen to what a supervision must hear. A signal that this process was told to
    /// ignore stays ignored, here and in the child.
    pub(super) fn listen() -> io::Result<Signals> {
        let own = [Signal::SIGCHLD, Signal::SIGCONT];
        Signals::of(heeded(&FORWARDED).chain(own))
    }

    /// Starts to listen to what asks this process to end, but for what it was told to ignore.
    /// Only what comes from now on is heard.
    pub(crate) fn listen_for_end() -> io::Result<Signals> {
        Signals::of(heeded(&ENDING))
    }

    fn of(signals: impl Iterator<Item = Signal>) -> io::Result<Signals> {
        let stream =
            |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
        Ok(Signals(signals.map(stream).collect::<io::Result<_>>()?))
    }

    /// Waits for the next signal. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context) == Poll::Ready(Some(())) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for the next signal, at most so long.
    pub(crate) async fn next_within(&mut self, longest: Duration) {
        // Either way the wait is over.
        let _ = tokio::time::timeout(longest, self.next()).await;
    }
}

/// Leaves out what this process was told to ignore.
fn heeded(signals: &[Signal]) -> impl Iterator<Item = Signal> {
    let ignored = ignored_signals();
    let is_heeded = move |signal: &Signal| ignored & (1 << (*signal as i32 - 1)) == 0;
    signals.iter().copied().filter(is_heeded)
}
