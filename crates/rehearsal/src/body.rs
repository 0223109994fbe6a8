//! The body of an answer: plays its steps as the connection asks for them.
//!
//! It owns the call's record. That the client left is known only by this body being dropped,
//! so the record is finalised there, and nowhere else.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::sse::Step;
use crate::truth::Call;

/// A body that is written step by step.
pub(crate) struct Player {
    steps: std::vec::IntoIter<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    yielded: bool,
    length: Option<u64>,
    call: Option<Call>,
}

// === impl Player ===

impl Player {
    /// Plays `steps`; `length` is declared when it is known.
    pub(crate) fn new(steps: Vec<Step>, length: Option<u64>, call: Option<Call>) -> Player {
        Player {
            steps: steps.into_iter(),
            pause: None,
            yielded: false,
            length,
            call,
        }
    }

    /// Hands over `body` at once.
    pub(crate) fn full(body: impl Into<Bytes>, call: Option<Call>) -> Player {
        let body = body.into();
        let length = body.len() as u64;
        Player::new(vec![Step::Write(body, 0)], Some(length), call)
    }

    fn write(&mut self, bytes: Bytes, tokens: u64) -> Frame<Bytes> {
        if let Some(call) = &mut self.call {
            call.wrote(tokens);
            if self.steps.as_slice().is_empty() {
                call.completed();
            }
        }
        if let Some(length) = &mut self.length {
            *length = length.saturating_sub(bytes.len() as u64);
        }
        Frame::data(bytes)
    }

    /// Waits for the end of a pause; a pause of no length only lets the connection write.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if std::mem::take(&mut self.yielded) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Body for Player {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            std::task::ready!(self.poll_pause(context));
            match self.steps.next() {
                Some(Step::Write(bytes, tokens)) => {
                    return Poll::Ready(Some(Ok(self.write(bytes, tokens))));
                }
                Some(Step::Pause(gap)) if gap.is_zero() => self.yielded = true,
                Some(Step::Pause(gap)) => {
                    let until = Instant::now() + gap;
                    self.pause = Some(Box::pin(tokio::time::sleep_until(until)));
                }
                Some(Step::Cut) => {
                    let error = io::Error::other("the rehearsal cuts this answer");
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.as_slice().is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
