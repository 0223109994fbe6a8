//! The hash of a prompt up to each of its messages.
//!
//! An agent's next call repeats its last one and adds to it, so what the provider reported for the
//! longest equal prefix bounds that part of the input. Marks that only place a cache
//! (`cache_control`) move from message to message between calls and are left out.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::wire::Wire;

/// Hashes one prompt, part by part.
pub(super) struct PrefixHash<'a> {
    body: &'a [u8],
    /// Spans left out, ascending.
    cuts: &'a [Range<usize>],
    state: Sha256,
}

impl<'a> PrefixHash<'a> {
    pub(super) fn new(
        wire: Wire,
        model: &str,
        body: &'a [u8],
        cuts: &'a [Range<usize>],
    ) -> PrefixHash<'a> {
        debug_assert!(
            cuts.is_sorted_by(|a, b| a.end <= b.start),
            "cuts are found in order"
        );
        let mut state = Sha256::new();
        state.update(wire.name());
        state.update([0]);
        state.update((model.len() as u64).to_le_bytes());
        state.update(model);
        PrefixHash { body, cuts, state }
    }

    /// Adds a part of the body. JSON text holds no NUL, so parts cannot run into one another.
    pub(super) fn add(&mut self, span: Range<usize>) {
        let mut from = span.start;
        let first = self.cuts.partition_point(|cut| cut.start < span.start);
        for cut in self.cuts[first..]
            .iter()
            .take_while(|cut| cut.end <= span.end)
        {
            self.state.update(&self.body[from..cut.start]);
            from = cut.end;
        }
        self.state.update(&self.body[from..span.end]);
        self.state.update([0]);
    }

    /// Returns the hash of what was added so far.
    pub(super) fn so_far(&self) -> u128 {
        let digest = self.state.clone().finalize();
        let (half, _) = digest.split_at(16);
        u128::from_le_bytes(half.try_into().expect("half of 32 bytes"))
    }
}
