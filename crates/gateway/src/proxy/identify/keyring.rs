//! Which secrets authorize, and for which budgets.
//!
//! Only hashes are kept. A key's id is public and finds its entry; the secret is compared in
//! constant time, against a hash of nothing when the id is unknown, so that neither the answer
//! nor its timing tells unknown from wrong.

use std::collections::HashMap;

use subtle::{Choice, ConditionallySelectable};

use crate::secret::{Secret, SecretHash};

/// Everybody who may call.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    runs: Vec<Run>,
    keys: HashMap<String, VirtualKey>,
}

/// A key of this gateway, stored as its hash.
#[derive(Debug, Clone)]
pub struct VirtualKey {
    /// The public part, `<id>` in `sk-fisc-<id>.<secret>`.
    pub id: String,
    /// The hash of the secret part.
    pub hash: SecretHash,
    /// The path of the budget that it stands for.
    pub root: String,
}

#[derive(Debug, Clone)]
struct Run {
    hash: SecretHash,
    root: String,
}

// === impl Keyring ===

impl Keyring {
    /// Makes a keyring that authorizes nobody.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// Lets whoever has `secret` in the path, `/r/<secret>/…`, spend from the budget `root`.
    #[must_use]
    pub fn with_run(mut self, secret: &Secret, root: impl Into<String>) -> Keyring {
        self.runs.push(Run {
            hash: secret.hash(),
            root: root.into(),
        });
        self
    }

    /// Lets whoever has a key spend from its budget; a key of the same id is replaced.
    #[must_use]
    pub fn with_key(mut self, key: VirtualKey) -> Keyring {
        self.keys.insert(key.id.clone(), key);
        self
    }

    /// Says whether nobody is authorized.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.keys.is_empty()
    }

    pub(super) fn root_of_run(&self, secret: &str) -> Option<&str> {
        let presented = SecretHash::of(secret);
        let mut found = u32::MAX;
        for (index, run) in (0_u32..).zip(&self.runs) {
            found.conditional_assign(&index, run.hash.same(&presented));
        }
        self.runs.get(found as usize).map(|run| run.root.as_str())
    }

    pub(super) fn root_of_key(&self, id: &str, secret: &str) -> Option<&str> {
        let presented = SecretHash::of(secret);
        let known = self.keys.get(id);
        let expected = known.map_or_else(|| SecretHash::of(""), |key| key.hash);
        let same = expected.same(&presented) & Choice::from(u8::from(known.is_some()));
        known.filter(|_| same.into()).map(|key| key.root.as_str())
    }
}
