//! Response headers that tell a caller where its budget stands. They reach its code, not its
//! model.

use std::fmt::Write;

use fisc::Foreseen;
use fisc_core::{Level, Money, TimeUs, Tokens};
use hyper::HeaderMap;
use hyper::header::HeaderValue;

/// Where a budget stands, for the headers of every proxied answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct BudgetHeaders {
    /// The path of the binding budget, `None` when it lies above the caller's root.
    pub(crate) budget: Option<String>,
    /// Its level.
    pub(crate) level: Level,
    /// Money that is free along the path; `None` when unlimited or not for the caller to know.
    pub(crate) cost_free: Option<Money>,
    /// Tokens that are free along the path.
    pub(crate) tokens_free: Option<Tokens>,
    /// The smaller of active time and time to the deadline.
    pub(crate) time_free: Option<TimeUs>,
    /// What will be spent at the horizon, and how long until a limit is: estimates.
    pub(crate) foreseen: Foreseen,
    /// What this call cost, when the answer's head is written after its settlement.
    pub(crate) cost: Option<Money>,
}

// === impl BudgetHeaders ===

impl BudgetHeaders {
    /// Adds the headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        insert_text(
            headers,
            "fisc-budget",
            self.budget.as_deref().unwrap_or("outer"),
        );
        headers.insert("fisc-level", HeaderValue::from_static(self.level.name()));
        if let Some(cost) = self.cost_free {
            insert_text(headers, "fisc-remaining-usd", &cost.to_decimal());
        }
        if let Some(Tokens(tokens)) = self.tokens_free {
            headers.insert("fisc-remaining-tokens", HeaderValue::from(tokens));
        }
        if let Some(TimeUs(time)) = self.time_free {
            headers.insert("fisc-remaining-ms", HeaderValue::from(time / 1000));
        }
        if let Some(cost) = self.foreseen.cost {
            insert_text(headers, "fisc-forecast-usd", &cost.to_decimal());
        }
        if let Some(TimeUs(time)) = self.foreseen.limit_in {
            headers.insert("fisc-limit-in-ms", HeaderValue::from(time / 1000));
        }
        if let Some(cost) = self.cost {
            insert_text(headers, "fisc-cost-usd", &cost.to_decimal());
        }
    }
}

impl BudgetHeaders {
    /// Says what was changed of the request, as `key=value` parts.
    pub(crate) fn write_changed(changed: &str, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(changed) {
            headers.insert("fisc-changed", value);
        }
    }
}

/// Adds a header whose text may hold any character: what is not printable ASCII is
/// percent-encoded.
pub(super) fn insert_text(headers: &mut HeaderMap, name: &'static str, text: &str) {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    let value = HeaderValue::try_from(encoded).expect("printable ASCII is a valid value");
    headers.insert(name, value);
}
