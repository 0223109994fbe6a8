//! Names that callers give: which of several counts, and whether it can be one.
//!
//! A header goes before the path, the path before a key's suffix. Names stand below the budget
//! that the secret authorizes and hold neither `/` nor `..`, so they can only narrow.

use std::borrow::Cow;

use fisc_core::{MAX_NAME_BYTES, check_name};
use hyper::HeaderMap;

use super::IdentifyError;

const AGENT: &str = "fisc-agent";
const OPERATION: &str = "fisc-op";
const TASK: &str = "fisc-task";

/// Returns the agent's names, outermost first: `team.researcher` is two.
pub(super) fn agent(
    headers: &HeaderMap,
    path: Option<&str>,
    key: Option<&str>,
) -> Result<Vec<String>, IdentifyError> {
    let Some(name) = first("the agent's name", headers, AGENT, path, key)? else {
        return Ok(Vec::new());
    };
    name.split('.')
        .map(|name| checked("the agent's name", name))
        .collect()
}

/// Returns the operation's name.
pub(super) fn operation(
    headers: &HeaderMap,
    path: Option<&str>,
    key: Option<&str>,
) -> Result<Option<String>, IdentifyError> {
    let name = first("the operation's name", headers, OPERATION, path, key)?;
    name.map(|name| checked("the operation's name", &name))
        .transpose()
}

/// Returns the task's name.
pub(super) fn task(headers: &HeaderMap) -> Result<Option<String>, IdentifyError> {
    let name = first("the task's name", headers, TASK, None, None)?;
    name.map(|name| checked("the task's name", &name))
        .transpose()
}

/// Returns whether a header is set to true; it may be left out.
pub(super) fn flag(headers: &HeaderMap, header: &'static str) -> Result<bool, IdentifyError> {
    let mut values = headers.get_all(header).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(IdentifyError::Repeated(header));
    }
    match value.map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"false" | b"0") => Ok(false),
        Some(b"true" | b"1") => Ok(true),
        Some(_) => Err(IdentifyError::Flag(header)),
    }
}

/// Undoes percent-encoding once; `None` when it is malformed or not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return None;
        };
        bytes.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn first<'a>(
    place: &'static str,
    headers: &'a HeaderMap,
    header: &'static str,
    path: Option<&'a str>,
    key: Option<&'a str>,
) -> Result<Option<Cow<'a, str>>, IdentifyError> {
    let mut values = headers.get_all(header).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(IdentifyError::Repeated(header));
    }
    let value = value.map(|value| std::str::from_utf8(value.as_bytes()));
    let value = value
        .transpose()
        .map_err(|_| IdentifyError::Encoding(place))?;
    let Some(text) = value.map(str::trim).or(path).or(key) else {
        return Ok(None);
    };
    percent_decode(text)
        .map(Some)
        .ok_or(IdentifyError::Encoding(place))
}

fn checked(place: &'static str, name: &str) -> Result<String, IdentifyError> {
    let text = || name.chars().take(MAX_NAME_BYTES).collect();
    check_name(name).map_err(|source| IdentifyError::Name {
        place,
        text: text(),
        source,
    })?;
    Ok(name.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
