//! Edits of a text by the place: a span is replaced, or something is put in, and every other
//! byte stays as it is.
//!
//! Bodies are never written anew: key order, the spelling of numbers and unknown members survive,
//! and so do the provider's cached prefixes, which depend on identical bytes.

use std::ops::Range;

/// Replacements of parts of one text, none overlapping another.
#[derive(Debug, Default)]
pub(crate) struct Splices {
    splices: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splices {
    /// Replaces a span.
    pub(crate) fn replace(&mut self, span: Range<usize>, by: impl Into<Vec<u8>>) {
        self.splices.push((span, by.into()));
    }

    /// Puts something in; two insertions at one place stay in the order they were made.
    pub(crate) fn insert(&mut self, at: usize, what: impl Into<Vec<u8>>) {
        self.replace(at..at, what);
    }

    /// Returns the edited text.
    pub(crate) fn apply(mut self, text: &[u8]) -> Vec<u8> {
        self.splices.sort_by_key(|(span, _)| span.start);
        let added: usize = self.splices.iter().map(|(_, by)| by.len()).sum();
        let mut edited = Vec::with_capacity(text.len() + added);
        let mut copied = 0;
        for (span, by) in &self.splices {
            assert!(copied <= span.start, "two edits of a body overlap");
            edited.extend_from_slice(&text[copied..span.start]);
            edited.extend_from_slice(by);
            copied = span.end;
        }
        edited.extend_from_slice(&text[copied..]);
        edited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_inserts_in_any_order() {
        let mut splices = Splices::default();
        splices.replace(4..5, "EEE");
        splices.insert(1, "x");
        splices.insert(1, "y");
        splices.replace(6..8, "");
        assert_eq!(splices.apply(b"abcdefgh"), b"axybcdEEEf");
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn edits_that_overlap_are_a_bug() {
        let mut splices = Splices::default();
        splices.replace(1..3, "x");
        splices.replace(2..4, "y");
        splices.apply(b"abcdef");
    }
}
