//! Which headers pass the gateway, in either direction.
//!
//! Hop-by-hop headers end here, those that a `Connection` header names included; credentials,
//! cookies and the gateway's own `fisc-*` headers are never passed on. Everything else is
//! nobody's business and passes untouched.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HeaderName, HeaderValue};

/// Headers of one connection.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers in which callers send keys.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// Headers of a request that are about the caller and us, or are written anew; the last four
/// would let an upstream read another path or method than we did.
const REQUEST_ONLY: [&str; 10] = [
    "host",
    "content-length",
    "expect",
    "accept-encoding",
    "cookie",
    "origin",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers of a response that are about the upstream and us.
const RESPONSE_ONLY: [&str; 3] = ["set-cookie", "alt-svc", "strict-transport-security"];

/// The header in which Anthropic's clients name what they take part in, separated by commas.
const BETA: &str = "anthropic-beta";

const OWN_PREFIX: &str = "fisc-";
const CORS_PREFIX: &str = "access-control-";

/// Returns the headers to send upstream; the credential is still to be added. With
/// `pass_credentials` the caller's own pass, but never a key of this gateway.
pub(crate) fn to_upstream(caller: &HeaderMap, pass_credentials: bool) -> HeaderMap {
    let named = named_by_connection(caller);
    let mut headers = HeaderMap::with_capacity(caller.len() + 2);
    for (name, value) in caller {
        let text = name.as_str();
        let credential = CREDENTIALS.contains(&text);
        let dropped = is_hop_by_hop(name, &named)
            || REQUEST_ONLY.contains(&text)
            || text.starts_with(OWN_PREFIX)
            || (credential && !(pass_credentials && is_foreign(value)));
        if !dropped {
            let mut value = value.clone();
            value.set_sensitive(credential);
            headers.append(name.clone(), value);
        }
    }
    // What is metered must be readable.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// Adds a beta to those that the caller named.
pub(crate) fn add_beta(headers: &mut HeaderMap, beta: &str) {
    let named = headers.get(BETA).and_then(|value| value.to_str().ok());
    let all = named.map_or_else(|| beta.to_owned(), |named| format!("{named},{beta}"));
    if let Ok(value) = HeaderValue::try_from(all) {
        headers.insert(BETA, value);
    }
}

/// Removes from an upstream's response headers those that are not for the client.
/// `content-length` stays: whoever changes the body removes it.
pub(crate) fn to_client(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let dropped = |name: &HeaderName| {
        let text = name.as_str();
        is_hop_by_hop(name, &named)
            || RESPONSE_ONLY.contains(&text)
            || CREDENTIALS.contains(&text)
            || text.starts_with(OWN_PREFIX)
            || text.starts_with(CORS_PREFIX)
    };
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| dropped(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName, named: &[String]) -> bool {
    HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|other| other == name.as_str())
}

fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

fn is_foreign(value: &HeaderValue) -> bool {
    let needle = crate::proxy::identify::KEY_PREFIX.as_bytes();
    !value
        .as_bytes()
        .windows(needle.len())
        .any(|window| window == needle)
}
