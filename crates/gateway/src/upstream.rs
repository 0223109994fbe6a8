//! Upstreams: where a provider's requests go, with which credential, over which connections.
//!
//! The origin of an upstream comes from the configuration alone; nothing in a request can
//! change it, and redirects are not followed. Credentials live in memory, marked sensitive; the
//! gateway's ledger and logs never see them. What is sent, and when a call is retried, is
//! `forward`'s business.

mod client;
pub(crate) mod headers;

use std::fmt;

use fisc_llm::CapField;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Uri};

use crate::proxy::identify::scrub;
use crate::routes::Provider;
use crate::secret::Secret;

pub(crate) use self::client::{Client, client, connector};

/// A provider's API, or a server that speaks it.
#[derive(Clone)]
pub struct Upstream {
    provider: Provider,
    scheme: Scheme,
    authority: Authority,
    /// The path before the API's own, without a slash at its end.
    prefix: String,
    /// Whether the prefix already ends where the version stands.
    versioned: bool,
    credential: Option<(HeaderName, HeaderValue)>,
    passes_credentials: bool,
    cap_field: CapField,
    include_usage: bool,
    default_tier: Option<String>,
}

/// What the gateway shows an upstream to be let in.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key, in the header that the provider's keys go in.
    ApiKey(Secret),
    /// A token that goes in `Authorization: Bearer` whatever the provider.
    Bearer(Secret),
    /// Whatever the caller sent, but never a key of this gateway.
    Caller,
    /// Nothing, as local servers want it.
    Nothing,
}

/// Why a text is no base URL of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It is no absolute URL.
    #[error("not a URL; write https://host, or with a path as in https://host/v1")]
    NotAUrl,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// It holds a user name or password.
    #[error("a URL may not hold a user or a password; use key_env or key_file")]
    UserInfo,
    /// It holds a query.
    #[error("a base URL may not hold a query")]
    Query,
    /// The credential holds a character that no header may hold.
    #[error("the key holds a character that no header may hold")]
    Credential,
}

// === impl Upstream ===

impl Upstream {
    /// Makes an upstream from its base URL, `https://host` or with a path.
    ///
    /// A base with a path is taken as SDKs of the provider take it: for OpenAI it is the whole
    /// API root (`https://host/openai/v1`), for Anthropic the version follows it. Both also
    /// accept the other form where it ends in `/v1`.
    ///
    /// # Errors
    /// When the URL or the credential cannot be used.
    pub fn new(
        provider: Provider,
        base: &str,
        credential: &Credential,
    ) -> Result<Upstream, UpstreamError> {
        let (base, _) = base.split_once('#').unwrap_or((base, ""));
        let parts = base
            .parse::<Uri>()
            .map_err(|_| UpstreamError::NotAUrl)?
            .into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(UpstreamError::NotAUrl);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(UpstreamError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(UpstreamError::UserInfo);
        }
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(UpstreamError::Query);
        }
        let prefix = path.path().trim_end_matches('/').to_owned();
        let versioned = match provider {
            Provider::OpenAi => !prefix.is_empty(),
            Provider::Anthropic => prefix.ends_with("/v1"),
        };
        // OpenAI's newer models refuse `max_tokens`, most other servers know nothing else.
        let own = provider == Provider::OpenAi && authority.host().ends_with(".openai.com");
        let cap_field = if own {
            CapField::MaxCompletionTokens
        } else {
            CapField::MaxTokens
        };
        Ok(Upstream {
            provider,
            scheme,
            authority,
            prefix,
            versioned,
            credential: credential
                .header(provider)
                .map_err(|_| UpstreamError::Credential)?,
            passes_credentials: matches!(credential, Credential::Caller),
            cap_field,
            include_usage: true,
            default_tier: None,
        })
    }

    /// Sets the member in which a cap on output is written where a request has none.
    #[must_use]
    pub fn with_cap_field(mut self, cap_field: CapField) -> Upstream {
        self.cap_field = cap_field;
        self
    }

    /// Sets whether a streaming request is made to ask for its usage. Servers that reject
    /// `stream_options` want it off; what they stream is then estimated.
    #[must_use]
    pub fn with_include_usage(mut self, include_usage: bool) -> Upstream {
        self.include_usage = include_usage;
        self
    }

    /// Sets the service tier at which calls are served that name none, as the provider's account
    /// has it. Unset, such calls are held at the dearest tier of their model.
    #[must_use]
    pub fn with_default_tier(mut self, tier: impl Into<String>) -> Upstream {
        self.default_tier = Some(tier.into());
        self
    }

    /// Returns whose API it is.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Returns the member in which a cap on output is written where a request has none.
    pub fn cap_field(&self) -> CapField {
        self.cap_field
    }

    /// Says whether a streaming request is made to ask for its usage.
    pub fn include_usage(&self) -> bool {
        self.include_usage
    }

    /// Returns the service tier of calls that name none; `None` when nobody said.
    pub fn default_tier(&self) -> Option<&str> {
        self.default_tier.as_deref()
    }

    /// Returns the URL of a route's path, which begins with `/v1` where it is a known one.
    ///
    /// # Errors
    /// When `path` cannot be in a URL.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, hyper::http::Error> {
        let unversioned = path
            .strip_prefix("/v1")
            .filter(|rest| rest.starts_with('/'));
        let path = unversioned.filter(|_| self.versioned).unwrap_or(path);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }

    /// Makes the headers of a request to this upstream from those of the caller's.
    pub(crate) fn headers(&self, caller: &HeaderMap) -> HeaderMap {
        let mut headers = headers::to_upstream(caller, self.passes_credentials);
        if let Some((name, value)) = &self.credential {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path may hold the run secret of an outer gateway.
        let base = format!(
            "{}://{}{}",
            self.scheme,
            self.authority,
            scrub(&self.prefix)
        );
        f.debug_struct("Upstream")
            .field("provider", &self.provider)
            .field("base", &base)
            .field("cap_field", &self.cap_field)
            .field("include_usage", &self.include_usage)
            .field("default_tier", &self.default_tier)
            .finish_non_exhaustive()
    }
}

// === impl Credential ===

impl Credential {
    fn header(
        &self,
        provider: Provider,
    ) -> Result<Option<(HeaderName, HeaderValue)>, hyper::header::InvalidHeaderValue> {
        let header = match (self, provider) {
            (Credential::Nothing | Credential::Caller, _) => return Ok(None),
            (Credential::ApiKey(key), Provider::Anthropic) => {
                (HeaderName::from_static("x-api-key"), key.header_value("")?)
            }
            (Credential::ApiKey(key), Provider::OpenAi) | (Credential::Bearer(key), _) => {
                (AUTHORIZATION, key.header_value("Bearer ")?)
            }
        };
        Ok(Some(header))
    }
}

#[cfg(test)]
mod tests;
