//! Read: the whole body before anything is held, bounded in size and in silence.
//!
//! A body that trickles, is larger than allowed, or is encoded is refused here; what the body
//! says is read by `fisc_llm`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};

/// The largest body that is read, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// In each span of this length enough of a body has to come.
const WINDOW: Duration = Duration::from_secs(30);

/// How many bytes are enough: one that trickles would keep its connection for days.
const WINDOW_BYTES_MIN: usize = 256 * 1024;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// Larger than [`BODY_BYTES_MAX`].
    TooLarge,
    /// Compressed, so that what we would evaluate is not what we forward.
    Encoded,
    /// Hardly anything came for [`WINDOW`].
    TooSlow,
    /// The client broke off; nobody is there to answer.
    Gone,
}

/// Reads a whole body.
pub(crate) async fn read(headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, ReadError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ReadError::Encoded);
    }
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: usize| bytes > BODY_BYTES_MAX) {
        return Err(ReadError::TooLarge);
    }
    let mut parts = Parts::Empty;
    let mut window = Box::pin(tokio::time::sleep(WINDOW));
    let mut enough = WINDOW_BYTES_MIN;
    loop {
        let next = tokio::select! {
            biased;
            next = body.frame() => next,
            () = &mut window => {
                if parts.len() < enough {
                    return Err(ReadError::TooSlow);
                }
                enough = parts.len() + WINDOW_BYTES_MIN;
                window = Box::pin(tokio::time::sleep(WINDOW));
                continue;
            }
        };
        let Some(frame) = next else {
            return Ok(parts.join());
        };
        let frame = frame.map_err(|_| ReadError::Gone)?;
        if let Ok(data) = frame.into_data() {
            parts = parts.push(data, declared);
        }
        if parts.len() > BODY_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
    }
}

/// A body that mostly comes in one piece, which is then not copied.
enum Parts {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

// === impl Parts ===

impl Parts {
    fn push(self, data: Bytes, declared: Option<usize>) -> Parts {
        match self {
            Parts::Empty => Parts::One(data),
            Parts::One(first) => {
                let expected = declared.unwrap_or(0).max(first.len() + data.len());
                let mut all = BytesMut::with_capacity(expected);
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Parts::Many(all)
            }
            Parts::Many(mut all) => {
                all.extend_from_slice(&data);
                Parts::Many(all)
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Parts::Empty => 0,
            Parts::One(bytes) => bytes.len(),
            Parts::Many(bytes) => bytes.len(),
        }
    }

    fn join(self) -> Bytes {
        match self {
            Parts::Empty => Bytes::new(),
            Parts::One(bytes) => bytes,
            Parts::Many(bytes) => bytes.freeze(),
        }
    }
}
