//! The variables from which clients take their base URL, and the proxy settings beside them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

use fisc_gateway::Provider;

use super::{Changes, Environment, WiringPlan};

/// What a client appends to its base URL by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The base URL holds `/v1`; the client appends `/chat/completions`.
    Versioned,
    /// The base URL has no `/v1`; the client appends `/v1/…`.
    Root,
}

/// A variable that holds a base URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaseUrl {
    pub(super) variable: &'static str,
    pub(super) provider: Provider,
    pub(super) form: Form,
}

/// Every base-URL variable that a known client of a metered provider reads. Where several are
/// inherited, the first of a provider wins.
pub(super) const BASE_URLS: [BaseUrl; 7] = [
    openai("OPENAI_BASE_URL", Form::Versioned), // the SDKs and most frameworks
    openai("OPENAI_API_BASE", Form::Versioned), // LlamaIndex, LangChain, LiteLLM
    openai("OPENAI_HOST", Form::Root),          // goose
    anthropic("ANTHROPIC_BASE_URL"),            // the SDKs, Claude Code
    anthropic("ANTHROPIC_API_BASE"),            // LiteLLM
    anthropic("ANTHROPIC_API_URL"),             // LangChain
    anthropic("ANTHROPIC_HOST"),                // goose
];

/// What must be reached without a proxy.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];

/// Sets every base-URL variable to the gateway, with the run secret and the agent in the path.
pub(super) fn point_to_gateway(plan: &WiringPlan, changes: &mut Changes) {
    let gateway = plan.gateway.trim_end_matches('/');
    let secret = plan.run_secret.expose();
    let root = format!("{gateway}/r/{secret}/a/{}", encoded(&plan.agent));
    for BaseUrl { variable, form, .. } in BASE_URLS {
        let url = match form {
            Form::Versioned => format!("{root}/v1"),
            Form::Root => root.clone(),
        };
        changes.insert(variable.into(), Some(url.into()));
    }
}

/// Adds loopback to the hosts that are reached without a proxy. Clients differ in which
/// spelling they prefer, so both hold everything.
pub(super) fn bypass_proxies(environment: &Environment, changes: &mut Changes) {
    let value_of = |name: &str| environment.get(OsStr::new(name)).filter(|v| !v.is_empty());
    for (name, other) in [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")] {
        let before = value_of(name)
            .or_else(|| value_of(other))
            .cloned()
            .unwrap_or_default();
        changes.insert(name.into(), Some(with_loopback(before)));
    }
}

fn with_loopback(mut hosts: OsString) -> OsString {
    let known = hosts.to_string_lossy().into_owned();
    let known: Vec<&str> = known.split(',').map(str::trim).collect();
    if known.contains(&"*") {
        return hosts;
    }
    for host in LOOPBACK.iter().filter(|host| !known.contains(host)) {
        if !hosts.is_empty() {
            hosts.push(",");
        }
        hosts.push(host);
    }
    hosts
}

/// Escapes what may not stand in a path as it is; names may hold letters of any script.
fn encoded(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:+".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a String takes everything");
        }
    }
    path
}

const fn openai(variable: &'static str, form: Form) -> BaseUrl {
    BaseUrl {
        variable,
        provider: Provider::OpenAi,
        form,
    }
}

const fn anthropic(variable: &'static str) -> BaseUrl {
    BaseUrl {
        variable,
        provider: Provider::Anthropic,
        form: Form::Root,
    }
}
