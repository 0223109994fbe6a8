//! Who may change budgets: the same secrets as for calls, and what each of them is good for.
//!
//! A secret that was handed to a program is a delegate of its own subtree. An owner's secret may
//! also change the budget that it stands for. Unlike a call, a request to the budget API may
//! have the secret of a run in a header: it is never forwarded.

use hyper::{HeaderMap, Uri};

use super::{Callers, IdentifyError, key, prefix};
use crate::secret::Secret;

/// What a secret is good for.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// The path of the budget that it stands for.
    pub(crate) root: String,
    /// Whether it may change that budget too, not only what is below.
    pub(crate) owner: bool,
    /// The secret itself: without what names a key, wherever it was presented.
    pub(crate) credential: Secret,
}

/// Returns a path without the secret in it, when no agent is named: what names one is a call.
pub(crate) fn path_without_secret(uri: &Uri) -> Option<&str> {
    let path = prefix::split(uri.path());
    path.agent.is_none().then_some(path.rest)
}

// === impl Callers ===

impl Callers {
    /// Finds out what the caller may do with budgets.
    pub(crate) fn grant(&self, uri: &Uri, headers: &HeaderMap) -> Result<Grant, IdentifyError> {
        self.check_host(uri, headers)?;
        if let Some(secret) = prefix::split(uri.path()).secret {
            return self.grant_of_run(secret).ok_or(IdentifyError::NoSecret);
        }
        if let Some(presented) = key::presented(headers, uri.query()) {
            let key = key::parse(&presented).filter(|key| key.agent.is_none());
            let grant = key.and_then(|key| self.grant_of_key(&key));
            return grant.ok_or(IdentifyError::NoSecret);
        }
        let found = key::in_headers(headers).find_map(|secret| self.grant_of_run(secret));
        found.ok_or(IdentifyError::NoSecret)
    }

    /// Refuses what a browser or a rebound name sends.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), IdentifyError> {
        self.hosts.check(uri, headers)
    }

    fn grant_of_run(&self, secret: &str) -> Option<Grant> {
        let run = self.keyring.run(secret).map(|(root, owner)| Grant {
            root: root.to_owned(),
            owner,
            credential: Secret::new(secret),
        });
        run.or_else(|| {
            let key = key::parse(secret).filter(|key| key.agent.is_none())?;
            self.grant_of_delegate(&key)
        })
    }

    fn grant_of_key(&self, key: &key::Presented<'_>) -> Option<Grant> {
        if let Some(root) = self.keyring.root_of_key(key.id, key.secret) {
            return Some(Grant {
                root: root.to_owned(),
                owner: self.keyring.is_owner(key.id),
                credential: Secret::new(key.secret),
            });
        }
        self.grant_of_delegate(key)
    }

    fn grant_of_delegate(&self, key: &key::Presented<'_>) -> Option<Grant> {
        let root = self.delegates.root_of_key(key.id, key.secret)?;
        Some(Grant {
            root,
            owner: false,
            credential: Secret::new(key.secret),
        })
    }
}
