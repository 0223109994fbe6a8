//! The hash chain: each entry's hash covers the one before it and all its own columns, so that a
//! changed, missing or inserted entry is found. It does not keep an attacker who can rewrite the
//! whole file from recomputing everything.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 hash: the state of a journal up to and including one entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

/// The columns of an entry exactly as stored.
pub(crate) struct Stored<'a> {
    pub(crate) seq: u64,
    pub(crate) at_us: i64,
    pub(crate) kind: &'a [u8],
    pub(crate) budget: i64,
    pub(crate) hold: Option<&'a [u8]>,
    /// Amount, then overrun.
    pub(crate) amounts: [[i64; 3]; 2],
    pub(crate) body: &'a [u8],
}

// === impl Hash ===

impl Hash {
    /// Returns where the chain of the journal with this id begins.
    pub(crate) fn genesis(journal_id: &str) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(b"fisc journal 1\0");
        hasher.update(journal_id.as_bytes());
        Hash(hasher.finalize().into())
    }

    /// Returns the hash of the entry that follows. `scratch` is overwritten; it is the caller's
    /// so that nothing is allocated per entry.
    pub(crate) fn next(self, entry: &Stored<'_>, scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        scratch.extend_from_slice(&self.0);
        scratch.extend_from_slice(&entry.seq.to_le_bytes());
        scratch.extend_from_slice(&entry.at_us.to_le_bytes());
        scratch.extend_from_slice(&entry.budget.to_le_bytes());
        for units in entry.amounts.as_flattened() {
            scratch.extend_from_slice(&units.to_le_bytes());
        }
        for text in [entry.kind, entry.hold.unwrap_or_default(), entry.body] {
            scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
            scratch.extend_from_slice(text);
        }
        Hash(Sha256::digest(&*scratch).into())
    }
}

impl fmt::Display for Hash {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
