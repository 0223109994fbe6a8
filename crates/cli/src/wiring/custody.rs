//! Provider keys stay here: the child gets run keys in their look.
//!
//! A program that bypasses the gateway then fails at the provider instead of spending. A key
//! that was not set is never set, for it would override the login of a coding agent.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use fisc_gateway::{Provider, Secret};

use super::{Changes, Environment, PROVIDERS, WiringError};

/// The shortest key whose copies inside other variables are recognized; shorter ones only where
/// they are the whole value.
const COPY_BYTES_MIN: usize = 16;

/// How a key is sent to its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    ApiKey,
}

/// A real key and the run key that the child has in its place.
#[derive(Debug)]
pub struct KeptKey {
    /// Whose key it is.
    pub provider: Provider,
    /// The variable that held it.
    pub variable: &'static str,
    /// How the provider expects it.
    pub scheme: Scheme,
    /// What the child sends.
    pub run_key: Secret,
    /// What the provider must get.
    pub key: Secret,
}

struct KeyVariable {
    variable: &'static str,
    provider: Provider,
    scheme: Scheme,
    /// What run keys in its place begin with, as some clients check how a key looks. All hold
    /// `sk-fisc-`, by which the gateway knows what it must never forward.
    look: &'static str,
}

/// Of several that are set, the first of a provider is the one that its calls are made with:
/// coding agents prefer a token to a key.
const KEYS: [KeyVariable; 6] = [
    key(
        "OPENAI_API_KEY",
        Provider::OpenAi,
        Scheme::Bearer,
        "sk-fisc-",
    ),
    key(
        "CODEX_API_KEY",
        Provider::OpenAi,
        Scheme::Bearer,
        "sk-fisc-codex-",
    ),
    key(
        "OPENAI_ADMIN_KEY",
        Provider::OpenAi,
        Scheme::Bearer,
        "sk-fisc-admin-",
    ),
    key(
        "ANTHROPIC_AUTH_TOKEN",
        Provider::Anthropic,
        Scheme::Bearer,
        "sk-ant-sk-fisc-auth-",
    ),
    key(
        "ANTHROPIC_API_KEY",
        Provider::Anthropic,
        Scheme::ApiKey,
        "sk-ant-sk-fisc-",
    ),
    key(
        "CLAUDE_CODE_OAUTH_TOKEN",
        Provider::Anthropic,
        Scheme::Bearer,
        "sk-ant-oat01-sk-fisc-",
    ),
];

/// Keys of providers that are not metered: their calls pass by every budget.
const UNMETERED: [&str; 10] = [
    "AZURE_OPENAI_API_KEY",
    "COHERE_API_KEY",
    "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY",
    "TOGETHER_API_KEY",
    "XAI_API_KEY",
];

/// A text to find in other variables, and what to put in its place.
struct Exchange {
    key: Vec<u8>,
    run_key: Vec<u8>,
}

/// Exchanges every provider key that is set in `environment`, and every copy of it under
/// another name; copies of what the file replaced in `inherited` too.
pub(super) fn take(
    environment: &Environment,
    inherited: &Environment,
    run_key: &Secret,
    changes: &mut Changes,
) -> Result<Vec<KeptKey>, WiringError> {
    let mut keys = Vec::new();
    let mut exchanges = Vec::new();
    for KeyVariable {
        variable,
        provider,
        scheme,
        look,
    } in KEYS
    {
        let Some(value) = environment.get(OsStr::new(variable)) else {
            continue;
        };
        let key = value
            .to_str()
            .ok_or(WiringError::BadKey { variable })?
            .trim();
        if key.is_empty() {
            continue;
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WiringError::BadKey { variable });
        }
        let run_key = Secret::new(format!("{look}{}", run_key.expose()));
        let key = Secret::new(key);
        let replaced = inherited
            .get(OsStr::new(variable))
            .map(|value| value.as_bytes());
        for copied in [Some(key.expose().as_bytes()), replaced]
            .into_iter()
            .flatten()
        {
            let key = copied.trim_ascii().to_owned();
            exchanges.push(Exchange {
                key,
                run_key: run_key.expose().into(),
            });
        }
        changes.insert(variable.into(), Some(run_key.expose().into()));
        keys.push(KeptKey {
            provider,
            variable,
            scheme,
            run_key,
            key,
        });
    }
    exchanges.retain(|exchange| !exchange.key.is_empty());
    exchange_copies(environment, &exchanges, changes);
    Ok(keys)
}

/// Returns the key that a provider's calls are made with.
pub(super) fn kept_for(keys: &[KeptKey], provider: Provider) -> Option<&KeptKey> {
    keys.iter().find(|kept| kept.provider == provider)
}

/// Says which keys of a provider are in custody but not used.
pub(super) fn warn_about_unused(keys: &[KeptKey], warnings: &mut Vec<String>) {
    for provider in PROVIDERS {
        let Some(used) = kept_for(keys, provider).map(|kept| kept.variable) else {
            continue;
        };
        for unused in keys.iter().filter(|kept| kept.provider == provider).skip(1) {
            let unused = unused.variable;
            warnings.push(format!(
                "{used} and {unused} are set; calls to {provider} are made with {used} \
                 (unset it, or use --keys pass)"
            ));
        }
    }
}

/// Says which providers' keys the child keeps although nobody meters their calls.
pub(super) fn warn_about_unmetered(environment: &Environment, warnings: &mut Vec<String>) {
    let is_set = |name: &&str| {
        environment
            .get(OsStr::new(name))
            .is_some_and(|v| !v.is_empty())
    };
    let found: Vec<&str> = UNMETERED.into_iter().filter(is_set).collect();
    if !found.is_empty() {
        warnings.push(format!(
            "calls with {} are not metered and pass by the budget (unset it to be sure)",
            found.join(", ")
        ));
    }
}

/// Finds keys that are also in other variables, such as `Authorization` in custom headers.
fn exchange_copies(environment: &Environment, exchanges: &[Exchange], changes: &mut Changes) {
    let is_key = |name: &OsStr| KEYS.iter().any(|known| name == known.variable);
    for (name, value) in environment.iter().filter(|(name, _)| !is_key(name)) {
        let mut changed = value.as_bytes().to_owned();
        for Exchange { key, run_key } in exchanges {
            if changed.trim_ascii() == key {
                changed.clone_from(run_key);
            } else if key.len() >= COPY_BYTES_MIN {
                changed = replaced(&changed, key, run_key);
            }
        }
        if changed != value.as_bytes() {
            changes.insert(name.clone(), Some(OsString::from_vec(changed)));
        }
    }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut result, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}

const fn key(
    variable: &'static str,
    provider: Provider,
    scheme: Scheme,
    look: &'static str,
) -> KeyVariable {
    KeyVariable {
        variable,
        provider,
        scheme,
        look,
    }
}
