//! What goes to the client where usage is stripped: everything but the cuts, without copies
//! wherever an event lies within one chunk.

use bytes::Bytes;

use super::events::Verdict;
use crate::sse::Event;

/// The part of the stream that is kept back: the start of an event that is not complete.
#[derive(Debug, Default)]
pub(super) struct Relay {
    held: Vec<u8>,
    /// Offset in the stream up to which it was relayed or left out.
    relayed: u64,
    /// The bytes left out ended with a CR at the end of a chunk: a LF that follows goes too.
    drop_lf: bool,
}

/// The passing of one chunk.
pub(super) struct Pass<'p> {
    relay: &'p mut Relay,
    chunk: &'p Bytes,
    /// Offset in the stream of the chunk.
    base: u64,
    out: &'p mut Vec<Bytes>,
}

// === impl Relay ===

impl Relay {
    /// Starts to pass a chunk.
    pub(super) fn pass<'p>(&'p mut self, chunk: &'p Bytes, out: &'p mut Vec<Bytes>) -> Pass<'p> {
        let base = self.relayed + self.held.len() as u64;
        if !chunk.is_empty() && std::mem::take(&mut self.drop_lf) && chunk[0] == b'\n' {
            debug_assert!(self.held.is_empty(), "an event has just ended");
            self.relayed += 1;
        }
        Pass {
            relay: self,
            chunk,
            base,
            out,
        }
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// Carries out a verdict on an event.
    pub(super) fn edit(&mut self, event: &Event<'_>, verdict: Verdict) {
        match (verdict, event.data_at) {
            (Verdict::Drop, _) => {
                self.leave_out(event.start, event.end);
                let end = (event.end - self.base) as usize;
                self.relay.drop_lf = end == self.chunk.len() && self.chunk.last() == Some(&b'\r');
            }
            (Verdict::Cut(part), Some(at)) => {
                self.leave_out(at + part.start as u64, at + part.end as u64);
            }
            (Verdict::Keep | Verdict::Cut(_), _) => {}
        }
    }

    /// Ends the chunk: relays up to the event that is open, and keeps the rest back.
    pub(super) fn end(mut self, open_event: Option<u64>) {
        let end = self.base + self.chunk.len() as u64;
        self.relay_to(open_event.unwrap_or(end).max(self.relay.relayed));
        let from = self.relay.relayed.max(self.base) - self.base;
        self.relay
            .held
            .extend_from_slice(&self.chunk[from as usize..]);
    }

    fn leave_out(&mut self, from: u64, to: u64) {
        self.relay_to(from);
        let in_held = (to.min(self.base)).saturating_sub(self.relay.relayed) as usize;
        self.relay.held.drain(..in_held);
        self.relay.relayed = to;
    }

    fn relay_to(&mut self, to: u64) {
        let Relay { held, relayed, .. } = &mut *self.relay;
        debug_assert!(*relayed <= to, "the relay never goes back");
        if *relayed < self.base {
            let length = (to.min(self.base) - *relayed) as usize;
            if length > 0 {
                self.out.push(Bytes::copy_from_slice(&held[..length]));
                held.drain(..length);
                *relayed += length as u64;
            }
        }
        if *relayed < to {
            let from = (*relayed - self.base) as usize;
            self.out
                .push(self.chunk.slice(from..(to - self.base) as usize));
            *relayed = to;
        }
    }
}
