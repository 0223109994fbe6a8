//! The arrows between our crates: which may depend on which.
//!
//! The table below is the architecture; `cargo metadata` is what was built. Dependencies on
//! other people's crates are the affair of `deny.toml`, but for the pure core, which has none.

use std::path::Path;

use serde_json::Value;

use crate::{Outcome, cargo, outcome};

/// One crate of ours and the crates of ours that its shipped code may use.
pub type Allowed = (&'static str, &'static [&'static str]);

/// Every crate of ours; one that is missing here is a complaint too.
pub const ALLOWED: &[Allowed] = &[
    ("fisc-core", &[]),
    ("fisc-llm", &["fisc-core"]),
    ("fisc-ledger", &["fisc-core"]),
    ("fisc", &["fisc-core", "fisc-llm", "fisc-ledger"]),
    ("fisc-gateway", &["fisc", "fisc-core", "fisc-llm"]),
    ("fisc-rehearsal", &[]),
    ("fisc-sim", &["fisc-core", "fisc-llm"]),
    (
        "fisc-cli",
        &[
            "fisc",
            "fisc-core",
            "fisc-gateway",
            "fisc-ledger",
            "fisc-llm",
            "fisc-rehearsal",
            "fisc-sim",
        ],
    ),
    ("fisc-testkit", &[]),
    ("xtask", &[]),
];

/// Who else may be used by tests, benches and examples: the test kit by all, and the scripted
/// upstream by those that stand in front of one.
pub const ALLOWED_IN_TESTS: &[Allowed] = &[
    ("fisc-core", &["fisc-testkit"]),
    ("fisc-llm", &["fisc-testkit"]),
    ("fisc-ledger", &["fisc-testkit"]),
    ("fisc", &["fisc-testkit", "fisc-rehearsal"]),
    (
        "fisc-gateway",
        &["fisc-testkit", "fisc-rehearsal", "fisc-ledger"],
    ),
    ("fisc-rehearsal", &["fisc-testkit"]),
    ("fisc-cli", &["fisc-testkit"]),
];

/// The crate that may use nobody else's code.
pub const PURE: &str = "fisc-core";

/// Asks cargo for the workspace's dependencies and compares them with the tables.
pub fn check(root: &Path) -> Outcome {
    let ran = cargo()
        .current_dir(root)
        .args([
            "metadata",
            "--offline",
            "--format-version",
            "1",
            "--no-deps",
        ])
        .output();
    let output = match ran {
        Ok(output) if output.status.success() => output,
        Ok(output) => return Err(vec![String::from_utf8_lossy(&output.stderr).into_owned()]),
        Err(error) => return Err(vec![format!("cannot run cargo metadata: {error}")]),
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(metadata) => outcome(judge(&metadata)),
        Err(error) => Err(vec![format!(
            "cannot read what cargo metadata said: {error}"
        )]),
    }
}

/// Complains about every arrow in cargo's `metadata` that no table allows.
pub fn judge(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        return vec!["cargo metadata names no package".to_owned()];
    }
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut complaints: Vec<String> = packages
        .iter()
        .flat_map(|p| judge_package(p, &names))
        .collect();
    for (missing, _) in ALLOWED.iter().filter(|(name, _)| !names.contains(name)) {
        complaints.push(format!(
            "{missing}: in the table of arrows, not in the workspace"
        ));
    }
    complaints
}

fn judge_package(package: &Value, ours: &[&str]) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some(shipped) = find(ALLOWED, name) else {
        return vec![format!(
            "{name}: not in the table of arrows (xtask/src/arrows.rs)"
        )];
    };
    let tested = find(ALLOWED_IN_TESTS, name).unwrap_or_default();
    let mut complaints = Vec::new();
    for dependency in package["dependencies"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        let to = dependency["name"].as_str().unwrap_or_default();
        let in_tests_only = dependency["kind"] == "dev";
        let allowed = shipped.contains(&to) || (in_tests_only && tested.contains(&to));
        if ours.contains(&to) && !allowed {
            let kind = if in_tests_only { "tests of " } else { "" };
            complaints.push(format!("{kind}{name} -> {to}: no such arrow is allowed"));
        }
        if name == PURE && !ours.contains(&to) && !in_tests_only {
            complaints.push(format!("{name} -> {to}: the core uses nobody else's code"));
        }
    }
    complaints
}

fn find(table: &[Allowed], name: &str) -> Option<&'static [&'static str]> {
    table
        .iter()
        .find(|(crate_name, _)| *crate_name == name)
        .map(|(_, allowed)| *allowed)
}
