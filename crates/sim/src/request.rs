//! Calls of many sessions in the order in which they were made, as a gateway meets them.

use fisc_core::{TimeUs, Timestamp};
use fisc_llm::{InputShape, Prefix};

use crate::script::{Call, Script};

/// One call, and where it stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Whose call it is; numbers mean nothing else.
    pub session: usize,
    /// When it was made.
    pub at: Timestamp,
    /// What it used.
    pub call: Call,
    /// The size of its body, as far as it is known.
    pub bytes: Option<u64>,
}

/// Calls in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    list: Vec<Request>,
    /// The call before in the same session, for each.
    before: Vec<Option<usize>>,
    /// The output cap that each is taken to send.
    output_max: u64,
}

/// Bytes of a token of input, where a trace does not say: those of English.
const TOKEN_BYTES: u64 = 4;

/// So many earlier calls of a session are looked at for a known prefix.
const PREFIXES: usize = 4;

/// So many invented agents are at work at a time.
const AT_WORK: i64 = 20;

/// The output cap that an invented agent sends.
const OUTPUT_MAX: u64 = 16_384;

// === impl Requests ===

impl Requests {
    /// Puts requests in order; each is taken to send this output cap.
    pub fn new(mut list: Vec<Request>, output_max: u64) -> Requests {
        list.sort_by_key(|request| request.at);
        let mut latest = std::collections::HashMap::new();
        let before = (list.iter().enumerate())
            .map(|(place, request)| latest.insert(request.session, place))
            .collect();
        Requests {
            list,
            before,
            output_max,
        }
    }

    /// Lets scripts run without a budget, one beginning after the other so that about twenty of
    /// them are at work at a time.
    pub fn of_scripts(scripts: &[Script]) -> Requests {
        let span = |call: &Call| call.pause.0.saturating_add(call.duration.0);
        let spans = scripts.iter().flat_map(|script| &script.calls).map(span);
        let whole: i64 = spans.fold(0, i64::saturating_add);
        let step = whole / (scripts.len().max(1) as i64 * AT_WORK);
        let mut list = Vec::new();
        for (session, script) in scripts.iter().enumerate() {
            let mut at = Timestamp(step.saturating_mul(session as i64));
            for call in &script.calls {
                at = at.after(call.pause);
                list.push(Request {
                    session,
                    at,
                    call: *call,
                    bytes: None,
                });
                at = at.after(call.duration);
            }
        }
        Requests::new(list, OUTPUT_MAX)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the requests in order.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.list.iter()
    }

    /// Returns the output cap that each is taken to send.
    pub fn output_max(&self) -> u64 {
        self.output_max
    }

    pub(crate) fn get(&self, place: usize) -> &Request {
        &self.list[place]
    }

    /// Returns what a gateway sees of a request's body: its size, and which earlier calls of its
    /// session it continues. One that is smaller than the one before it continues none.
    pub(crate) fn shape(&self, place: usize) -> InputShape {
        let bytes = self.bytes(place);
        let mut prefixes = Vec::new();
        let (mut at, mut after) = (Some(place), 0);
        while let Some(earlier) = at.filter(|_| prefixes.len() < PREFIXES) {
            prefixes.push(Prefix {
                hash: earlier as u128,
                bytes_after: after,
            });
            at = self.before[earlier].filter(|one| self.bytes(*one) <= self.bytes(earlier));
            after = at.map_or(after, |one| bytes - self.bytes(one));
        }
        prefixes.reverse();
        InputShape {
            body_bytes: bytes,
            messages: 2,
            prefixes,
            ..InputShape::default()
        }
    }

    fn bytes(&self, place: usize) -> u64 {
        let request = &self.list[place];
        let input = u64::try_from(request.call.input.0).unwrap_or(0);
        (request.bytes).unwrap_or_else(|| input.saturating_mul(TOKEN_BYTES))
    }
}

/// How long a call with so much output runs here.
pub(crate) fn duration(output: u64) -> TimeUs {
    crate::trace::duration(i64::try_from(output).unwrap_or(i64::MAX))
}
