//! The W3C trace context of a call, so that the attempts of one operation group together.

use std::fmt;

use hyper::HeaderMap;

/// The id of a trace: 128 bits, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceId(pub(crate) u128);

impl TraceId {
    /// Reads `traceparent`. A malformed or repeated one is ignored, as the standard demands.
    pub(crate) fn of(headers: &HeaderMap) -> Option<TraceId> {
        let mut values = headers.get_all("traceparent").iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let mut fields = value.split('-');
        let (version, trace) = (fields.next()?, fields.next()?);
        let (span, flags) = (fields.next()?, fields.next()?);
        let hex = |text: &str, digits: usize| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            text.len() == digits && text.bytes().all(digit)
        };
        let shaped = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let closed = version != "00" || fields.next().is_none();
        if !shaped || !closed || version == "ff" || span.bytes().all(|byte| byte == b'0') {
            return None;
        }
        u128::from_str_radix(trace, 16)
            .ok()
            .filter(|id| *id != 0)
            .map(TraceId)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
