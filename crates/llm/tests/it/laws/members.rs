//! The members of an object as another parser finds them, each value as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// Names and values in their order.
struct Members<'a>(Vec<(String, &'a str)>);

/// Visits the members of an object.
struct InOrder;

/// Lists the members of an object; `None` for anything else.
pub(crate) fn members(object: &[u8]) -> Option<Vec<(String, &str)>> {
    let Members(members) = serde_json::from_slice(object).ok()?;
    Some(members)
}

// === impl Members ===

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Members<'de>, D::Error> {
        from.deserialize_map(InOrder)
    }
}

// === impl InOrder ===

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, value.get()));
        }
        Ok(Members(members))
    }
}
