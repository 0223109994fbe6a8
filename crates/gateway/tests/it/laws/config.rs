//! A configuration of any text: read without a panic, and what is accepted is resolved.

use std::collections::BTreeSet;
use std::path::Path;

use fisc_gateway::config::{self, Settings};

/// Nothing lies in it, so no key file is ever read.
const DIRECTORY: &str = "/dev/null";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Checks the law, and says whether the text was accepted.
pub(crate) fn hold(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    // A key file may be any file: one that is a device would be read without an end.
    if toml::from_str::<toml::Table>(text).is_ok_and(|table| names_a_file(&table.into())) {
        return false;
    }
    let environment = |name: &str| (!name.contains("UNSET")).then(|| SECRET.to_owned());
    match config::parse("fisc.toml", text, Path::new(DIRECTORY), &environment) {
        Ok(settings) => {
            check(&settings);
            true
        }
        Err(error) => {
            assert!(error.to_string().starts_with("fisc.toml"));
            false
        }
    }
}

fn names_a_file(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.iter().any(|(name, value)| {
            let is_path = value.as_str().is_some_and(|path| path.starts_with('/'));
            (name == "key_file" && is_path) || names_a_file(value)
        }),
        toml::Value::Array(list) => list.iter().any(names_a_file),
        _ => false,
    }
}

fn check(settings: &Settings) {
    let mut paths = BTreeSet::new();
    for budget in &settings.budgets {
        let parent = budget.path.rsplit_once('/').map(|(parent, _)| parent);
        assert!(
            parent.is_none_or(|parent| paths.contains(parent)),
            "a child before its parent"
        );
        assert!(paths.insert(budget.path.as_str()), "one budget twice");
        assert_eq!(
            parent.is_none(),
            paths.len() == 1,
            "one root, and it is first"
        );
    }
    assert!(!settings.budgets.is_empty() && settings.upstreams.len() <= 2);
    assert!(settings.ledger.starts_with(DIRECTORY) || settings.ledger.is_absolute());
    assert!(
        !format!("{settings:?}").contains(SECRET),
        "a secret is shown"
    );
}
