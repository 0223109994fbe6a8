//! Response headers that tell a caller where its budget stands. They reach its code, not its
//! model.

use std::fmt::Write;

use fisc::{BudgetStatus, Headroom, Level, Money, TimeUs, Timestamp, Tokens};
use fisc_core::{Amount, Resource};
use hyper::HeaderMap;
use hyper::header::HeaderValue;

/// Where a budget stands, for the headers of every proxied answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BudgetHeaders {
    /// The path of the budget, `None` when it lies above the caller's root.
    pub(crate) budget: Option<String>,
    /// The level that binds its calls.
    pub(crate) level: Level,
    /// Money that is free; `None` when unlimited or not for the caller to know.
    pub(crate) cost_free: Option<Money>,
    /// Tokens that are free.
    pub(crate) tokens_free: Option<Tokens>,
    /// The smaller of active time that is free and time to the deadline.
    pub(crate) time_free: Option<TimeUs>,
    /// What this call cost, when the answer's head is written after its settlement.
    pub(crate) cost: Option<Money>,
}

// === impl BudgetHeaders ===

impl BudgetHeaders {
    /// Takes what the budget of the call itself shows: its own limits, and the deadline that
    /// binds it. No ancestor's figures and no ancestor's name.
    pub(crate) fn of(status: &BudgetStatus, now: Timestamp) -> BudgetHeaders {
        let free = |resource| {
            let limit = status.terms.limits.get(resource)?;
            let committed = status.spent.get(resource).saturating_add(status.held.get(resource));
            Some(limit.saturating_sub(committed).max(0))
        };
        BudgetHeaders {
            budget: Some(status.path.clone()),
            level: status.binding.0,
            cost_free: free(Resource::Cost).map(Money::from_nanos),
            tokens_free: free(Resource::Tokens).map(Tokens),
            time_free: least(free(Resource::Time).map(TimeUs), left(status.deadline, now)),
            cost: None,
        }
    }

    /// Lowers what is free to what the whole path allows, where the caller may know that:
    /// when its root is the tree's.
    #[must_use]
    pub(crate) fn within(mut self, headroom: &Headroom, now: Timestamp) -> BudgetHeaders {
        let Headroom { now: free, deadline, .. } = headroom;
        let free = |resource| limited(free, resource);
        self.cost_free = least(self.cost_free, free(Resource::Cost).map(Money::from_nanos));
        self.tokens_free = least(self.tokens_free, free(Resource::Tokens).map(Tokens));
        let time = least(free(Resource::Time).map(TimeUs), left(*deadline, now));
        self.time_free = least(self.time_free, time);
        self
    }

    /// Says what the call cost.
    #[must_use]
    pub(crate) fn with_cost(mut self, cost: Money) -> BudgetHeaders {
        self.cost = Some(cost);
        self
    }

    /// Adds the headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        insert_text(headers, "fisc-budget", self.budget.as_deref().unwrap_or("outer"));
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
        if let Some(cost) = self.cost {
            insert_text(headers, "fisc-cost-usd", &cost.to_decimal());
        }
    }
}

/// Returns what is free of a resource, `None` when it is not limited anywhere.
fn limited(free: &Amount, resource: Resource) -> Option<i64> {
    Some(free.get(resource)).filter(|units| *units != i64::MAX).map(|units| units.max(0))
}

fn left(deadline: Option<Timestamp>, now: Timestamp) -> Option<TimeUs> {
    deadline.map(|deadline| deadline.since(now))
}

/// Returns the smaller of what is given.
fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
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
