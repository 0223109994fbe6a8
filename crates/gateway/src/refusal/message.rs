//! The sentence of a refusal: which budget, how much of what, and what to do about it.
//!
//! Every client shows this text as it is, so it says all of it without the typed fields.

use std::fmt::Write;

use fisc_core::{Money, Resource};

use super::{BudgetFacts, Figures, Refusal, RefusalKind};

/// Writes the message.
pub(super) fn write(refusal: &Refusal) -> String {
    let detail = refusal.detail.as_deref();
    match refusal.kind {
        RefusalKind::BudgetExhausted
        | RefusalKind::TimeOver
        | RefusalKind::BudgetFrozen
        | RefusalKind::BudgetReleased
        | RefusalKind::RequestExceedsBudget
        | RefusalKind::RequestExceedsCallLimit
        | RefusalKind::BudgetThrottled
        | RefusalKind::BudgetReserved => {
            let mut text = of_budget(refusal);
            if let Some(detail) = detail {
                let _ = write!(text, " ({detail})");
            }
            text
        }
        RefusalKind::ModelUnpriced => format!(
            "model '{}' has no known price and a cost budget applies. Add its price to the \
             price overlay, or use a model that has one",
            detail.unwrap_or("unknown"),
        ),
        RefusalKind::OptionalDeclined => format!(
            "the call is marked optional, and its budget is at level {}. Go on without it",
            detail.unwrap_or("orange"),
        ),
        RefusalKind::StoreUnavailable => with(
            "the budget's ledger cannot record holds right now; nothing was sent",
            detail,
        ),
        RefusalKind::UnmeteredPath => format!(
            "{} is not metered, so it is refused under a budget of tokens or cost. Use \
             /v1/chat/completions or /v1/messages",
            detail.unwrap_or("the path"),
        ),
        RefusalKind::TooLarge => with("the request's body is too large", detail),
        RefusalKind::ContentEncoding => with("send the request's body without encoding", detail),
        RefusalKind::SlowBody => with("the request's body came too slowly", detail),
        RefusalKind::UpstreamUnreachable => with(
            "the upstream cannot be reached; nothing was sent or charged",
            detail,
        ),
        RefusalKind::UpstreamBroken => with(
            "the upstream broke off; what it may have generated is charged",
            detail,
        ),
        RefusalKind::ShuttingDown => with("the gateway shuts down", detail),
        RefusalKind::UpstreamTimeout => with(
            "the upstream did not answer within the time of a call",
            detail,
        ),
        RefusalKind::Unauthorized
        | RefusalKind::OriginRefused
        | RefusalKind::HostRefused
        | RefusalKind::BadName
        | RefusalKind::BadRequest => detail.unwrap_or("the request is not acceptable").to_owned(),
    }
}

fn of_budget(refusal: &Refusal) -> String {
    let (name, short) = match &refusal.budget {
        Some(BudgetFacts::Own { path, short }) => (format!("budget '{path}'"), short.as_ref()),
        Some(BudgetFacts::Outer { .. }) => ("an outer budget".to_owned(), None),
        None => ("the budget".to_owned(), None),
    };
    let wait = refusal.wait().map_or(0, |wait| wait.as_secs());
    let limit = match &refusal.budget {
        Some(BudgetFacts::Outer { .. }) => "Ask its owner to raise it".to_owned(),
        _ => format!(
            "Raise its {} limit",
            short.map_or("time", |short| noun(short.resource))
        ),
    };
    match (refusal.kind, short) {
        (RefusalKind::TimeOver, _) => {
            format!("the time of {name} is over. {limit}; a retry cannot succeed")
        }
        (RefusalKind::BudgetFrozen, _) => {
            format!("{name} is frozen by its owner; calls are admitted again when it is thawed")
        }
        (RefusalKind::BudgetReleased, _) => {
            format!("{name} was released: its work is done. A retry cannot succeed")
        }
        (RefusalKind::RequestExceedsBudget, Some(short)) => format!(
            "this call needs up to {}, more than {name} has in all ({}{}). Send less input or a \
             smaller max_tokens, or raise the limit",
            shown(short.resource, short.needed),
            shown(short.resource, short.limit),
            kept(short),
        ),
        (RefusalKind::RequestExceedsCallLimit, Some(short)) => format!(
            "this call needs up to {}, {name} allows {} for one call. Send less input or a \
             smaller max_tokens, or raise the limit of a call",
            shown(short.resource, short.needed),
            shown(short.resource, short.limit),
        ),
        (RefusalKind::RequestExceedsBudget | RefusalKind::RequestExceedsCallLimit, None) => {
            format!(
                "this call is larger than {name} allows. Send less input or a smaller max_tokens"
            )
        }
        (RefusalKind::BudgetThrottled, _) => {
            format!("calls of {name} are slowed to make what is left last. Retry in {wait} s")
        }
        (RefusalKind::BudgetReserved, short) => format!(
            "{name} has no room right now{}. Retry in {wait} s, when calls in flight have ended",
            short.map(figures).unwrap_or_default(),
        ),
        (_, short) => format!(
            "{name} is exhausted{}. {limit}; a retry cannot succeed",
            short.map(figures).unwrap_or_default(),
        ),
    }
}

/// Writes `: $1.10 of $1.20 used, $0.05 held by calls in flight, this call needs up to $0.10`.
fn figures(short: &Figures) -> String {
    let shown = |units| shown(short.resource, units);
    let mut text = format!(": {} of {} used", shown(short.spent), shown(short.limit));
    text.push_str(&kept(short));
    if short.held > 0 {
        let _ = write!(text, ", {} held by calls in flight", shown(short.held));
    }
    let _ = write!(text, ", this call needs up to {}", shown(short.needed));
    text
}

/// Writes `, $0.06 kept for wrapping up` where something is.
fn kept(short: &Figures) -> String {
    if short.kept == 0 {
        return String::new();
    }
    let kept = shown(short.resource, short.kept);
    format!(", {kept} kept for wrapping up")
}

fn shown(resource: Resource, units: i64) -> String {
    match resource {
        Resource::Tokens => format!("{units} tokens"),
        Resource::Cost => Money::from_nanos(units).to_string(),
        Resource::Time => {
            let millis = units / 1000;
            format!("{}.{:03} s", millis / 1000, (millis % 1000).abs())
        }
    }
}

fn noun(resource: Resource) -> &'static str {
    match resource {
        Resource::Tokens => "token",
        Resource::Cost => "cost",
        Resource::Time => "active-time",
    }
}

fn with(text: &str, detail: Option<&str>) -> String {
    detail.map_or_else(|| text.to_owned(), |detail| format!("{text}: {detail}"))
}
