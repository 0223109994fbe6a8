//! The project's vocabulary, and the names of places that mean nothing to others.
//!
//! A synonym makes a reader ask whether another thing is meant; the glossary is in
//! `ARCHITECTURE.md`. Words that providers chose for their own fields are theirs to choose.

use super::source::Source;

/// Banned words with what to say instead; matched as parts of names too (`quota_left`).
pub const SYNONYMS: &[(&str, &str)] = &[
    ("allowance", "limit"),
    ("blacklist", "deny list"),
    ("chargeback", "correct"),
    ("escrow", "hold"),
    ("microdollar", "nano-dollar"),
    ("microdollars", "nano-dollars"),
    ("preauthorization", "hold"),
    ("quota", "budget"),
    ("refund", "void or correct"),
    ("reservation", "hold"),
    ("reservations", "holds"),
    ("wallet", "budget"),
    ("whitelist", "allow list"),
];

/// Whole names that hold a banned word and are somebody else's.
pub const FOREIGN_NAMES: &[&str] = &[
    "insufficient_quota",
    "quota_exceeded",
    "ModelQuotaExceededError",
    "QUOTA", // the constant that holds the first
];

/// Machine paths: what they begin with, where a path can begin.
const PATHS: &[&str] = &["/work/", "/root/", "../shared"];

/// Hosts of package registries; a package is named, its registry is the user's own.
const HOSTS: &[&str] = &[
    "crates.io",
    "pypi.org",
    "pythonhosted.org",
    "npmjs.org",
    "deb.debian.org",
];

/// The files that must spell what is banned: this one, and the test that plants offenders.
const EXEMPT: &[&str] = &["xtask/src/tidy/words.rs", "xtask/tests/it/tidy.rs"];

/// Complains about a synonym of a word of the glossary.
pub fn no_synonyms(source: &Source) -> Vec<String> {
    if EXEMPT.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let names = line.split(|c: char| c != '_' && !c.is_alphanumeric());
        for name in names.filter(|name| !FOREIGN_NAMES.contains(name)) {
            for part in parts(name) {
                if let Some((_, better)) = SYNONYMS.iter().find(|(word, _)| *word == part) {
                    let what = format!("{part} is banned, use {better}");
                    complaints.push(source.complain(number, &what));
                }
            }
        }
    }
    complaints
}

/// Complains about paths of one machine and hosts of package registries.
pub fn no_places(source: &Source) -> Vec<String> {
    if EXEMPT.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for path in PATHS.iter().filter(|path| begins_a_path(line, path)) {
            complaints.push(source.complain(number, &format!("{path}: a path of one machine")));
        }
        for host in HOSTS.iter().filter(|host| line.contains(**host)) {
            complaints.push(source.complain(number, &format!("{host}: the host of a registry")));
        }
    }
    complaints
}

fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-./".contains(c))
    })
}

/// Splits `quota_left` and `QuotaLeft` into lower-case words.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        if c != '_' {
            let last = parts.last_mut().expect("there is always one part");
            last.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    parts
}
