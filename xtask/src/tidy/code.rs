//! Habits of code: how a file opens, and what shipped code does not do.

use super::source::{Source, is_name_byte};

/// The only shipped places that may read the machine's clock: the one `Clock`, and the two
/// crates that stand outside of the accounting.
pub const CLOCK_PLACES: &[&str] = &[
    "crates/fisc/src/clock.rs",
    "xtask/src/bench/time.rs",
    "crates/rehearsal/src/",
    "crates/testkit/src/",
];

/// Complains about a Rust file that does not say at once what it is responsible for.
pub fn opens_with_its_purpose(source: &Source) -> Vec<String> {
    let opening = ["//!", "#![doc = include_str!("];
    if !source.is_rust()
        || opening
            .iter()
            .any(|opening| source.text.starts_with(opening))
    {
        return Vec::new();
    }
    vec![source.complain(
        0,
        "opens without `//!`; say what the file is for and what it is not",
    )]
}

/// Complains about `mod.rs`: `foo.rs` lies beside `foo/`.
pub fn no_mod_rs(source: &Source) -> Vec<String> {
    if !source.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    vec![format!(
        "{}: no `mod.rs`; name it after its folder, beside it",
        source.path
    )]
}

/// Complains about notes to self that were left behind.
pub fn no_leftovers(source: &Source) -> Vec<String> {
    const LEFTOVERS: &[&str] = &[
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];

    let mut complaints = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for leftover in LEFTOVERS
            .iter()
            .filter(|leftover| holds_word(line, leftover))
        {
            complaints.push(source.complain(number, &format!("{leftover}: do it, or file it")));
        }
    }
    complaints
}

/// Complains about `unwrap()` in shipped code, where a panic needs its reason.
pub fn no_unwrap(source: &Source) -> Vec<String> {
    if !source.is_shipped_rust() || source.path.starts_with("xtask/") {
        return Vec::new();
    }
    let found = source
        .code_offsets(".unwrap()")
        .into_iter()
        .map(|offset| source.line_of(offset));
    found
        .filter(|line| !source.is_test_line(*line))
        .map(|line| source.complain(line, "unwrap(); use expect(\"why it cannot fail\")"))
        .collect()
}

/// Complains about a clock that is read outside [`CLOCK_PLACES`].
pub fn one_clock(source: &Source) -> Vec<String> {
    let allowed = CLOCK_PLACES
        .iter()
        .any(|place| source.path.starts_with(place));
    if allowed || !source.is_shipped_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for reading in ["SystemTime::now", "Instant::now"] {
        let lines = source
            .code_offsets(reading)
            .into_iter()
            .map(|offset| source.line_of(offset));
        for line in lines.filter(|line| !source.is_test_line(*line)) {
            let what = format!("{reading}; time is an argument, or comes from `fisc::Clock`");
            complaints.push(source.complain(line, &what));
        }
    }
    complaints
}

/// Says whether `line` holds `word` with no letter, digit or `_` at either side.
pub(super) fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line.as_bytes()[..start].last();
        let after = line.as_bytes().get(start + word.len());
        ![before, after]
            .into_iter()
            .flatten()
            .any(|byte| is_name_byte(*byte))
    })
}
