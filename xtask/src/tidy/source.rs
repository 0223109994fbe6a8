//! One file as the rules see it, and just enough of Rust's grammar to see it so.
//!
//! The scanner knows comments, strings and characters, and blanks them out, so that a brace or
//! a word inside them is not taken for code. It does not parse: rules look for words and
//! matching braces in what is left, which is enough for limits and much less than a compiler.

use std::ops::Range;

/// One file: its text, and for Rust the text with everything but code blanked out.
#[derive(Debug)]
pub struct Source {
    /// The path from the workspace's root, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text with comments, strings and characters blanked out, byte for byte as long; empty
    /// when the file is not Rust.
    pub code: String,
    test_lines: Vec<Range<usize>>,
}

// === impl Source ===

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: &str) -> Source {
        let code = if has_extension(path, "rs") {
            blank(text)
        } else {
            String::new()
        };
        let test_lines = test_modules(&code);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            test_lines,
        }
    }

    /// Says whether this is a Rust file.
    pub fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// Says whether this is a Python file.
    pub fn is_python(&self) -> bool {
        has_extension(&self.path, "py")
    }

    /// Says whether this is Rust that is shipped, in contrast to tests, benches and examples.
    pub fn is_shipped_rust(&self) -> bool {
        let in_src = self.path.starts_with("crates/") && self.path.contains("/src/");
        self.is_rust() && (in_src || self.path.starts_with("xtask/src/")) && !self.is_test()
    }

    /// Says whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Says whether a line, counted from 0, is inside an inline module of tests.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Returns the line, counted from 0, on which the byte at `offset` lies.
    pub fn line_of(&self, offset: usize) -> usize {
        line_number(&self.text, offset)
    }

    /// Complains about a line, counted from 0.
    pub fn complain(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// Returns where each occurrence of `needle` in the code begins.
    pub fn code_offsets(&self, needle: &str) -> Vec<usize> {
        self.code
            .match_indices(needle)
            .map(|(offset, _)| offset)
            .collect()
    }
}

/// Returns where the brace that `code[open]` opens is closed, if it is.
pub fn closing_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Says whether a byte can be part of a Rust name.
pub fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut modules = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        let rest = code[start + attribute.len()..].trim_start();
        let Some(open) = code[start..].find('{').map(|offset| start + offset) else {
            continue;
        };
        let head_ends = code[start..]
            .find(';')
            .map_or(code.len(), |offset| start + offset);
        if !rest.starts_with("mod ") || head_ends < open {
            continue;
        }
        let end = closing_brace(code, open).unwrap_or(code.len());
        modules.push(line_number(code, start)..line_number(code, end) + 1);
    }
    modules
}

fn line_number(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count()
}

/// Blanks out comments, strings and characters; keeps every newline and the length in bytes.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = piece_at(bytes, at) else {
            at += 1;
            continue;
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are replaced by spaces")
}

/// Returns the end of the comment, string or character that begins at `at`, if one does.
fn piece_at(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let after_name = at > 0 && is_name_byte(bytes[at - 1]);
    let length = match rest[0] {
        b'/' if rest.starts_with(b"//") => line_comment(rest),
        b'/' if rest.starts_with(b"/*") => block_comment(rest),
        b'"' => quoted(rest, 0),
        b'b' | b'c' if !after_name && rest.get(1) == Some(&b'"') => quoted(rest, 1),
        b'r' if !after_name => raw(rest, 1)?,
        b'b' | b'c' if !after_name && rest.get(1) == Some(&b'r') => raw(rest, 2)?,
        b'\'' => character(rest)?,
        _ => return None,
    };
    Some(at + length)
}

fn line_comment(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], prefix: usize) -> usize {
    let mut at = prefix + 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = [vec![b'"'], vec![b'#'; hashes]].concat();
    let body = prefix + hashes + 1;
    let found = rest[body..]
        .windows(end.len())
        .position(|window| window == end);
    Some(found.map_or(rest.len(), |offset| body + offset + end.len()))
}

/// A character, in contrast to a lifetime: `'x'` and `'\…'`, not `'a` in `&'a str`.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let closing = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(closing + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .unwrap_or_else(|error| std::str::from_utf8(&rest[1..=error.valid_up_to()]).unwrap_or(""));
    let width = text.chars().next()?.len_utf8();
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}
