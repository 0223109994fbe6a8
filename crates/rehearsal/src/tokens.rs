//! How many tokens a text is: an invention that behaves as badly as the real thing.
//!
//! Every text has a ratio of tokens to bytes of its own, drawn from a hash of the text, so that
//! nobody can learn a constant. What holds for real tokenizers holds here: a text is never more
//! tokens than bytes, a text that is not empty is at least one, and the tokens of a prompt are
//! the sum over its parts, so a prefix costs the same whatever follows it.

use crate::draw;

/// The tokens of a call's frame.
pub(crate) const CALL_TOKENS: u64 = 3;
/// The tokens of the frame of a message, of the system prompt and of a tool.
pub(crate) const MESSAGE_TOKENS: u64 = 4;
/// The tokens of an image, a file or a sound, whatever it holds.
pub(crate) const ATTACHMENT_TOKENS: u64 = 85;

const RATIO_MIN: u64 = 1_500;
const RATIO_MAX: u64 = 6_000;
/// Ratios are counted in this part of a token per byte.
pub(crate) const RATIO_UNIT: u64 = 10_000;

/// Returns the tokens of `text`, a number in `1..=text.len()` unless the text is empty.
pub(crate) fn count(seed: u64, text: &str) -> u64 {
    at_ratio(text.len() as u64, ratio(draw::hash(seed, text.as_bytes())))
}

/// Returns the ratio of tokens to bytes that `hash` chooses, in [`RATIO_UNIT`]s.
pub(crate) fn ratio(hash: u64) -> u64 {
    RATIO_MIN + draw::mix(hash, 1) % (RATIO_MAX - RATIO_MIN + 1)
}

/// Returns the tokens of `bytes` bytes at a ratio; rounded up.
pub(crate) fn at_ratio(bytes: u64, ratio: u64) -> u64 {
    (bytes * ratio).div_ceil(RATIO_UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_at_least_one_token_and_at_most_one_per_byte() {
        assert_eq!(count(1, ""), 0);
        for length in 1..400 {
            let text = "é1".repeat(length);
            let tokens = count(9, &text);
            assert!(
                (1..=text.len() as u64).contains(&tokens),
                "{length}: {tokens}"
            );
        }
    }

    #[test]
    fn ratios_differ_between_texts_and_stay_in_their_range() {
        let ratios: Vec<u64> = (0..2_000)
            .map(|n| ratio(draw::hash(3, &[n as u8, 1])))
            .collect();
        let (min, max) = (ratios.iter().min(), ratios.iter().max());
        assert!(*min.expect("some") < 1_700 && *max.expect("some") > 5_800);
        assert!(ratios.iter().all(|ratio| (1_500..=6_000).contains(ratio)));
    }
}
