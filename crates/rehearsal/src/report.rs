//! What an answer reports as its usage when it is directed not to tell the truth.

use serde_json::{Value, json};

use crate::directions::Report;

const HUGE: u64 = 1_000_000_000_000;

/// Returns the reported usage; nothing when the field is to be absent.
pub(crate) fn reported(report: Report, usage: &Value) -> Option<Value> {
    match report {
        Report::Honest => Some(usage.clone()),
        Report::Absent => None,
        Report::Null => Some(Value::Null),
        Report::Zero => Some(each(usage, &|_| json!(0))),
        Report::Negative => Some(each(usage, &|number| json!(-1 - number as i64))),
        Report::Huge => Some(each(usage, &|number| json!(HUGE + number))),
        Report::Quoted => Some(each(usage, &|number| json!(number.to_string()))),
        Report::Fraction => Some(each(usage, &|number| json!(number as f64 + 0.5))),
    }
}

fn each(value: &Value, change: &dyn Fn(u64) -> Value) -> Value {
    match value {
        Value::Number(number) => number.as_u64().map_or_else(|| value.clone(), change),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), each(value, change)))
            .collect(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_keep_the_shape() {
        let usage = json!({ "a": 3, "b": { "c": 0 }, "tier": "x" });
        let lie = |report| reported(report, &usage).expect("something");
        assert_eq!(
            lie(Report::Zero),
            json!({ "a": 0, "b": { "c": 0 }, "tier": "x" })
        );
        assert_eq!(
            lie(Report::Negative),
            json!({ "a": -4, "b": { "c": -1 }, "tier": "x" })
        );
        assert_eq!(
            lie(Report::Quoted),
            json!({ "a": "3", "b": { "c": "0" }, "tier": "x" })
        );
        assert_eq!(lie(Report::Fraction)["a"], json!(3.5));
        assert!(lie(Report::Huge)["a"].as_u64() > Some(1_000_000_000));
        assert_eq!(lie(Report::Null), Value::Null);
        assert_eq!(reported(Report::Absent, &usage), None);
    }
}
