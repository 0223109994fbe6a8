//! Says whether rustfmt, with its defaults, would change a file. It never changes one.

use std::path::Path;

use crate::{Outcome, cargo};

/// Runs `cargo fmt --all -- --check`; complains with the start of its diff.
pub fn check(root: &Path) -> Outcome {
    const SHOWN_LINES_MAX: usize = 60;

    let ran = cargo()
        .current_dir(root)
        .args(["fmt", "--all", "--", "--check"])
        .output();
    let output = match ran {
        Ok(output) => output,
        Err(error) => return Err(vec![format!("cannot run cargo fmt: {error}")]),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let mut lines: Vec<String> = String::from_utf8_lossy(&said)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.truncate(SHOWN_LINES_MAX);
    lines.push("run `cargo fmt --all`".to_owned());
    Err(lines)
}
