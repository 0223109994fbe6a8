//! Deterministic draws: a hash of bytes and a small generator, both fixed for ever.
//!
//! The standard library's hasher may change between releases and the truth of a seed may not,
//! so both are written down here. Nothing here is meant to be hard to guess.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const ODD_TOO: u64 = 0xd6e8_feb8_6659_fd93;

/// A stream of pseudo-random numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

/// Hashes `bytes` under `seed`.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed, bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut eight = [0_u8; 8];
        eight.copy_from_slice(word);
        state = (state ^ u64::from_le_bytes(eight)).wrapping_mul(ODD);
        state ^= state >> 29;
    }
    let mut eight = [0_u8; 8];
    let rest = words.remainder();
    eight[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(eight))
}

/// Mixes two numbers into one.
pub(crate) fn mix(left: u64, right: u64) -> u64 {
    finish(left.wrapping_mul(ODD_TOO) ^ right.wrapping_add(ODD))
}

fn finish(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

// === impl Draw ===

impl Draw {
    /// Starts a stream.
    pub(crate) fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// Draws any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(ODD);
        finish(self.0)
    }

    /// Draws a number below `bound`, or 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.any() % bound }
    }

    /// Draws a number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Draws `length` characters of `alphabet`.
    pub(crate) fn name(&mut self, alphabet: &str, length: usize) -> String {
        let letters = alphabet.as_bytes();
        let letter = |_| char::from(letters[self.below(letters.len() as u64) as usize]);
        (0..length).map(letter).collect()
    }

    /// Draws a length around `middle`, roughly log-normal (sigma 0.77), in `1..=max`.
    ///
    /// Integers only, so that every machine draws the same.
    pub(crate) fn length(&mut self, middle: u64, max: u64) -> u64 {
        let mut thousandths = middle.saturating_mul(1_000);
        for _ in 0..12 {
            thousandths = if self.below(2) == 0 {
                thousandths * 5 / 4
            } else {
                thousandths * 4 / 5
            };
        }
        (thousandths * self.between(88, 112) / 100_000).clamp(1, max.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_seed_on_every_byte_and_on_the_length() {
        let base = hash(1, b"0123456789");
        assert_eq!(base, hash(1, b"0123456789"));
        assert_ne!(base, hash(2, b"0123456789"));
        assert_ne!(base, hash(1, b"0123456788"));
        assert_ne!(base, hash(1, b"1123456789"));
        assert_ne!(hash(1, b"a"), hash(1, b"a\0"));
    }

    #[test]
    fn lengths_spread_around_their_middle() {
        let mut draw = Draw::new(7);
        let mut lengths: Vec<u64> = (0..4_000).map(|_| draw.length(150, 1_200)).collect();
        lengths.sort_unstable();
        assert!((110..=190).contains(&lengths[2_000]), "{}", lengths[2_000]);
        assert!(lengths[100] < 50 && lengths[3_900] > 450, "too narrow");
        assert!(*lengths.last().expect("4,000 of them") <= 1_200);
    }
}
