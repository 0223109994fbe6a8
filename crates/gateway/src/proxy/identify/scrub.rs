//! Paths as they may be logged: without the run secret and without keys.

use super::key::is_key_parameter;
use super::names::percent_decode;

const HIDDEN: &str = "***";

/// Replaces whatever authorizes in a path and its query, also where it is misspelt so that it
/// would authorize nobody.
pub(crate) fn scrub(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut after_marker = false;
    let segments = path.split('/').map(|segment| {
        let shown = if after_marker || holds_key(segment) {
            HIDDEN
        } else {
            segment
        };
        let name = percent_decode(segment).unwrap_or_default();
        // An empty segment between marker and secret (`/r//…`) does not end the suspicion.
        after_marker = name.eq_ignore_ascii_case("r") || (after_marker && segment.is_empty());
        if segment.is_empty() { segment } else { shown }
    });
    let mut text = segments.collect::<Vec<_>>().join("/");
    if let Some(query) = query {
        let pairs = query.split('&').map(scrub_pair).collect::<Vec<_>>();
        text = format!("{text}?{}", pairs.join("&"));
    }
    text
}

fn scrub_pair(pair: &str) -> String {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    if is_key_parameter(name) || holds_key(value) {
        format!("{name}={HIDDEN}")
    } else if holds_key(name) {
        HIDDEN.to_owned()
    } else {
        pair.to_owned()
    }
}

fn holds_key(text: &str) -> bool {
    percent_decode(text).is_none_or(|text| text.contains("sk-"))
}
