//! Virtual keys as callers present them: `sk-fisc-<id>.<secret>[~agent[~operation]]`.
//!
//! Looked for wherever SDKs put keys. A key of another shape is nobody's business here: under
//! `run` a client may carry one beside the run secret.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use super::names::percent_decode;

/// What every virtual key begins with.
pub(crate) const PREFIX: &str = "sk-fisc-";
/// Headers, besides `Authorization: Bearer`, in which SDKs send keys.
const HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];
/// The query parameter in which Gemini clients send keys.
const PARAMETER: &str = "key";

/// A virtual key, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) agent: Option<&'a str>,
    pub(super) operation: Option<&'a str>,
}

/// Finds the first virtual key: `Authorization`, the key headers in order, `?key=`.
pub(super) fn presented<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> Option<Cow<'a, str>> {
    let in_headers = in_headers(headers).find(|key| key.starts_with(PREFIX));
    in_headers.map(Cow::Borrowed).or_else(|| {
        let is_key = |(name, _): &(&str, &str)| is_key_parameter(name);
        let values = query?
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(is_key);
        let decoded = values.filter_map(|(_, value)| percent_decode(value));
        decoded.into_iter().find(|key| key.starts_with(PREFIX))
    })
}

/// Returns whatever stands where SDKs put keys in headers, of any shape.
pub(super) fn in_headers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
    let named = HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(utf8);
    bearer.chain(named).map(str::trim)
}

/// Takes a virtual key apart, or returns `None` when it has not the shape of one.
pub(super) fn parse(key: &str) -> Option<Presented<'_>> {
    let (id, rest) = key.strip_prefix(PREFIX)?.split_once('.')?;
    let mut parts = rest.splitn(3, '~');
    let secret = parts.next().filter(|secret| !secret.is_empty())?;
    Some(Presented {
        id,
        secret,
        agent: parts.next(),
        operation: parts.next(),
    })
}

/// Returns the query without parameters that carry keys, `None` when nothing is left.
pub(super) fn without_keys(query: &str) -> Option<Cow<'_, str>> {
    let name = |pair: &str| is_key_parameter(pair.split('=').next().unwrap_or_default());
    if !query.split('&').any(name) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !name(pair)).collect();
    if kept.is_empty() {
        None
    } else {
        Some(Cow::Owned(kept.join("&")))
    }
}

/// Says whether a query parameter's name, however encoded, is that of a key.
pub(super) fn is_key_parameter(name: &str) -> bool {
    percent_decode(name).is_some_and(|name| name.eq_ignore_ascii_case(PARAMETER))
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, key) = utf8(value)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

fn utf8(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}
