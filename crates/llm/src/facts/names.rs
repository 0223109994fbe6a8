//! Finds the members that bill, and refuses them twice or in disguise.
//!
//! Parsers differ in which of two equal names counts, and some (Go's) take `Model` or
//! `max_toKens` with a Kelvin sign for the plain name. Whoever evaluates one and forwards the
//! other is cheated, so neither is let through.

use std::borrow::Cow;

use super::FactsError;
use crate::json::Text;

/// The members of one object that are looked for.
pub(super) struct Names {
    names: &'static [&'static str],
    place: &'static str,
    /// A bit for each name that was met.
    met: u64,
}

impl Names {
    /// Looks for at most 64 names, in `place` as a person would say it.
    pub(super) fn new(names: &'static [&'static str], place: &'static str) -> Names {
        debug_assert!(names.len() <= 64, "one bit a name");
        Names { names, place, met: 0 }
    }

    /// Returns the name if it is looked for, or `""`.
    pub(super) fn meet(&mut self, key: &Text<'_>) -> Result<&'static str, FactsError> {
        let exact = |name: &&str| !key.is_escaped() && name.as_bytes() == key.raw();
        if let Some(index) = self.names.iter().position(exact) {
            let bit = 1 << index;
            if self.met & bit != 0 {
                return Err(self.duplicate(self.names[index]));
            }
            self.met |= bit;
            return Ok(self.names[index]);
        }
        match self.names.iter().find(|name| is_disguise(key, name)) {
            Some(name) => Err(FactsError::Disguised { name, place: self.place }),
            None => Ok(""),
        }
    }

    fn duplicate(&self, name: &'static str) -> FactsError {
        FactsError::Duplicate { name, place: self.place }
    }
}

/// Says whether some parser could take the key for the name, which it is not as written.
fn is_disguise(key: &Text<'_>, name: &str) -> bool {
    let could_fold = |byte: &u8| byte.is_ascii_uppercase() || !byte.is_ascii();
    if !key.is_escaped() && !key.raw().iter().any(could_fold) {
        return false;
    }
    let decoded = key.decode().unwrap_or(Cow::Borrowed(""));
    decoded.chars().map(folded).eq(name.chars())
}

/// Folds a character to the lower case letter that a lenient parser takes it for.
fn folded(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}
