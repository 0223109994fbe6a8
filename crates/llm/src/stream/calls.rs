//! How far the calls of tools in a stream have come: whether their arguments, as they stand,
//! could be taken for whole though more of them was to come.
//!
//! Arguments are JSON, nearly always an object, whose beginning nobody takes for whole. But
//! clients take no arguments at all for `{}`, and a number has no end of its own.

use crate::json::Text;

/// How many calls are followed, so that nothing grows without bound.
const CALLS_MAX: usize = 256;

/// What makes any such arguments unreadable, and is the usual beginning of arguments: a stream
/// that met its cap there looks the same.
pub(super) const BEGUN: &str = "{";

/// The last call of each choice or block.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    /// The choice (OpenAI) or block (Anthropic) that it is in.
    part: u64,
    /// Its number in the choice, where there may be several.
    pub(super) number: Option<u64>,
    /// The first byte of its arguments that is no space.
    first: Option<u8>,
}

// === impl Calls ===

impl Calls {
    /// Notes more of a call. One of another number in the same choice is over with it.
    pub(super) fn take(&mut self, part: u64, number: Option<u64>, arguments: Option<Text<'_>>) {
        let fresh = Call {
            part,
            number,
            first: None,
        };
        let place = self.0.iter().position(|call| call.part == part);
        let call = match place {
            Some(place) => {
                let call = &mut self.0[place];
                if call.number != number {
                    *call = fresh;
                }
                call
            }
            None if self.0.len() < CALLS_MAX => {
                self.0.push(fresh);
                self.0.last_mut().expect("it was pushed")
            }
            None => return,
        };
        if call.first.is_none() {
            let text = arguments.and_then(|arguments| arguments.decode());
            call.first = text.and_then(|text| text.trim_ascii_start().bytes().next());
        }
    }

    /// Returns a part's last call if its arguments could be taken for whole.
    pub(super) fn deceptive(&self, part: u64) -> Option<&Call> {
        let call = self.0.iter().find(|call| call.part == part)?;
        let deceives = call
            .first
            .is_none_or(|first| first == b'-' || first.is_ascii_digit());
        deceives.then_some(call)
    }
}
