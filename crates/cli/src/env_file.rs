//! The file of `--env-file`: `KEY=VALUE` lines, as `.env` files are commonly written.
//!
//! Quotes, comments and `export` are understood; nothing is substituted (`$X` stays `$X`) and
//! no value spans lines. Errors name the line and never quote a value.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that cannot be read as variables.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no `KEY=VALUE`.
    #[error("{path}:{line}: {problem}", path = path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Reads a file of variables, in its order; of several with one name the last one holds.
///
/// # Errors
/// When the file cannot be read, is no UTF-8, or a line is no variable.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, EnvFileError> {
    let text = fs::read_to_string(path).map_err(|source| EnvFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|(line, problem)| EnvFileError::BadLine {
        path: path.to_owned(),
        line,
        problem,
    })
}

/// Reads the text of such a file; an error is the number of the line and what is wrong there.
fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        variables.push(variable(line).map_err(|problem| (index + 1, problem))?);
    }
    Ok(variables)
}

fn variable(line: &str) -> Result<(String, String), &'static str> {
    let assignment = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (name, value) = assignment.split_once('=').ok_or("there is no '='")?;
    let name = name.trim_end();
    let is_name = |name: &str| {
        let first = name
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit());
        first
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(name) {
        return Err("the name is not made of letters, digits and _");
    }
    if value.contains('\0') {
        return Err("the value holds a NUL");
    }
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some('\'') => single_quoted(&value[1..])?,
        Some('"') => double_quoted(&value[1..])?,
        _ => bare(value),
    };
    Ok((name.to_owned(), value))
}

/// Reads up to a comment, which needs white space before it: `#` occurs in keys.
fn bare(value: &str) -> String {
    let comment = value.char_indices().find(|(at, c)| {
        *c == '#'
            && value[..*at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    let end = comment.map_or(value.len(), |(at, _)| at);
    value[..end].trim_end().to_owned()
}

fn single_quoted(value: &str) -> Result<String, &'static str> {
    let (inside, after) = value.split_once('\'').ok_or("the quote ' is not closed")?;
    nothing_follows(after)?;
    Ok(inside.to_owned())
}

fn double_quoted(value: &str) -> Result<String, &'static str> {
    let mut inside = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                nothing_follows(characters.as_str())?;
                return Ok(inside);
            }
            '\\' => match characters.next() {
                Some('n') => inside.push('\n'),
                Some('r') => inside.push('\r'),
                Some('t') => inside.push('\t'),
                Some(escaped @ ('"' | '\\' | '$' | '`')) => inside.push(escaped),
                Some(other) => inside.extend(['\\', other]),
                None => break,
            },
            other => inside.push(other),
        }
    }
    Err("the quote \" is not closed")
}

fn nothing_follows(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("something follows the closing quote")
    }
}

// === impl EnvFileError ===

impl EnvFileError {
    /// Suggests how to mend it.
    pub fn hint(&self) -> &'static str {
        match self {
            EnvFileError::Unreadable { .. } => "give the path of a text file that you may read",
            EnvFileError::BadLine { .. } => {
                "write one KEY=VALUE a line; quote a value that holds spaces or #"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let variables = parse(text).expect("a file of variables");
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(variables, expected);
    }

    #[test]
    fn reads_what_env_files_hold() {
        check("", &[]);
        check("\u{feff}# a comment\r\n\r\nA=1\r\n", &[("A", "1")]);
        check(
            "export A=b\nexport\tC = d e \nexported=1",
            &[("A", "b"), ("C", "d e"), ("exported", "1")],
        );
        check(
            "A=a#b # c\nB=# only a comment\nC=",
            &[("A", "a#b"), ("B", ""), ("C", "")],
        );
        check(
            "A='$x \\n # y' # z\nB=\"a \\\"b\\\" \\n\\$\\q\"",
            &[("A", "$x \\n # y"), ("B", "a \"b\" \n$\\q")],
        );
        check("A=b=c==\nA=2", &[("A", "b=c=="), ("A", "2")]);
    }

    #[test]
    fn an_error_names_the_line_and_hides_the_value() {
        for (text, line) in [
            ("A=1\nsk-canary", 2),
            ("1A=sk-canary", 1),
            ("\n\nA='sk-canary", 3),
            ("A=\"sk-canary\\", 1),
            ("A='x' sk-canary", 1),
            ("A B=sk-canary", 1),
            ("=sk-canary", 1),
        ] {
            let (found, problem) = parse(text).expect_err(text);
            assert_eq!(found, line, "{text}");
            assert!(!problem.contains("canary"));
        }
        let missing = read(Path::new("/nonexistent/env")).expect_err("no such file");
        assert!(
            missing
                .to_string()
                .starts_with("cannot read /nonexistent/env: ")
        );
    }
}
