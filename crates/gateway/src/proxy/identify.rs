//! Who calls: the first step of a request's life.
//!
//! Something secret always authorizes: the run secret in the path or a virtual key wherever SDKs
//! put keys. Everything else (path, headers, the suffix of a key) only *names* an agent and its
//! operation, always below the budget that the secret stands for. A request with an `Origin`
//! comes from a web page and one with a foreign `Host` from a rebound name: both are refused
//! before any secret is looked at. What the request wants is not judged here (`routes`).

mod delegates;
mod grant;
mod hosts;
mod key;
mod keyring;
mod names;
mod prefix;
mod scrub;
mod trace;

use std::borrow::Cow;

use fisc_core::MAX_DEPTH;
use hyper::{HeaderMap, Uri};

use crate::refusal::{Refusal, RefusalKind};

pub(crate) use self::delegates::{DelegateNumber, Delegates};
pub(crate) use self::grant::{Grant, path_without_secret};
pub(crate) use self::hosts::Hosts;
pub(crate) use self::key::PREFIX as KEY_PREFIX;
pub use self::keyring::{Keyring, VirtualKey};
pub(crate) use self::names::percent_decode;
pub(crate) use self::scrub::scrub;
pub(crate) use self::trace::TraceId;

/// The operation whose calls wrap up, whatever their headers say.
const FINALIZE_OPERATION: &str = "finalize";

/// Everybody who may call, and under which names of this gateway.
#[derive(Debug)]
pub(crate) struct Callers {
    keyring: Keyring,
    hosts: Hosts,
    /// Tokens of budgets that were allocated over HTTP.
    pub(crate) delegates: Delegates,
}

/// Who calls, and what is left of the path for the route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The path of the budget that the caller's secret stands for, with `/` between names.
    pub(crate) root: String,
    /// The agent's names below `root`, outermost first; empty when the caller named none.
    pub(crate) agent: Vec<String>,
    /// The name of the operation.
    pub(crate) operation: Option<String>,
    /// The task that the caller works on, a tag in reports.
    pub(crate) task: Option<String>,
    /// Whether the call wraps up: it may use what is kept for that.
    pub(crate) finalize: bool,
    /// Whether the call can be done without when its budget is scarce.
    pub(crate) optional: bool,
    /// The W3C trace that the call belongs to.
    pub(crate) trace: Option<TraceId>,
    /// The path without the gateway's prefix; begins with `/`.
    pub(crate) rest: String,
    /// The query without keys.
    pub(crate) query: Option<String>,
}

/// Why a caller is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentifyError {
    /// The request line holds a whole URL, as sent to a forward proxy.
    #[error("the request line names a server; use fisc as a base URL, not as an HTTP proxy")]
    AbsoluteForm,
    /// `Host` is missing, repeated, or none of this gateway's names.
    #[error("the Host header is none of this gateway's names; add the name to `hosts`")]
    ForeignHost,
    /// A browser sent it for a web page.
    #[error("requests of web pages (with an Origin header) are not served")]
    Origin,
    /// No secret, an unknown one or a wrong one: the same answer for all.
    #[error("no valid key; use the base URL that `fisc run` set or a key of this gateway")]
    NoSecret,
    /// A name cannot name an agent, an operation or a task.
    #[error("{place} {text:?}: {source}")]
    Name {
        /// Where the name stands.
        place: &'static str,
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        source: fisc_core::NameError,
    },
    /// A name is percent-encoded wrongly or is not UTF-8.
    #[error("{0} is not valid UTF-8 or wrongly percent-encoded")]
    Encoding(&'static str),
    /// A header that is set or not says something else.
    #[error("the header {0} is neither true nor false")]
    Flag(&'static str),
    /// A naming header came twice.
    #[error("the header {0} came more than once")]
    Repeated(&'static str),
    /// The agent's names lie too deep below its root.
    #[error("the agent would lie {depth} budgets deep, at most {MAX_DEPTH} are allowed")]
    TooDeep {
        /// How deep.
        depth: usize,
    },
}

// === impl Callers ===

impl Callers {
    /// Makes the gate from who may call and the names this gateway answers to.
    pub(crate) fn new(keyring: Keyring, hosts: Hosts, delegates: Delegates) -> Callers {
        Callers {
            keyring,
            hosts,
            delegates,
        }
    }

    /// Finds out who calls.
    pub(crate) fn identify(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Identity, IdentifyError> {
        self.hosts.check(uri, headers)?;
        let path = prefix::split(uri.path());
        let presented = key::presented(headers, uri.query());
        let key = presented.as_deref().and_then(key::parse);
        let root = match (path.secret, &key) {
            (Some(secret), _) => {
                let run = self.keyring.run(secret).map(|(root, _)| root.to_owned());
                run.or_else(|| self.delegates.root_of_token(secret))
            }
            (None, Some(key)) => {
                let root = self.keyring.root_of_key(key.id, key.secret);
                let delegate = || self.delegates.root_of_key(key.id, key.secret);
                root.map(str::to_owned).or_else(delegate)
            }
            (None, None) => None,
        };
        let root = root.ok_or(IdentifyError::NoSecret)?;
        let agent = names::agent(headers, path.agent, key.as_ref().and_then(|key| key.agent))?;
        let operation = key.as_ref().and_then(|key| key.operation);
        let operation = names::operation(headers, path.operation, operation)?;
        let depth = root.split('/').count() + agent.len();
        if depth > MAX_DEPTH {
            return Err(IdentifyError::TooDeep { depth });
        }
        let finalize = names::flag(headers, "fisc-finalize")?
            || operation.as_deref() == Some(FINALIZE_OPERATION);
        Ok(Identity {
            root,
            finalize,
            optional: names::flag(headers, "fisc-optional")?,
            agent,
            operation,
            task: names::task(headers)?,
            trace: TraceId::of(headers),
            rest: path.rest.to_owned(),
            query: uri.query().and_then(key::without_keys).map(Cow::into_owned),
        })
    }
}

// === impl IdentifyError ===

impl From<IdentifyError> for Refusal {
    fn from(error: IdentifyError) -> Refusal {
        let kind = match error {
            IdentifyError::NoSecret => RefusalKind::Unauthorized,
            IdentifyError::Origin => RefusalKind::OriginRefused,
            IdentifyError::ForeignHost => RefusalKind::HostRefused,
            IdentifyError::Name { .. }
            | IdentifyError::Encoding(_)
            | IdentifyError::Flag(_)
            | IdentifyError::Repeated(_)
            | IdentifyError::TooDeep { .. } => RefusalKind::BadName,
            IdentifyError::AbsoluteForm => RefusalKind::BadRequest,
        };
        Refusal::new(kind).with_detail(error.to_string())
    }
}

#[cfg(test)]
mod tests;
