//! The gateway's own prefix of a path: `/r/<secret>/a/<agent>[/o/<operation>|/<operation>]/…`.
//!
//! Markers are compared byte for byte and nothing is decoded: a prefix spelt otherwise is none,
//! and what is left over then is unknown to the route table.

use crate::routes::is_api_root;

/// A path, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixed<'a> {
    pub(super) secret: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
    pub(super) operation: Option<&'a str>,
    pub(super) rest: &'a str,
}

/// Takes the prefix off a path.
pub(super) fn split(path: &str) -> Prefixed<'_> {
    let (secret, path) = marked(path, "/r/");
    let (agent, path) = marked(path, "/a/");
    let (operation, rest) = match agent {
        Some(_) => operation(path),
        None => (None, path),
    };
    let rest = if rest.is_empty() && secret.or(agent).is_some() {
        "/"
    } else {
        rest
    };
    Prefixed {
        secret,
        agent,
        operation,
        rest,
    }
}

/// Splits off `<marker><value>`; what follows begins with `/` or is empty.
fn marked<'a>(path: &'a str, marker: &str) -> (Option<&'a str>, &'a str) {
    match path.strip_prefix(marker) {
        Some(rest) => {
            let (value, rest) = segment(rest);
            (Some(value), rest)
        }
        None => (None, path),
    }
}

/// Finds the operation after an agent: `/o/<operation>`, or a segment before an API root.
fn operation(path: &str) -> (Option<&str>, &str) {
    if let (Some(operation), rest) = marked(path, "/o/") {
        return (Some(operation), rest);
    }
    let Some((first, rest)) = path.strip_prefix('/').map(segment) else {
        return (None, path);
    };
    let next = rest.strip_prefix('/').map_or("", |rest| segment(rest).0);
    let names_one = !first.is_empty() && !is_api_root(first);
    if names_one && (next.is_empty() || is_api_root(next)) {
        (Some(first), rest)
    } else {
        (None, path)
    }
}

fn segment(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}
