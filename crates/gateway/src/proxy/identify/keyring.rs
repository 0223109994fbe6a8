//! Which secrets authorize, and for which budgets.
//!
//! Only hashes are kept. A key's id is public and finds its entry; the secret is compared in
//! constant time, against a hash of nothing when the id is unknown, so that neither the answer
//! nor its timing tells unknown from wrong.

use std::collections::{HashMap, HashSet};

use subtle::{Choice, ConditionallySelectable};

use crate::secret::{Secret, SecretHash};

/// Everybody who may call.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    runs: Vec<Run>,
    keys: HashMap<String, VirtualKey>,
    /// The ids of keys that may also change their own budgets.
    owners: HashSet<String>,
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
    owner: bool,
}

// === impl Keyring ===

impl Keyring {
    /// Makes a keyring that authorizes nobody.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// Lets whoever has `secret` in the path, `/r/<secret>/…`, spend from the budget `root`.
    #[must_use]
    pub fn with_run(self, secret: &Secret, root: impl Into<String>) -> Keyring {
        self.with(secret, root.into(), false)
    }

    /// As [`Keyring::with_run`], for whoever may also change that budget, and not only what is
    /// below it.
    #[must_use]
    pub fn with_owner(self, secret: &Secret, root: impl Into<String>) -> Keyring {
        self.with(secret, root.into(), true)
    }

    /// Lets whoever has a key spend from its budget; a key of the same id is replaced.
    #[must_use]
    pub fn with_key(mut self, key: VirtualKey) -> Keyring {
        self.keys.insert(key.id.clone(), key);
        self
    }

    /// As [`Keyring::with_key`], for whoever may also change the key's budget, and not only what
    /// is below it.
    #[must_use]
    pub fn with_owner_key(mut self, key: VirtualKey) -> Keyring {
        self.owners.insert(key.id.clone());
        self.with_key(key)
    }

    /// Says whether nobody is authorized.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.keys.is_empty()
    }

    fn with(mut self, secret: &Secret, root: String, owner: bool) -> Keyring {
        let hash = secret.hash();
        self.runs.push(Run { hash, root, owner });
        self
    }

    /// Says whether the key of that id may also change its own budget.
    pub(super) fn is_owner(&self, id: &str) -> bool {
        self.owners.contains(id)
    }

    /// Returns the budget that a run's secret stands for, and whether it may be changed with it.
    pub(super) fn run(&self, secret: &str) -> Option<(&str, bool)> {
        let presented = SecretHash::of(secret);
        let mut found = u32::MAX;
        for (index, run) in (0_u32..).zip(&self.runs) {
            found.conditional_assign(&index, run.hash.same(&presented));
        }
        let run = self.runs.get(found as usize)?;
        Some((run.root.as_str(), run.owner))
    }

    pub(super) fn root_of_key(&self, id: &str, secret: &str) -> Option<&str> {
        let presented = SecretHash::of(secret);
        let known = self.keys.get(id);
        let expected = known.map_or_else(|| SecretHash::of(""), |key| key.hash);
        let same = expected.same(&presented) & Choice::from(u8::from(known.is_some()));
        known.filter(|_| same.into()).map(|key| key.root.as_str())
    }
}
