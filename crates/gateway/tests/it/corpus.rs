//! The kept corpus of the fuzz target `config`, and the example, replayed against its law.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use crate::laws::config;

#[test]
fn config() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let kept = files(&root.join("fuzz/corpus/config"));
    assert!(kept.len() > 50, "the corpus of config is missing");
    let mut accepted = 0;
    for path in kept.into_iter().chain([root.join("examples/fisc.toml")]) {
        let bytes = fs::read(&path).expect("a readable input");
        let held = panic::catch_unwind(|| config::hold(&bytes));
        let read = held.unwrap_or_else(|_| panic!("{} breaks a law", path.display()));
        accepted += usize::from(read);
    }
    assert!(
        accepted >= 10,
        "only {accepted} of the corpus are configurations"
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of inputs");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    paths
}
