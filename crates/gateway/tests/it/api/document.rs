//! The document of the API: served, committed, and the same.

use std::path::Path;

use fisc_testkit::http::Client;
use serde_json::Value;

use crate::harness::{House, Plan};

const COMMITTED: &str = "../../docs/reference/openapi.json";

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let house = House::start(Plan::default()).await;
    let client = Client::new(house.gateway.addr());
    let served = client
        .get("/v1/openapi.json")
        .await
        .expect("an answer")
        .ok();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &served.body).expect("it can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == served.text(),
        "{COMMITTED} is not what is served: UPDATE_EXPECT=1 writes it anew"
    );
    house.stop().await;
}

#[tokio::test]
async fn the_document_is_of_3_1_and_forbids_unknown_members() {
    let house = House::start(Plan::default()).await;
    let client = Client::new(house.gateway.addr());
    let document = client
        .get("/v1/openapi.json")
        .await
        .expect("an answer")
        .ok()
        .json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let requests = schemas.iter().filter(|(name, _)| name.ends_with("Request"));
    let mut count = 0;
    for (name, schema) in requests {
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{name}");
        count += 1;
    }
    assert_eq!(count, 8);
    // Whatever is referred to is there.
    let text = document.to_string();
    let mut references = 0;
    for (at, prefix) in text.match_indices("#/components/schemas/") {
        let name = text[at + prefix.len()..].split('"').next();
        let name = name.expect("a name");
        assert!(schemas.contains_key(name), "{name} is missing");
        references += 1;
    }
    assert!(references > schemas.len() / 2, "{references} references");
    house.stop().await;
}
