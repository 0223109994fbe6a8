//! Limits on length: files, functions, lines.

use super::source::{Source, closing_brace, is_name_byte};

/// The most lines of a file, its tests apart.
pub const FILE_LINES_MAX: usize = 500;
/// The most lines of a function, from its `fn` to its last brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// The most columns of a line.
pub const LINE_COLUMNS_MAX: usize = 100;

/// Complains about a shipped file of more than [`FILE_LINES_MAX`] lines. Lines of an inline
/// module of tests do not count.
pub fn file_length(source: &Source) -> Vec<String> {
    if !source.is_shipped_rust() {
        return Vec::new();
    }
    let lines = (0..source.text.lines().count())
        .filter(|line| !source.is_test_line(*line))
        .count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines, at most {FILE_LINES_MAX}; split it by concept",
        source.path
    )]
}

/// Complains about a shipped function of more than [`FUNCTION_LINES_MAX`] lines. Tests may be
/// long tables.
pub fn function_length(source: &Source) -> Vec<String> {
    if !source.is_shipped_rust() {
        return Vec::new();
    }
    let code = source.code.as_bytes();
    let mut complaints = Vec::new();
    for start in source.code_offsets("fn ") {
        if start > 0 && is_name_byte(code[start - 1]) {
            continue;
        }
        let Some(open) = body_of(&source.code, start) else {
            continue;
        };
        let Some(close) = closing_brace(&source.code, open) else {
            continue;
        };
        let (first, last) = (source.line_of(start), source.line_of(close));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX && !source.is_test_line(first) {
            let what = format!("a function of {lines} lines, at most {FUNCTION_LINES_MAX}");
            complaints.push(source.complain(first, &what));
        }
    }
    complaints
}

/// Complains about a line of Rust or Python of more than [`LINE_COLUMNS_MAX`] columns, unless
/// it holds a URL, which cannot be broken.
pub fn line_length(source: &Source) -> Vec<String> {
    if !source.is_rust() && !source.is_python() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX && !line.contains("://") {
            let what = format!("a line of {columns} columns, at most {LINE_COLUMNS_MAX}");
            complaints.push(source.complain(number, &what));
        }
    }
    complaints
}

/// Returns where the body of the function at `start` opens: the first brace outside brackets,
/// or nothing when a semicolon comes first (a declaration in a trait, or a type `fn(u8)`).
fn body_of(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(start + offset),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}
