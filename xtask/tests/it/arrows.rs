//! The arrows between the crates, and that the check sees a wrong one.

use serde_json::{Value, json};

use xtask::arrows;

/// The metadata of a workspace that keeps to the table: every crate there, no dependency.
fn workspace() -> Value {
    let packages: Vec<Value> = arrows::ALLOWED
        .iter()
        .map(|(name, _)| json!({ "name": name, "dependencies": [] }))
        .collect();
    json!({ "packages": packages })
}

/// The complaints about a workspace with one arrow more.
fn with_arrow(from: &str, to: &str, kind: &Value) -> Vec<String> {
    let mut metadata = workspace();
    let packages = metadata["packages"].as_array_mut().unwrap();
    let package = packages
        .iter_mut()
        .find(|package| package["name"] == from)
        .unwrap();
    package["dependencies"] = json!([{ "name": to, "kind": kind }]);
    arrows::judge(&metadata)
}

#[test]
fn the_workspace_keeps_to_the_table() {
    crate::pass(arrows::check(&xtask::root()));
}

#[test]
fn an_arrow_of_the_table_passes() {
    assert_eq!(
        with_arrow("fisc", "fisc-ledger", &Value::Null),
        Vec::<String>::new()
    );
    assert_eq!(
        with_arrow("fisc-gateway", "fisc-testkit", &json!("dev")),
        Vec::<String>::new()
    );
    assert_eq!(
        with_arrow("fisc-llm", "memchr", &Value::Null),
        Vec::<String>::new()
    );
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_reported() {
    for (from, to) in [
        ("fisc-core", "fisc-ledger"),
        ("fisc-ledger", "fisc-llm"),
        ("fisc", "fisc-gateway"),
        ("fisc-rehearsal", "fisc-core"),
        ("fisc-rehearsal", "fisc-llm"),
        ("fisc-cli", "fisc-testkit"),
    ] {
        let complaints = with_arrow(from, to, &Value::Null);
        assert_eq!(complaints.len(), 1, "{from} -> {to}: {complaints:?}");
        assert!(
            complaints[0].contains(&format!("{from} -> {to}")),
            "{complaints:?}"
        );
    }
    assert_eq!(
        with_arrow("fisc-rehearsal", "fisc-core", &json!("dev")).len(),
        1
    );
}

#[test]
fn the_core_uses_nobody_elses_code() {
    assert_eq!(with_arrow("fisc-core", "serde", &Value::Null).len(), 1);
    assert_eq!(
        with_arrow("fisc-core", "proptest", &json!("dev")),
        Vec::<String>::new()
    );
}

#[test]
fn a_crate_that_is_not_in_the_table_is_reported() {
    let mut metadata = workspace();
    let stranger = json!({ "name": "fisc-stranger", "dependencies": [] });
    metadata["packages"].as_array_mut().unwrap().push(stranger);
    assert!(arrows::judge(&metadata)[0].contains("fisc-stranger"));
}

#[test]
fn a_crate_that_is_gone_is_reported() {
    let mut metadata = workspace();
    metadata["packages"].as_array_mut().unwrap().remove(0);
    assert!(arrows::judge(&metadata)[0].contains("fisc-core"));
}

#[test]
fn empty_metadata_is_no_pass() {
    assert_eq!(arrows::judge(&json!({})).len(), 1);
}
