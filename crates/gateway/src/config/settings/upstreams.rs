//! The upstreams as configured, with their credentials read from variables and files.

use super::Context;
use crate::config::{
    AuthConfig, CapFieldConfig, ConfigError, Text, UpstreamConfig, UpstreamsConfig,
};
use crate::routes::Provider;
use crate::upstream::{Credential, Upstream, UpstreamError};

use fisc_llm::CapField;

/// Resolves the upstreams; at least one is needed.
pub(super) fn resolve(
    context: &Context<'_>,
    config: &UpstreamsConfig,
) -> Result<Vec<Upstream>, ConfigError> {
    let mut upstreams = Vec::with_capacity(2);
    let configured = [
        (Provider::OpenAi, &config.openai),
        (Provider::Anthropic, &config.anthropic),
    ];
    for (provider, config) in configured {
        if let Some(config) = config {
            upstreams.push(upstream(context, provider, config)?);
        }
    }
    if upstreams.is_empty() {
        let error = context.missing("no upstream, so no call could go anywhere");
        return Err(error.with_hint("add [upstream.openai] with url = \"https://api.openai.com\""));
    }
    Ok(upstreams)
}

fn upstream(
    context: &Context<'_>,
    provider: Provider,
    config: &UpstreamConfig,
) -> Result<Upstream, ConfigError> {
    let named = (config.key_env.as_ref(), config.key_file.as_ref());
    let key = context.secret(named, ["key_env", "key_file"])?;
    let credential = match (key, config.auth) {
        (Some(key), AuthConfig::ApiKey) => Credential::ApiKey(key),
        (Some(key), AuthConfig::Bearer) => Credential::Bearer(key),
        (None, _) => Credential::Nothing,
    };
    let upstream = Upstream::new(provider, config.url.get_ref(), &credential);
    let upstream = upstream.map_err(|why| {
        // A URL with a password in it is not shown.
        let span = config.url.span();
        let hidden = why == UpstreamError::UserInfo;
        context.error(
            if hidden { span.start..span.start } else { span },
            why.to_string(),
        )
    })?;
    let mut upstream = upstream.with_include_usage(config.include_usage);
    if let Some(tier) = &config.default_tier {
        upstream = upstream.with_default_tier(default_tier(context, tier)?);
    }
    Ok(match config.cap_field {
        None => upstream,
        Some(CapFieldConfig::MaxTokens) => upstream.with_cap_field(CapField::MaxTokens),
        Some(CapFieldConfig::MaxCompletionTokens) => {
            upstream.with_cap_field(CapField::MaxCompletionTokens)
        }
    })
}

fn default_tier(context: &Context<'_>, text: &Text) -> Result<String, ConfigError> {
    match text.get_ref().as_str() {
        "" | "auto" => {
            let error = context.error(text.span(), "not the tier that calls are served at");
            Err(error.with_hint("write what the provider's account says: default, flex, priority"))
        }
        tier => Ok(tier.to_owned()),
    }
}
