//! Runs every scenario file of `tests/scenarios`, each through the one [`check`].
//!
//! The language is described in `script.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::script::Script;

/// Plays one file; a row that does not come out as written fails the test with its line number.
#[track_caller]
fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("the scenario file is beside the tests");
    let mut script = Script::default();
    for (index, line) in text.lines().enumerate() {
        if let Err(found) = script.row(line) {
            panic!("{name}.txt:{}: {line}\n  {found}", index + 1);
        }
    }
    assert!(0 < script.rows, "{name}.txt says nothing");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

scenarios! {
    admission
    auction
    bounds
    claims
    corrections
    elapsed
    finalize
    guarantees
    holds_end_once
    levels
    loans
    lowered_limits
    metering
    out_of_range
    overrun
    per_call
    release
    restart
    rolling
    shares
    terms
    windows
}

#[test]
fn every_scenario_file_is_played() {
    let on_disk: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("the folder is beside the tests")
        .map(|entry| entry.expect("the folder can be read").path())
        .map(|path| path.file_stem().expect("a name").display().to_string())
        .collect();
    let played: BTreeSet<String> = NAMES.iter().map(ToString::to_string).collect();
    assert_eq!(on_disk, played);
}
