//! The project's own chores: the checks that rustc and clippy cannot make, and the benchmark.
//!
//! Every check is a plain function from the workspace's root to a list of complaints, so that
//! the same code runs inside `cargo test` (`tests/it`) and as `cargo xtask NAME`. A check builds
//! nothing and changes nothing.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::path::{Path, PathBuf};

pub mod arrows;
pub mod bench;
pub mod format;
pub mod mutants;
pub mod tidy;

/// What a check found: nothing, or one line of text for each thing to mend.
pub type Outcome = Result<(), Vec<String>>;

/// Returns the root of the workspace that this program was built in.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask lies in the workspace's root")
        .to_owned()
}

/// Makes an [`Outcome`] of a list of complaints.
fn outcome(complaints: Vec<String>) -> Outcome {
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}

/// Returns the cargo that runs us, or the one on the path.
fn cargo() -> std::process::Command {
    std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
