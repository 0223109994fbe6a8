//! The Anthropic wire: messages, as the real service speaks them.

pub(crate) mod answer;
pub(crate) mod parse;

use serde_json::{Value, json};

use crate::cache::CacheUse;
use crate::plan::Plan;
use crate::request::{Reject, Request};
use crate::truth::Canonical;

/// The dated models behind the names that people use, with their names for reading.
const SNAPSHOTS: &[(&str, &str, &str)] = &[
    (
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
    ),
    (
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
    ),
    (
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
    ),
    (
        "claude-3-5-haiku-latest",
        "claude-3-5-haiku-20241022",
        "Claude Haiku 3.5",
    ),
];

/// Returns the models that are listed: dated names and names for reading.
pub(crate) fn models() -> impl Iterator<Item = (&'static str, &'static str)> {
    SNAPSHOTS.iter().map(|(_, dated, shown)| (*dated, *shown))
}

/// Returns the model that answers for `model`.
pub(crate) fn snapshot(model: &str) -> &str {
    let dated = SNAPSHOTS.iter().find(|(name, ..)| *name == model);
    dated.map_or(model, |(_, dated, _)| dated)
}

/// Returns the true usage, as the wire spells it and in disjoint classes.
pub(crate) fn usage(request: &Request, plan: &Plan, cache: CacheUse) -> (Value, Canonical) {
    let written = cache.write_5m + cache.write_1h;
    let input = request.input_tokens() - cache.read - written;
    let (output, reasoning) = (plan.output(), plan.reasoning());
    let usage = json!({
        "input_tokens": input,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cache.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.write_5m,
            "ephemeral_1h_input_tokens": cache.write_1h,
        },
        "output_tokens": output + reasoning,
        "output_tokens_details": { "thinking_tokens": reasoning },
        "service_tier": request.tier,
    });
    let canonical = Canonical {
        input,
        cache_read: cache.read,
        cache_write_5m: cache.write_5m,
        cache_write_1h: cache.write_1h,
        output,
        reasoning,
    };
    (usage, canonical)
}

/// Returns the body of an error.
pub(crate) fn error(reject: &Reject, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": { "type": reject.kind, "message": reject.message },
        "request_id": request_id,
    })
}

/// Returns the error that a directed or drawn status means.
pub(crate) fn failure(status: u16) -> Reject {
    let (kind, message) = match status {
        429 => (
            "rate_limit_error",
            "This request would exceed your rate limit.",
        ),
        529 => ("overloaded_error", "Overloaded"),
        500.. => ("api_error", "Internal server error"),
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "Your credit balance is too low."),
        403 => ("permission_error", "The key may not use this resource."),
        404 => ("not_found_error", "Not found"),
        413 => ("request_too_large", "The request exceeds the maximum size."),
        _ => ("invalid_request_error", "The request was refused."),
    };
    Reject {
        status,
        kind,
        message: message.to_owned(),
        param: None,
        code: None,
    }
}
