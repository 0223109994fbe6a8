//! The house style, as far as a program can judge it.
//!
//! Each rule is a function from one [`Source`] (or from the tree) to complaints, tested on a
//! planted offender in `tests/it/tidy.rs`. What needs a compiler is left to clippy, layout to
//! rustfmt, taste to people.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Outcome, outcome};

pub mod architecture;
pub mod code;
pub mod size;
pub mod source;
pub mod words;

pub use source::Source;

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "corpus", "artifacts", "node_modules"];

/// The kinds of file that are read, by the end of their names.
const READ_ENDINGS: &[&str] = &[
    ".rs", ".md", ".toml", ".py", ".sh", ".sql", "justfile", ".ci/run",
];

/// A rule that looks at one file at a time.
pub type Rule = fn(&Source) -> Vec<String>;

/// Every rule that looks at one file at a time.
pub const RULES: &[Rule] = &[
    size::file_length,
    size::function_length,
    size::line_length,
    code::opens_with_its_purpose,
    code::no_mod_rs,
    code::no_leftovers,
    code::no_unwrap,
    code::one_clock,
    words::no_synonyms,
    words::no_places,
];

/// Applies every rule to every file under `root`.
pub fn check(root: &Path) -> Outcome {
    let mut paths = Vec::new();
    if let Err(error) = collect(root, &mut paths) {
        return Err(vec![format!("cannot list {}: {error}", root.display())]);
    }
    paths.sort();
    let mut complaints = Vec::new();
    for path in &paths {
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .to_string_lossy()
            .replace('\\', "/");
        if !READ_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        match fs::read_to_string(path) {
            Ok(text) => {
                let source = Source::new(&name, &text);
                complaints.extend(RULES.iter().flat_map(|rule| rule(&source)));
            }
            Err(error) => complaints.push(format!("{name}: cannot be read: {error}")),
        }
    }
    complaints.extend(architecture::check(root));
    outcome(complaints)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
                collect(&entry.path(), paths)?;
            }
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}
