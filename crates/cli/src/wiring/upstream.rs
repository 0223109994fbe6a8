//! Where the gateway forwards to: what the user said, else what the child would have used.

use fisc_gateway::Provider;

use super::base_urls::{BASE_URLS, Form};
use super::{Environment, PROVIDERS, WiringError, text};

/// The segment that stands before every path of both wires.
const VERSION: &str = "/v1";

/// Where the calls of one provider's wire go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamChoice {
    /// The provider.
    pub provider: Provider,
    /// The base URL as [`fisc_gateway::Upstream::new`] takes it, without a slash at the end.
    pub base: String,
    /// Who said so.
    pub origin: Origin,
}

/// Who chose an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is the provider's own.
    Default,
    /// This variable of the environment.
    Inherited(&'static str),
    /// The command line.
    Option,
}

/// Reads `PROVIDER=URL`. A URL of a host alone gets `/v1`.
///
/// # Errors
/// When the provider is not known or the URL is none.
pub fn parse_upstream(text: &str) -> Result<(Provider, String), WiringError> {
    let (name, url) = text.split_once('=').unwrap_or((text, ""));
    let provider = PROVIDERS
        .into_iter()
        .find(|provider| provider.name() == name)
        .ok_or_else(|| WiringError::UnknownProvider {
            name: name.to_owned(),
        })?;
    let place = "--upstream".to_owned();
    let url = check(url).map_err(|problem| WiringError::BadUrl { place, problem })?;
    let (_, address) = url.split_once("://").unwrap_or_default();
    let form = if address.contains('/') && provider == Provider::OpenAi {
        Form::Versioned
    } else {
        Form::Root
    };
    Ok((provider, base(url, form)))
}

/// Chooses the upstream of every provider.
pub(super) fn resolve(
    environment: &Environment,
    options: &[(Provider, String)],
    warnings: &mut Vec<String>,
) -> Result<Vec<UpstreamChoice>, WiringError> {
    let mut upstreams = Vec::new();
    for provider in PROVIDERS {
        let option = options.iter().rev().find(|(of, _)| *of == provider);
        let upstream = match option {
            Some((_, base)) => UpstreamChoice {
                provider,
                base: base.clone(),
                origin: Origin::Option,
            },
            None => inherited(environment, provider, warnings)?.unwrap_or_else(|| UpstreamChoice {
                provider,
                base: default_base(provider).to_owned(),
                origin: Origin::Default,
            }),
        };
        upstreams.push(upstream);
    }
    Ok(upstreams)
}

/// Returns the first inherited upstream; the others must agree, or the user is told.
fn inherited(
    environment: &Environment,
    provider: Provider,
    warnings: &mut Vec<String>,
) -> Result<Option<UpstreamChoice>, WiringError> {
    let mut chosen: Option<UpstreamChoice> = None;
    for entry in BASE_URLS.iter().filter(|entry| entry.provider == provider) {
        let Some(url) = text(environment, entry.variable) else {
            continue;
        };
        let place = entry.variable.to_owned();
        let url = check(url).map_err(|problem| WiringError::BadUrl { place, problem })?;
        let base = base(url, entry.form);
        match &chosen {
            None => {
                let origin = Origin::Inherited(entry.variable);
                chosen = Some(UpstreamChoice {
                    provider,
                    base,
                    origin,
                });
            }
            Some(UpstreamChoice {
                base: first,
                origin: Origin::Inherited(variable),
                ..
            }) => {
                if *first != base {
                    let (name, other) = (provider.name(), entry.variable);
                    warnings.push(format!(
                        "{variable} and {other} differ; calls go to {variable} \
                         (choose with --upstream {name}=URL)"
                    ));
                }
            }
            Some(_) => unreachable!("only variables are chosen here"),
        }
    }
    Ok(chosen)
}

/// Checks what can be checked without resolving a name; returns the URL without a slash at the
/// end. Whatever it says must not quote the URL, which may hold a password.
fn check(url: &str) -> Result<&str, &'static str> {
    let address = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(address) = address else {
        return Err("it does not start with https:// or http://");
    };
    if address.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it holds white space");
    }
    if address.contains(['?', '#']) {
        return Err("it holds a query, which a base URL cannot");
    }
    let host = address.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err("it holds a user or a password");
    }
    if host.is_empty() || host.starts_with(':') {
        return Err("it names no host");
    }
    Ok(url.trim_end_matches('/'))
}

fn base(url: &str, form: Form) -> String {
    match form {
        Form::Root if !url.ends_with(VERSION) => format!("{url}{VERSION}"),
        Form::Root | Form::Versioned => url.to_owned(),
    }
}

const fn default_base(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => "https://api.openai.com/v1",
        Provider::Anthropic => "https://api.anthropic.com/v1",
    }
}
