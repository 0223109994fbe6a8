//! Tokens of budgets that were allocated over HTTP: each stands for its own subtree.
//!
//! A token is made of a salt and of the credential of whoever allocated the budget, which the
//! gateway has in hand only while a request is served. So nothing that is kept, in memory or in
//! the ledger, is enough to make one, and yet the answer to a repeated request can hold it, after
//! a restart too. A token has the shape of a virtual key, with an id that no configured key can
//! have, and authorizes wherever one does, and in the path.
//!
//! It is good for the budget that it was issued for, not for a later one of the same name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{BudgetId, Fisc, Note};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key;
use crate::secret::{Secret, SecretHash};

/// What the ids of delegates begin with; names of configured keys hold no such character.
const ID_PREFIX: char = '@';

/// What the keys of notes on delegates begin with.
const NOTES: &str = "delegate/";

/// What every hash that becomes a token begins with, so that it is none of another purpose.
const PURPOSE: &[u8] = b"fisc delegate\n";

/// A delegate's number, in the order in which tokens were issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct DelegateNumber(u32);

/// Every delegate.
pub(crate) struct Delegates {
    fisc: Fisc,
    issued: Mutex<Issued>,
}

/// A token that is made, and good for nothing yet.
pub(crate) struct Draft {
    number: DelegateNumber,
    salt: [u8; 16],
    hash: SecretHash,
}

#[derive(Default)]
struct Issued {
    next: u32,
    all: HashMap<u32, Delegate>,
}

struct Delegate {
    salt: [u8; 16],
    hash: SecretHash,
    root: String,
    budget: BudgetId,
}

/// A delegate as the ledger keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    salt: String,
    sha256: String,
    root: String,
    budget: u32,
}

// === impl Delegates ===

impl Delegates {
    /// Makes a list of delegates of budgets of `fisc`, without any.
    pub(crate) fn new(fisc: Fisc) -> Delegates {
        let issued = Mutex::default();
        Delegates { fisc, issued }
    }

    /// Takes up what the ledger keeps of an earlier life.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) fn restore(&self) -> Result<(), fisc::Error> {
        let kept = self.fisc.notes(NOTES)?;
        let mut issued = self.issued();
        for (number, note) in kept {
            let read = number.parse::<u32>().ok().zip(Delegate::read(&note));
            let Some((number, delegate)) = read else {
                tracing::warn!(number, "the ledger keeps a delegate that cannot be read");
                continue;
            };
            issued.next = issued.next.max(number.saturating_add(1));
            issued.all.insert(number, delegate);
        }
        Ok(())
    }

    /// Makes a token for whoever has `credential`.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn draft(&self, credential: &Secret) -> Result<Draft, getrandom::Error> {
        let mut salt = [0_u8; 16];
        getrandom::fill(&mut salt)?;
        let hash = SecretHash::of(&secret(salt, credential));
        let mut issued = self.issued();
        let number = DelegateNumber(issued.next);
        issued.next += 1;
        Ok(Draft { number, salt, hash })
    }

    /// Lets a token stand for the budget `root` and everything below it, and returns what is to
    /// be noted. Tokens of earlier budgets of that path, and of those below, are forgotten.
    pub(crate) fn issue(&self, draft: &Draft, root: &str, budget: BudgetId) -> Vec<Note> {
        let Draft { number, salt, hash } = *draft;
        let delegate = Delegate {
            salt,
            hash,
            root: root.to_owned(),
            budget,
        };
        let mut issued = self.issued();
        let former = |_: &u32, other: &mut Delegate| {
            let rest = other.root.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let former = issued.all.extract_if(former);
        let mut notes: Vec<Note> = former.map(|(number, _)| note(number, None)).collect();
        notes.push(note(number.0, Some(delegate.write())));
        issued.all.insert(number.0, delegate);
        notes
    }

    /// Returns the token of a delegate for whoever it was made for, who has `credential`.
    pub(crate) fn token(&self, number: DelegateNumber, credential: &Secret) -> Option<Secret> {
        let issued = self.issued();
        let delegate = issued.all.get(&number.0)?;
        let secret = secret(delegate.salt, credential);
        let same: bool = delegate.hash.same(&SecretHash::of(&secret)).into();
        let prefix = key::PREFIX;
        same.then(|| Secret::new(format!("{prefix}{ID_PREFIX}{}.{secret}", number.0)))
    }

    /// Returns the budget that the key of this id and secret stands for.
    pub(super) fn root_of_key(&self, id: &str, secret: &str) -> Option<String> {
        let number: u32 = id.strip_prefix(ID_PREFIX)?.parse().ok()?;
        let (root, budget) = {
            let issued = self.issued();
            let delegate = issued.all.get(&number)?;
            let same: bool = delegate.hash.same(&SecretHash::of(secret)).into();
            same.then(|| (delegate.root.clone(), delegate.budget))?
        };
        // Not under the lock: a token is issued under that of the books.
        let found = self.fisc.budget(&root).ok()?;
        (found.id() == budget).then_some(root)
    }

    /// Returns the budget that a token in a path stands for.
    pub(super) fn root_of_token(&self, token: &str) -> Option<String> {
        let key = key::parse(token).filter(|key| key.agent.is_none())?;
        self.root_of_key(key.id, key.secret)
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        // Nothing can panic in the middle of a change.
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Delegates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} delegates", self.issued().all.len())
    }
}

