//! Finds the members that bill, and refuses them twice or in disguise.
//!
//! Parsers differ in which of two equal names counts, and some (Go's) take `Model` or
//! `max_toKens` with a Kelvin sign for the plain name. Whoever evaluates one and forwards the
//! other is cheated, so neither is let through.

use super::FactsError;
use crate::json::Text;

/// The members of one object that are looked for.
pub(super) struct Names {
    list: &'static [&'static str],
    place: &'static str,
    /// A bit for each name that was met.
    met: u64,
}

impl Names {
    /// Looks for at most 64 names, in `place` as a person would say it.
    pub(super) fn new(names: &'static [&'static str], place: &'static str) -> Names {
        debug_assert!(names.len() <= 64, "one bit a name");
        Names {
            list: names,
            place,
            met: 0,
        }
    }

    /// Returns the name if it is looked for, or `""`.
    pub(super) fn meet(&mut self, key: &Text<'_>) -> Result<&'static str, FactsError> {
        let exact = |name: &&str| !key.is_escaped() && name.as_bytes() == key.raw();
        if let Some(index) = self.list.iter().position(exact) {
            let bit = 1 << index;
            if self.met & bit != 0 {
                return Err(self.duplicate(self.list[index]));
            }
            self.met |= bit;
            return Ok(self.list[index]);
        }
        let Some(taken_for) = folded(key) else {
            return Ok("");
        };
        match self.list.iter().find(|name| ***name == taken_for) {
            Some(name) => Err(self.disguised(name)),
            None => Ok(""),
        }
    }

    fn duplicate(&self, name: &'static str) -> FactsError {
        let place = self.place;
        FactsError::Duplicate { name, place }
    }

    fn disguised(&self, name: &'static str) -> FactsError {
        let place = self.place;
        FactsError::Disguised { name, place }
    }
}

/// Returns the name that a lenient parser takes a key for, where that is not what is written.
fn folded(key: &Text<'_>) -> Option<String> {
    let could_fold = |byte: &u8| byte.is_ascii_uppercase() || !byte.is_ascii();
    if !key.is_escaped() && !key.raw().iter().any(could_fold) {
        return None;
    }
    Some(key.decode()?.chars().map(fold).collect())
}

/// Folds a character to the lower case letter that a lenient parser takes it for.
fn fold(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}
