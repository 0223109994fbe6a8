//! The two wires whose requests and responses this crate reads.
//!
//! A wire is a shape of JSON and of events, not a company: many servers speak the first one.

use std::fmt;

/// A protocol that a client and a provider speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// OpenAI chat completions: `POST …/chat/completions`.
    OpenAiChat,
    /// Anthropic messages: `POST …/messages`.
    AnthropicMessages,
}

impl Wire {
    /// Returns the wire's name in reports, the journal and fixtures.
    pub const fn name(self) -> &'static str {
        match self {
            Wire::OpenAiChat => "openai_chat",
            Wire::AnthropicMessages => "anthropic_messages",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