// === impl Draft ===

impl Draft {
    pub(crate) fn number(&self) -> DelegateNumber {
        self.number
    }
}

// === impl Delegate ===

impl Delegate {
    fn write(&self) -> String {
        let kept = Kept {
            salt: format!("{:032x}", u128::from_be_bytes(self.salt)),
            sha256: self.hash.digits(),
            root: self.root.clone(),
            budget: self.budget.0,
        };
        serde_json::to_string(&kept).expect("text and numbers are JSON")
    }

    fn read(text: &str) -> Option<Delegate> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        Some(Delegate {
            salt: u128::from_str_radix(&kept.salt, 16).ok()?.to_be_bytes(),
            hash: SecretHash::parse(&kept.sha256)?,
            root: kept.root,
            budget: BudgetId(kept.budget),
        })
    }
}

fn note(number: u32, value: Option<String>) -> Note {
    let key = format!("{NOTES}{number}");
    Note { key, value }
}

/// Makes the 128 bits of a delegate's secret. Half of a hash tells nothing of the credential, nor
/// of other delegates' secrets; all that stands before the credential has a fixed length.
fn secret(salt: [u8; 16], credential: &Secret) -> String {
    let mut hash = Sha256::new();
    hash.update(PURPOSE);
    hash.update(salt);
    hash.update(credential.expose());
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0_u8; 16];
    half.copy_from_slice(&digest[..16]);
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use fisc::Terms;

    use super::*;

    async fn tree() -> Fisc {
        let fisc = Fisc::in_memory();
        for path in ["run", "run/a", "run/b"] {
            let made = fisc.allocate(path, Terms::default()).await;
            made.expect("it is free");
        }
        fisc
    }

    fn issue(delegates: &Delegates, credential: &Secret, root: &str) -> Secret {
        let budget = delegates.fisc.budget(root).expect("it is there").id();
        let draft = delegates.draft(credential).expect("random");
        delegates.issue(&draft, root, budget);
        let token = delegates.token(draft.number(), credential);
        token.expect("who it was made for gets it again")
    }

    #[tokio::test]
    async fn a_token_stands_for_its_own_root_only() {
        let delegates = Delegates::new(tree().await);
        let credential = Secret::new("0123456789abcdef0123456789abcdef");
        let one = issue(&delegates, &credential, "run/a");
        let other = issue(&delegates, &credential, "run/b");
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
        let stranger = Secret::new("another credential");
        assert!(delegates.token(DelegateNumber(0), &stranger).is_none());
    }

    #[tokio::test]
    async fn a_token_is_not_good_for_a_later_budget_of_the_name() {
        let fisc = tree().await;
        let delegates = Delegates::new(fisc.clone());
        let credential = Secret::new("0123456789abcdef0123456789abcdef");
        let old = issue(&delegates, &credential, "run/a");
        let budget = fisc.budget("run/a").expect("it is there").id();
        fisc.release(budget).await.expect("nothing runs");
        assert!(delegates.root_of_token(old.expose()).is_some());
        let made = fisc.allocate("run/a", Terms::default()).await;
        made.expect("the name is free");
        assert_eq!(delegates.root_of_token(old.expose()), None);
        let new = issue(&delegates, &credential, "run/a");
        assert!(delegates.root_of_token(new.expose()).is_some());
        assert_eq!(delegates.root_of_token(old.expose()), None);
    }
}
