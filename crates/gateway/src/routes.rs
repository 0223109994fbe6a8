//! The one table of paths that the gateway serves; whatever is not in it is not served.
//!
//! Paths are compared byte for byte: nothing is decoded, folded or normalised, because what we
//! judge must be what the upstream reads. This module decides neither who calls (`identify`)
//! nor whether a budget forbids an unmetered path.

use std::fmt;

use fisc_llm::Wire;
use hyper::{HeaderMap, Method};

/// Whose API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI, and servers that speak its API.
    OpenAi,
    /// Anthropic, and servers that speak its API.
    Anthropic,
}

/// What the gateway does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteKind {
    /// It costs something: hold, forward, meter, settle.
    Metered(Wire),
    /// It costs nothing at the provider: forward.
    Free,
    /// A client asks whether anybody is here: answer, do not forward.
    Probe,
    /// Not known to be free or metered: refuse where tokens or cost are limited, else pass it
    /// and count it.
    Unmetered,
    /// Spelt so that the upstream may read another path than we do: always refuse.
    Ambiguous,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Whose API it is.
    pub(crate) provider: Provider,
    /// What is done with it.
    pub(crate) kind: RouteKind,
    /// The path at the upstream, from `/v1` on where it is a known one, with the query.
    pub(crate) upstream_path: String,
}

struct Entry {
    method: Method,
    /// The path with `/v1`; clients whose base URL lacks it send the same without.
    path: &'static str,
    provider: Provider,
    kind: RouteKind,
}

const TABLE: [Entry; 3] = [
    Entry {
        method: Method::POST,
        path: "/v1/chat/completions",
        provider: Provider::OpenAi,
        kind: RouteKind::Metered(Wire::OpenAiChat),
    },
    Entry {
        method: Method::POST,
        path: "/v1/messages",
        provider: Provider::Anthropic,
        kind: RouteKind::Metered(Wire::AnthropicMessages),
    },
    Entry {
        method: Method::POST,
        path: "/v1/messages/count_tokens",
        provider: Provider::Anthropic,
        kind: RouteKind::Free,
    },
];

const VERSION: &str = "/v1";
const MODELS: &str = "/v1/models";
const MODEL_ID_BYTES_MAX: usize = 256;

/// First segments of API paths: what follows a name in the URL is the API from here on.
const API_ROOTS: [&str; 20] = [
    "api",
    "assistants",
    "audio",
    "batches",
    "chat",
    "completions",
    "embeddings",
    "files",
    "fine_tuning",
    "images",
    "messages",
    "models",
    "moderations",
    "openai",
    "organizations",
    "realtime",
    "responses",
    "v1",
    "v1beta",
    "v2",
];

/// Finds the route of a request whose path is free of the gateway's own prefix.
pub(crate) fn route(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Route {
    let provider = caller_provider(path, headers);
    let found = |provider, kind, path: String| Route {
        provider,
        kind,
        upstream_path: with_query(path, query),
    };
    if path == "/" && (method == Method::HEAD || method == Method::GET) {
        return found(provider, RouteKind::Probe, path.to_owned());
    }
    let canonical = canonical(path);
    let entry = |entry: &&Entry| entry.method == *method && entry.path == canonical;
    if let Some(entry) = TABLE.iter().find(entry) {
        return found(entry.provider, entry.kind, canonical);
    }
    if method == Method::GET && is_models(&canonical) {
        return found(models_provider(headers), RouteKind::Free, canonical);
    }
    let kind = if is_plain(path) {
        RouteKind::Unmetered
    } else {
        RouteKind::Ambiguous
    };
    found(provider, kind, path.to_owned())
}

/// Guesses whose API a caller speaks, for answers to requests that have no route (yet).
pub(crate) fn caller_provider(path: &str, headers: &HeaderMap) -> Provider {
    let anthropic = headers.contains_key("anthropic-version")
        || headers.contains_key("anthropic-beta")
        || headers.contains_key("x-api-key")
        || path.split('/').any(|segment| segment == "messages");
    if anthropic {
        Provider::Anthropic
    } else {
        Provider::OpenAi
    }
}

/// Says whether an API path may begin with this segment.
pub(crate) fn is_api_root(segment: &str) -> bool {
    API_ROOTS.contains(&segment)
}

// === impl Provider ===

impl Provider {
    /// Returns the provider's name as in the configuration and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Anthropic => "anthropic",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn with_query(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// Adds the version that some base URLs leave out; `/v1/v1/…` stays unknown.
fn canonical(path: &str) -> String {
    let has_version = path
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.starts_with('/'));
    if has_version {
        path.to_owned()
    } else {
        format!("{VERSION}{path}")
    }
}

fn models_provider(headers: &HeaderMap) -> Provider {
    if headers.contains_key("anthropic-version") {
        Provider::Anthropic
    } else {
        Provider::OpenAi
    }
}

fn is_models(path: &str) -> bool {
    match path.strip_prefix(MODELS) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('/').is_some_and(is_model_id),
        None => false,
    }
}

fn is_model_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-@".contains(&byte);
    (1..=MODEL_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(plain)
        && id.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// Says whether every server reads this path as the same segments, and none reads it as one of
/// the table's.
fn is_plain(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-@~".contains(&byte);
    let dots = |segment: &str| segment.bytes().all(|byte| byte == b'.');
    let trimmed = segments.strip_suffix('/').unwrap_or(segments);
    let dotted = !trimmed.is_empty() && trimmed.split('/').any(dots);
    if !path.bytes().all(plain) || dotted {
        return false;
    }
    let folded = canonical(&path.to_ascii_lowercase());
    let folded = folded.trim_end_matches(['/', '.']);
    let looks_known = TABLE.iter().any(|entry| entry.path == folded) || folded == MODELS;
    !looks_known || canonical(path) == folded
}

#[cfg(test)]
mod tests;
