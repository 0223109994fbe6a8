//! How much input a request can be billed for at most, before anybody counted it.
//!
//! No byte of text is ever more than one token, so the body's bytes are a bound; where the same
//! provider already reported the usage of an identical prefix, only the bytes after it are.
//! What the body does not show (files by reference, documents) is bounded by the context window.
//! The bound is loose on purpose; expectations are `learn`'s.

use crate::facts::InputShape;
use crate::learn::Known;
use crate::models::ModelLimits;
use crate::wire::Wire;

/// Tokens that a provider's template may add around a whole prompt.
pub const TEMPLATE_PER_CALL: u64 = 16;
/// Tokens that a provider's template may add around one message, beyond its JSON's bytes.
pub const TEMPLATE_PER_MESSAGE: u64 = 4;
/// Tokens of the hidden prompt by which Anthropic explains tools to its models, at most.
pub const TOOLS_PROMPT: u64 = 700;
/// The fewest bytes in which an image can stand in a message.
const IMAGE_BYTES_MIN: u64 = 60;

/// The most input tokens that a request can be billed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputBound {
    /// Tokens of all classes of input.
    pub tokens: u64,
    /// Whether the bound is certain; otherwise the call is to be marked so.
    pub bounded: bool,
    /// What the bound rests on.
    pub how: How,
}

/// What a bound rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// One token per byte of the whole body.
    Bytes,
    /// The reported usage of an identical prefix, or its exact count, and one token per byte
    /// after it.
    Prefix,
}

// === impl InputBound ===

impl InputBound {
    /// Bounds a request's input by its bytes and what is known of its prefix.
    pub fn of_body(
        wire: Wire,
        shape: &InputShape,
        known: Option<Known>,
        limits: &ModelLimits,
    ) -> InputBound {
        let whole = by_bytes(wire, shape, limits);
        let by_prefix = known.map(|known| by_prefix(known, shape, limits));
        let (tokens, how) = match by_prefix {
            Some(tokens) if tokens < whole => (tokens, How::Prefix),
            _ => (whole, How::Bytes),
        };
        InputBound {
            tokens,
            bounded: true,
            how,
        }
        .with_unseen(shape, limits)
    }

    /// Makes room for what the body only refers to: at most a whole context window. Tools that
    /// the provider runs may fill it several times, which nothing bounds.
    fn with_unseen(self, shape: &InputShape, limits: &ModelLimits) -> InputBound {
        if !shape.opaque && shape.files == 0 {
            return self;
        }
        InputBound {
            tokens: self.tokens.max(limits.window.tokens()),
            bounded: self.bounded && limits.window.is_known() && shape.searches_max == 0,
            ..self
        }
    }
}

fn by_bytes(wire: Wire, shape: &InputShape, limits: &ModelLimits) -> u64 {
    let hidden = wire == Wire::AnthropicMessages && shape.hidden_prompt;
    let tools = if hidden { TOOLS_PROMPT } else { 0 };
    [
        shape.body_bytes,
        images(shape, shape.body_bytes, limits),
        shape.messages.saturating_mul(TEMPLATE_PER_MESSAGE),
        TEMPLATE_PER_CALL,
        tools,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// The hidden prompt for tools is inside the known usage, since tools are inside the prefix.
fn by_prefix(known: Known, shape: &InputShape, limits: &ModelLimits) -> u64 {
    [
        known.tokens,
        known.bytes_after,
        images(shape, known.bytes_after, limits),
        known.messages_after.saturating_mul(TEMPLATE_PER_MESSAGE),
        TEMPLATE_PER_CALL,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// Images cost what the provider says, whatever their bytes; how many there can be, the bytes say.
fn images(shape: &InputShape, bytes: u64, limits: &ModelLimits) -> u64 {
    shape
        .images
        .min(bytes / IMAGE_BYTES_MIN)
        .saturating_mul(limits.image_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    fn limits() -> ModelLimits {
        models::limits("gpt-4o", None, None)
    }

    fn shape(body_bytes: u64) -> InputShape {
        InputShape {
            body_bytes,
            messages: 1,
            ..InputShape::default()
        }
    }

    #[test]
    fn one_token_per_byte_and_the_template() {
        let bound = InputBound::of_body(Wire::OpenAiChat, &shape(1_000), None, &limits());
        assert_eq!(
            bound.tokens,
            1_000 + TEMPLATE_PER_CALL + TEMPLATE_PER_MESSAGE
        );
        assert_eq!((bound.bounded, bound.how), (true, How::Bytes));
    }

    #[test]
    fn a_known_prefix_leaves_only_the_bytes_after_it() {
        let known = Known {
            tokens: 200,
            bytes_after: 50,
            messages_after: 1,
            exact: true,
        };
        let bound = InputBound::of_body(Wire::OpenAiChat, &shape(1_000), Some(known), &limits());
        assert_eq!(bound.tokens, 250 + TEMPLATE_PER_CALL + TEMPLATE_PER_MESSAGE);
        assert_eq!(bound.how, How::Prefix);
        let useless = Known {
            tokens: 5_000,
            ..known
        };
        let bound = InputBound::of_body(Wire::OpenAiChat, &shape(1_000), Some(useless), &limits());
        assert_eq!(bound.how, How::Bytes);
    }

    #[test]
    fn what_the_body_does_not_show_is_a_context_window() {
        let opaque = InputShape {
            opaque: true,
            ..shape(1_000)
        };
        let bound = InputBound::of_body(Wire::OpenAiChat, &opaque, None, &limits());
        assert_eq!((bound.tokens, bound.bounded), (128_000, true));
        let unknown = models::limits("my-model", None, None);
        assert!(!InputBound::of_body(Wire::OpenAiChat, &opaque, None, &unknown).bounded);
        let searching = InputShape {
            searches_max: 5,
            ..opaque
        };
        assert!(!InputBound::of_body(Wire::OpenAiChat, &searching, None, &limits()).bounded);
    }

    #[test]
    fn images_and_tools_cost_more_than_their_bytes() {
        let images = InputShape {
            images: 2,
            ..shape(1_000)
        };
        let bound = InputBound::of_body(Wire::OpenAiChat, &images, None, &limits());
        assert!(bound.tokens >= 1_000 + 2 * limits().image_tokens);
        let tools = InputShape {
            hidden_prompt: true,
            ..shape(1_000)
        };
        let bound = InputBound::of_body(Wire::AnthropicMessages, &tools, None, &limits());
        assert!(bound.tokens >= 1_000 + TOOLS_PROMPT);
    }
}
