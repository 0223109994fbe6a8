//! Terms and figures as the budget API writes them, and as people read them.

use fisc::{Claim, Limits, Money, Permille, Resource, Terms, TimeUs, TokenCounting, Tokens};
use serde_json::{Map, Value, json};

use crate::amounts::{show_cost, show_duration, show_tokens};
use crate::remote::{Budget, Figures};

/// Writes terms as the API reads them; `counting` is what was said of it.
pub(crate) fn request(terms: &Terms, counting: Option<TokenCounting>) -> Map<String, Value> {
    let mut body = amounts(&terms.limits, counting);
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(time) = terms.elapsed {
        set("time", json!(span(time)));
    }
    if terms.reserve != Permille(0) {
        let Permille(share) = terms.reserve;
        set("reserve", json!(format!("{}.{}%", share / 10, share % 10)));
    }
    if terms.claim == Claim::Limit {
        set("share", json!("static"));
    }
    if terms.sharing != fisc::Sharing::default() {
        set("sharing", json!(terms.sharing.name()));
    }
    if terms.weight != fisc::Weight::default() {
        set("weight", json!(terms.weight.0));
    }
    if !terms.need.is_none() {
        set("need", Value::Object(amounts(&terms.need, counting)));
    }
    body
}

/// Writes a time as the API reads it, exactly.
pub(crate) fn span(TimeUs(micros): TimeUs) -> String {
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

/// Returns what says before a number of tokens how they are counted.
pub(crate) fn prefix(counting: TokenCounting) -> &'static str {
    match counting {
        TokenCounting::Fresh => "fresh:",
        TokenCounting::Total => "total:",
        TokenCounting::Input => "in:",
        TokenCounting::Output => "out:",
    }
}

/// Shows a budget's figures in a line.
pub(crate) fn line(budget: &Budget) -> String {
    let amounts = Resource::ALL.into_iter().filter_map(|resource| {
        let spent = get(&budget.spent, resource).unwrap_or(0);
        match get(&budget.limit, resource) {
            Some(limit) => {
                let (spent, limit) = (show(resource, spent), show(resource, limit));
                Some(format!("{spent} of {limit}"))
            }
            None if resource == Resource::Time || spent == 0 => None,
            None => Some(show(resource, spent)),
        }
    });
    let amounts: Vec<String> = amounts.collect();
    let amounts = match amounts.as_slice() {
        [] => "nothing spent".to_owned(),
        amounts => amounts.join(" · "),
    };
    format!("{}  {amounts}", budget.path)
}

/// Shows what there is of an amount.
pub(crate) fn amount(units: impl Fn(Resource) -> i64) -> String {
    let parts = Resource::ALL.into_iter().filter(|of| units(*of) != 0);
    let parts: Vec<String> = parts.map(|of| show(of, units(of))).collect();
    parts.join(" · ")
}

/// Returns one resource of an amount.
pub(crate) fn get(figures: &Figures, resource: Resource) -> Option<i64> {
    match resource {
        Resource::Tokens => figures.tokens,
        Resource::Cost => figures.cost_nanousd,
        Resource::Time => figures.time_us,
    }
}

fn amounts(limits: &Limits, counting: Option<TokenCounting>) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(nanos) = limits.get(Resource::Cost) {
        set("cost", json!(Money::from_nanos(nanos).to_decimal()));
    }
    if let Some(tokens) = limits.get(Resource::Tokens) {
        set(
            "tokens",
            json!(format!("{}{tokens}", counting.map_or("", prefix))),
        );
    }
    if let Some(micros) = limits.get(Resource::Time) {
        set("active_time", json!(span(TimeUs(micros))));
    }
    body
}

/// Shows units of one resource.
pub(crate) fn show(resource: Resource, units: i64) -> String {
    match resource {
        Resource::Tokens => format!("{} tokens", show_tokens(Tokens(units))),
        Resource::Cost => show_cost(Money::from_nanos(units)),
        Resource::Time => format!("{} in calls", show_duration(TimeUs(units))),
    }
}
