//! The body of what the gateway answers: whole, relayed as it is, or metered on its way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::proxy::begun::Frames;
use crate::proxy::meter::MeteredBody;
use crate::proxy::unmetered::PassingBody;

/// Whatever can break a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// All of it is here.
    Whole(Option<Bytes>),
    /// Relayed from the upstream unread.
    Relayed(Incoming),
    /// A stream that is metered as it passes.
    Metered(MeteredBody),
    /// Passed unmetered, within the time of its call.
    Passing(Box<PassingBody>),
    /// Begun before there was anything to relay.
    Begun(Frames),
}

// === impl AnswerBody ===

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        AnswerBody::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Relayed(incoming) => {
                let frame = Pin::new(incoming).poll_frame(cx);
                frame.map(|next| next.map(|frame| frame.map_err(BodyError::from)))
            }
            AnswerBody::Metered(metered) => metered
                .poll_chunk(cx)
                .map(|next| next.map(|chunk| chunk.map(Frame::data))),
            AnswerBody::Passing(passing) => passing.poll_frame(cx),
            AnswerBody::Begun(frames) => frames.poll_recv(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Relayed(incoming) => incoming.is_end_stream(),
            AnswerBody::Metered(_) | AnswerBody::Passing(_) | AnswerBody::Begun(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            AnswerBody::Relayed(incoming) => incoming.size_hint(),
            AnswerBody::Metered(_) | AnswerBody::Passing(_) | AnswerBody::Begun(_) => {
                SizeHint::default()
            }
        }
    }
}
