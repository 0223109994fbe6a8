//! `ARCHITECTURE.md` against the tree: it names every crate and every top module, and nothing
//! that is not there.
//!
//! Its form is fixed: each crate has a heading that names its folder in backquotes
//! (``### `crates/core` ``), and under it each top module, and nothing else, is in bold backquotes
//! (``**`tree`**``; several at once are fine: ``**`a`, `b`**``).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The document fits on a few screens or is not read.
pub const LINES_MAX: usize = 300;

/// A crate: its folder from the root, and the names of its top modules.
pub type Crate = (String, BTreeSet<String>);

/// Compares `ARCHITECTURE.md` under `root` with the folders under `root`.
pub fn check(root: &Path) -> Vec<String> {
    let text = match fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(text) => text,
        Err(error) => return vec![format!("ARCHITECTURE.md: cannot be read: {error}")],
    };
    match crates(root) {
        Ok(found) => judge(&text, &found),
        Err(error) => vec![format!("cannot list the crates: {error}")],
    }
}

/// Complains where the document's `text` and the crates that were `found` differ.
pub fn judge(text: &str, found: &[Crate]) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines >= LINES_MAX {
        complaints.push(format!(
            "ARCHITECTURE.md: {lines} lines, fewer than {LINES_MAX} please"
        ));
    }
    let named = sections(text);
    for (folder, modules) in found {
        let Some((_, described)) = named.iter().find(|(name, _)| name == folder) else {
            complaints.push(format!("ARCHITECTURE.md: no heading for `{folder}`"));
            continue;
        };
        for missing in modules.difference(described) {
            complaints.push(format!(
                "ARCHITECTURE.md: `{folder}` lacks its module `{missing}`"
            ));
        }
        for gone in described.difference(modules) {
            complaints.push(format!(
                "ARCHITECTURE.md: `{folder}` has no module `{gone}`"
            ));
        }
    }
    for (gone, _) in named
        .iter()
        .filter(|(name, _)| !found.iter().any(|(folder, _)| folder == name))
    {
        complaints.push(format!("ARCHITECTURE.md: there is no crate `{gone}`"));
    }
    complaints
}

/// Returns the crates that the document describes, with the modules named under each.
fn sections(text: &str) -> Vec<Crate> {
    let mut sections: Vec<Crate> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('#') {
            let folder = line.split('`').nth(1).filter(|name| is_crate_folder(name));
            inside = folder.is_some();
            sections.extend(folder.map(|folder| (folder.to_owned(), BTreeSet::new())));
        } else if inside && let Some((_, modules)) = sections.last_mut() {
            modules.extend(bold_names(line));
        }
    }
    sections
}

fn is_crate_folder(name: &str) -> bool {
    name.starts_with("crates/") || name == "xtask"
}

/// Returns the names in bold backquotes of a line.
fn bold_names(line: &str) -> Vec<String> {
    let bold = line
        .split("**`")
        .skip(1)
        .filter_map(|rest| rest.split_once("`**"));
    let names = bold.flat_map(|(names, _)| names.split("`, `"));
    names.map(str::to_owned).collect()
}

/// Lists the crates under `root`, each with its top modules.
fn crates(root: &Path) -> std::io::Result<Vec<Crate>> {
    let mut found = vec![("xtask".to_owned(), modules(&root.join("xtask/src"))?)];
    for entry in fs::read_dir(root.join("crates"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            let folder = format!("crates/{}", entry.file_name().to_string_lossy());
            found.push((folder, modules(&entry.path().join("src"))?));
        }
    }
    found.sort();
    Ok(found)
}

fn modules(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    const NOT_MODULES: &[&str] = &["lib", "main", "tests"];

    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        names.extend(stem.filter(|stem| is_rust && !NOT_MODULES.contains(&stem.as_str())));
    }
    Ok(names)
}
