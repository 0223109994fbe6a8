//! What the child of `fisc run` finds in its environment, and what the gateway gets instead.
//!
//! Pure: it reads the environment that it is given and returns what to change. Every base-URL
//! variable of the popular clients points to the gateway, what stood there becomes the
//! upstream, and (under custody) provider keys are exchanged for run keys that are worthless
//! elsewhere. It starts nothing and resolves no names. Variables of providers that are not
//! metered are left alone, with a warning.

use std::collections::BTreeMap;
use std::ffi::OsString;

use fisc_gateway::{Credential, Provider, Secret};

mod base_urls;
mod custody;
#[cfg(test)]
mod tests;
mod upstream;

pub use custody::{KeptKey, Scheme};
pub use upstream::{Origin, UpstreamChoice, parse_upstream};

/// The variables of an environment.
pub type Environment = BTreeMap<OsString, OsString>;

/// Changes to an environment: variables to set, or with `None` to remove.
pub type Changes = BTreeMap<OsString, Option<OsString>>;

/// Every provider whose calls are metered.
pub const PROVIDERS: [Provider; 2] = [Provider::OpenAi, Provider::Anthropic];

/// What becomes of provider keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// The child gets run keys; the real ones stay with the gateway.
    #[default]
    Custody,
    /// The child keeps its keys and sends them itself.
    Pass,
}

/// What the child is wired to.
#[derive(Debug)]
pub struct WiringPlan {
    /// The gateway, `http://127.0.0.1:PORT`.
    pub gateway: String,
    /// Authorizes every call by standing in the base URL.
    pub run_secret: Secret,
    /// What run keys are made of; random, and not the run secret, since a program may send its
    /// key elsewhere.
    pub run_key: Secret,
    /// The agent, one name or several joined by `.`.
    pub agent: String,
    /// The id of the run.
    pub run_id: String,
    /// The run's own delegate token, for a nested `fisc run`.
    pub token: Secret,
    /// What becomes of provider keys.
    pub keys: Keys,
    /// Upstreams from the command line, from [`parse_upstream`]; they win over inherited ones.
    pub upstreams: Vec<(Provider, String)>,
    /// Variables from `--env-file`, which join what the child inherits before it is wired.
    pub env_file: Vec<(String, String)>,
}

/// What to do so that the child's calls pass the gateway.
#[derive(Debug)]
pub struct Wiring {
    /// What to change in the environment that the child inherits.
    pub changes: Changes,
    /// Where the gateway forwards to, one for each of [`PROVIDERS`].
    pub upstreams: Vec<UpstreamChoice>,
    /// The keys in custody; see [`Wiring::credential`] for the one that is used.
    pub keys: Vec<KeptKey>,
    /// What the user should know, one sentence each; never a value that could be secret.
    pub warnings: Vec<String>,
}

/// An environment that cannot be wired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WiringError {
    /// A base URL is none.
    #[error("{place} is no base URL: {problem}")]
    BadUrl {
        /// The variable or option.
        place: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An upstream is given for a provider that is not known.
    #[error("{name:?} is no provider")]
    UnknownProvider {
        /// What was typed.
        name: String,
    },
    /// A key cannot be sent in a header.
    #[error("{variable} holds a character that no key can have")]
    BadKey {
        /// The variable.
        variable: &'static str,
    },
}

/// Wires a child: decides what to change in what it inherits.
///
/// # Errors
/// When a base URL or a key in the environment cannot be what it should.
pub fn wire(inherited: &Environment, plan: &WiringPlan) -> Result<Wiring, WiringError> {
    let mut changes = Changes::new();
    let mut environment = inherited.clone();
    for (name, value) in &plan.env_file {
        environment.insert(name.into(), value.into());
        changes.insert(name.into(), Some(value.into()));
    }
    let mut warnings = Vec::new();
    let upstreams = upstream::resolve(&environment, &plan.upstreams, &mut warnings)?;
    let keys = match plan.keys {
        Keys::Custody => custody::take(&environment, inherited, &plan.run_key, &mut changes)?,
        Keys::Pass => Vec::new(),
    };
    custody::warn_about_unused(&keys, &mut warnings);
    custody::warn_about_unmetered(&environment, &mut warnings);
    base_urls::point_to_gateway(plan, &mut changes);
    base_urls::bypass_proxies(&environment, &mut changes);
    let mut set = |name: &str, value: &str| {
        changes.insert(name.into(), Some(value.into()));
    };
    set("FISC_URL", &plan.gateway);
    set("FISC_RUN_ID", &plan.run_id);
    set("FISC_AGENT", &plan.agent);
    set("FISC_TOKEN", plan.token.expose());
    if keys.iter().any(|kept| kept.provider == Provider::OpenAi) {
        // The OpenAI Agents SDK sends traces to a fixed host with the same key, now a run key.
        set("OPENAI_AGENTS_DISABLE_TRACING", "1");
    }
    Ok(Wiring {
        changes,
        upstreams,
        keys,
        warnings,
    })
}

/// Returns the value of a variable that is set and not blank, as text.
fn text<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    let value = environment
        .get(std::ffi::OsStr::new(name))?
        .to_str()?
        .trim();
    (!value.is_empty()).then_some(value)
}

// === impl Wiring ===

impl Wiring {
    /// Returns what the gateway shows a provider: the key in custody, else whatever the child
    /// sends (its own key when keys are passed, or the login of a coding agent).
    pub fn credential(&self, provider: Provider) -> Credential {
        match custody::kept_for(&self.keys, provider) {
            None => Credential::Caller,
            Some(kept) => match kept.scheme {
                Scheme::Bearer => Credential::Bearer(kept.key.clone()),
                Scheme::ApiKey => Credential::ApiKey(kept.key.clone()),
            },
        }
    }
}

// === impl WiringError ===

impl WiringError {
    /// Suggests how to mend it.
    pub fn hint(&self) -> String {
        match self {
            WiringError::BadUrl { .. } => {
                "write it as https://host/v1, or give the upstream with --upstream PROVIDER=URL"
                    .to_owned()
            }
            WiringError::UnknownProvider { .. } => {
                let names = PROVIDERS.map(Provider::name).join(" or ");
                format!("write {names}, as in --upstream openai=https://host/v1")
            }
            WiringError::BadKey { variable } => {
                format!("set {variable} to the key as the provider shows it, on one line")
            }
        }
    }
}
