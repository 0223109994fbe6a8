//! How much models can write and read at most.
//!
//! A small table of families, by prefix, beside what the catalogue and the owner say. Where
//! nobody knows, a conservative figure is assumed; the caller then writes the cap that it assumed
//! into the request, so that it holds all the same.

/// The output that is assumed of a model that is not known, in tokens.
const ASSUMED_OUTPUT: u64 = 8_192;
/// The context window that is assumed of a model that is not known, in tokens: more than most
/// have, for what a request does not show must be held whole.
const ASSUMED_WINDOW: u64 = 1_050_000;
/// The most tokens that one image can be billed as, where nothing else is known.
const IMAGE_TOKENS: u64 = 6_000;
/// The most tokens of an image for the small models that bill tiles at a multiple.
const IMAGE_TOKENS_GPT_4O_MINI: u64 = 49_000;

/// A maximum, and whether it can be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maximum {
    /// The provider enforces it.
    Known(u64),
    /// A guess: write it into the request where it must hold.
    Assumed(u64),
}

/// How large a model's calls can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// The most output tokens of one choice.
    pub output: Maximum,
    /// The most tokens of input and output together.
    pub window: Maximum,
    /// The most tokens that one image of the input is billed as.
    pub image_tokens: u64,
}

/// Families by prefix of the model's name: maximum output, context window. Longer prefixes first.
const FAMILIES: &[(&str, u64, u64)] = &[
    ("gpt-3.5-turbo", 4_096, 16_385),
    ("gpt-4o-2024-05-13", 4_096, 128_000),
    ("gpt-4o", 16_384, 128_000),
    ("gpt-4.1", 32_768, 1_047_576),
    ("gpt-4.5", 16_384, 128_000),
    ("gpt-4-turbo", 4_096, 128_000),
    ("gpt-4-1106", 4_096, 128_000),
    ("gpt-4-0125", 4_096, 128_000),
    ("gpt-4-32k", 32_768, 32_768),
    ("gpt-4", 8_192, 8_192),
    ("gpt-5-chat", 16_384, 128_000),
    ("gpt-5", 128_000, 400_000),
    ("o1-mini", 65_536, 128_000),
    ("o1-preview", 32_768, 128_000),
    ("o1", 100_000, 200_000),
    ("o3", 100_000, 200_000),
    ("o4-mini", 100_000, 200_000),
    ("claude-3-5", 8_192, 200_000),
    ("claude-3-7-sonnet", 128_000, 200_000),
    ("claude-3-", 4_096, 200_000),
    ("claude-2", 4_096, 200_000),
    ("claude-haiku-4-5", 64_000, 200_000),
    ("claude-sonnet-4-0", 64_000, 1_000_000),
    ("claude-sonnet-4-5", 64_000, 1_000_000),
    ("claude-sonnet-4-2025", 64_000, 1_000_000),
    ("claude-opus-4-5", 64_000, 200_000),
    ("claude-opus-4-0", 32_000, 200_000),
    ("claude-opus-4-1", 32_000, 200_000),
    ("claude-opus-4-2025", 32_000, 200_000),
];

// === impl Maximum ===

impl Maximum {
    /// Returns the figure, known or assumed.
    pub const fn tokens(self) -> u64 {
        match self {
            Maximum::Known(tokens) | Maximum::Assumed(tokens) => tokens,
        }
    }

    /// Says whether the figure can be relied upon.
    pub const fn is_known(self) -> bool {
        matches!(self, Maximum::Known(_))
    }
}

/// Puts together what is known of a model: what the owner or catalogue says wins over the table.
pub(crate) fn limits(model: &str, output: Option<u64>, window: Option<u64>) -> ModelLimits {
    let family = FAMILIES
        .iter()
        .find(|(prefix, ..)| model.starts_with(prefix));
    let known = |said: Option<u64>, table: Option<u64>, assumed| {
        said.or(table)
            .map_or(Maximum::Assumed(assumed), Maximum::Known)
    };
    let window = known(window, family.map(|(_, _, window)| *window), ASSUMED_WINDOW);
    let small = model.starts_with("gpt-4o-mini");
    let image_tokens = if small {
        IMAGE_TOKENS_GPT_4O_MINI
    } else {
        IMAGE_TOKENS
    };
    ModelLimits {
        output: known(output, family.map(|(_, output, _)| *output), ASSUMED_OUTPUT),
        window,
        image_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_prefixes_come_first() {
        for (index, (prefix, ..)) in FAMILIES.iter().enumerate() {
            let shadowed = FAMILIES[..index]
                .iter()
                .any(|(before, ..)| prefix.starts_with(before));
            assert!(!shadowed, "{prefix} is never reached");
        }
    }

    #[test]
    fn unknown_models_are_assumed_and_owners_are_believed() {
        let unknown = limits("my-model", None, None);
        assert_eq!(unknown.output, Maximum::Assumed(ASSUMED_OUTPUT));
        assert!(!unknown.window.is_known());
        let told = limits("gpt-4o-mini", Some(100), Some(1_000));
        assert_eq!(told.output, Maximum::Known(100));
        assert_eq!(told.window, Maximum::Known(1_000));
        assert_eq!(
            limits("gpt-4o-mini", None, None).output,
            Maximum::Known(16_384)
        );
    }
}
