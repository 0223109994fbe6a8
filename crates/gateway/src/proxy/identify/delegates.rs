//! Tokens of budgets that were allocated over HTTP: each stands for its own subtree.
//!
//! A token is made of a key that lives as long as the process, so that the answer to a repeated
//! request can hold it although only its hash is kept. It has the shape of a virtual key, with
//! an id that no configured key can have, and authorizes wherever one does, and in the path.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::key;
use crate::secret::{Secret, SecretHash};

/// What the ids of delegates begin with; names of configured keys hold no such character.
const ID_PREFIX: char = '@';

/// A delegate's number, in the order in which tokens were issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DelegateNumber(u32);

/// Every delegate.
#[derive(Default)]
pub(crate) struct Delegates(Mutex<Issued>);

#[derive(Default)]
struct Issued {
    /// What tokens are made of, once there is one.
    key: Option<[u8; 32]>,
    all: Vec<Delegate>,
}

struct Delegate {
    hash: SecretHash,
    root: String,
}

// === impl Delegates ===

impl Delegates {
    /// Issues a token for the budget `root` and everything below it.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn issue(&self, root: &str) -> Result<DelegateNumber, getrandom::Error> {
        let mut issued = self.issued();
        if issued.key.is_none() {
            let mut key = [0_u8; 32];
            getrandom::fill(&mut key)?;
            issued.key = Some(key);
        }
        let number = DelegateNumber(issued.all.len() as u32);
        let hash = SecretHash::of(&issued.secret(number));
        let root = root.to_owned();
        issued.all.push(Delegate { hash, root });
        Ok(number)
    }

    /// Returns the token of a delegate, to hand it to whom it is for.
    pub(crate) fn token(&self, number: DelegateNumber) -> Secret {
        let secret = self.issued().secret(number);
        let prefix = key::PREFIX;
        Secret::new(format!("{prefix}{ID_PREFIX}{}.{secret}", number.0))
    }

    /// Returns the budget that the key of this id and secret stands for.
    pub(super) fn root_of_key(&self, id: &str, secret: &str) -> Option<String> {
        let number: usize = id.strip_prefix(ID_PREFIX)?.parse().ok()?;
        let issued = self.issued();
        let delegate = issued.all.get(number)?;
        let same: bool = delegate.hash.same(&SecretHash::of(secret)).into();
        same.then(|| delegate.root.clone())
    }

    /// Returns the budget that a token in a path stands for.
    pub(super) fn root_of_token(&self, token: &str) -> Option<String> {
        let key = key::parse(token)?;
        if key.agent.is_some() {
            return None;
        }
        self.root_of_key(key.id, key.secret)
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Delegates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} delegates", self.issued().all.len())
    }
}

// === impl Issued ===

impl Issued {
    /// Makes the 128 bits of a delegate's secret. Half of a hash over a fixed length tells
    /// nothing of the key, nor of other delegates' secrets.
    fn secret(&self, DelegateNumber(number): DelegateNumber) -> String {
        let key = self
            .key
            .expect("a number is given out after the key is made");
        let mut hash = Sha256::new();
        hash.update(key);
        hash.update(number.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut half = [0_u8; 16];
        half.copy_from_slice(&digest[..16]);
        format!("{:032x}", u128::from_be_bytes(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_its_own_root_only() {
        let delegates = Delegates::default();
        let one = delegates.issue("run/a").expect("random");
        let other = delegates.issue("run/b").expect("random");
        let (one, other) = (delegates.token(one), delegates.token(other));
        assert_ne!(one.expose(), other.expose());
        let root = |token: &str| delegates.root_of_token(token);
        assert_eq!(root(one.expose()).as_deref(), Some("run/a"));
        assert_eq!(root(other.expose()).as_deref(), Some("run/b"));
        let swapped = one.expose().replace("@0.", "@1.");
        for wrong in [swapped.as_str(), "sk-fisc-@0.", "sk-fisc-@7.x", "@0", ""] {
            assert_eq!(root(wrong), None, "{wrong}");
        }
        assert_eq!(one.expose().len(), "sk-fisc-@0.".len() + 32);
        assert!(!format!("{delegates:?}").contains("run"));
    }
}
