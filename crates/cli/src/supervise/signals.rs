//! The signals that a supervision listens to, as one stream.
//!
//! It does not say what they mean.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

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

/// Streams of signals; several of one kind at once may arrive as one.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

// === impl Signals ===

impl Signals {
    /// Starts to listen. A signal that this process was told to ignore stays ignored, here and
    /// in the child.
    pub(super) fn listen() -> io::Result<Signals> {
        let ignored = ignored_signals();
        let is_heeded = |signal: &Signal| ignored & (1 << (*signal as i32 - 1)) == 0;
        let forwarded = FORWARDED.into_iter().filter(is_heeded);
        let mut streams = Vec::new();
        for signal in forwarded.chain([Signal::SIGCHLD, Signal::SIGCONT]) {
            streams.push((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
        }
        Ok(Signals(streams))
    }

    /// Waits for the next signal. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Signal {
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
}
