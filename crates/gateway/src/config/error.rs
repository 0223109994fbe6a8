//! Errors of a configuration: where, what stands there, what is wrong, how to mend it.
//!
//! Only the offending text itself is shown, never its whole line, and nothing that looks like a
//! key: people do write keys into configurations.

use std::fmt;
use std::ops::Range;

const TEXT_CHARS_MAX: usize = 60;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Box<Problem>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    file: String,
    place: Option<Place>,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
}

/// A file and its text, to point into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

// === impl ConfigError ===

impl ConfigError {
    pub(super) fn of_file(file: &str, message: impl Into<String>) -> ConfigError {
        let message = message.into();
        ConfigError(Box::new(Problem {
            file: file.to_owned(),
            place: None,
            message,
            hint: None,
        }))
    }

    /// Adds how to mend it.
    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> ConfigError {
        self.0.hint = Some(hint.into());
        self
    }

    /// Returns the line, from 1, when the error is at one place.
    pub fn line(&self) -> Option<usize> {
        self.0.place.as_ref().map(|place| place.line)
    }

    /// Returns the column in characters, from 1, when the error is at one place.
    pub fn column(&self) -> Option<usize> {
        self.0.place.as_ref().map(|place| place.column)
    }

    /// Returns what is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns how to mend it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            file,
            place,
            message,
            hint,
        } = &*self.0;
        match place {
            Some(Place { line, column, text }) => {
                write!(f, "{file}:{line}:{column}: {message}")?;
                if !text.is_empty() {
                    write!(f, "\n  {line} | {text}")?;
                }
            }
            None => write!(f, "{file}: {message}")?,
        }
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

// === impl Source ===

impl Source<'_> {
    /// Makes an error that points at a part of the text, in bytes.
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let start = span.start.min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let text = shown(self.text.get(span).unwrap_or_default());
        let place = Some(Place { line, column, text });
        let (file, message) = (self.file.to_owned(), message.into());
        ConfigError(Box::new(Problem {
            file,
            place,
            message,
            hint: None,
        }))
    }

    /// Makes an error of what the TOML reader says, with a suggestion where one is near.
    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let message = first_line(error.message());
        let shown = if message.contains("sk-") {
            "a value of the wrong type"
        } else {
            message
        };
        let problem = self.error(span, shown);
        let mut quoted = message.split('`').skip(1).step_by(2);
        let wrong = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        match nearest(wrong, &known) {
            _ if message.contains("expected a string") => {
                problem.with_hint("write amounts in quotes: cost = \"2.50\"")
            }
            Some(name) => problem.with_hint(format!("did you mean `{name}`?")),
            None => problem,
        }
    }
}

/// Finds the candidate that a misspelt name most likely means.
pub(super) fn nearest<'a>(wrong: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let allowed = wrong.chars().count().div_ceil(3).min(3);
    let near = candidates.iter().map(|name| (distance(wrong, name), *name));
    near.filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Counts the edits from one name to the other, an exchange of neighbours being one.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let differs = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j - 1] + differs)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            let crossed =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if crossed {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn shown(text: &str) -> String {
    let line = first_line(text.trim());
    if line.contains("sk-") {
        return "\"***\"".to_owned();
    }
    match line.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
