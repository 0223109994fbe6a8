//! The `OpenAI` wire: chat completions, as the real service speaks them.

pub(crate) mod answer;
pub(crate) mod parse;

use serde_json::{Value, json};

use crate::cache::CacheUse;
use crate::plan::Plan;
use crate::request::{Reject, Request};
use crate::truth::Canonical;

/// The dated models behind the names that people use.
const SNAPSHOTS: &[(&str, &str)] = &[
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("gpt-4.1", "gpt-4.1-2025-04-14"),
    ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14"),
    ("gpt-5", "gpt-5-2025-08-07"),
    ("gpt-5-mini", "gpt-5-mini-2025-08-07"),
    ("gpt-5-nano", "gpt-5-nano-2025-08-07"),
    ("o3", "o3-2025-04-16"),
    ("o3-mini", "o3-mini-2025-01-31"),
    ("o4-mini", "o4-mini-2025-04-16"),
];

/// Returns the models that are listed.
pub(crate) fn models() -> impl Iterator<Item = &'static str> {
    SNAPSHOTS.iter().map(|(name, _)| *name)
}

/// Returns the model that answers for `model`.
pub(crate) fn snapshot(model: &str) -> &str {
    let dated = SNAPSHOTS.iter().find(|(name, _)| *name == model);
    dated.map_or(model, |(_, dated)| dated)
}

/// Says whether a model reasons before it answers.
pub(crate) fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["o1", "o3", "o4", "gpt-5"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Returns the true usage, as the wire spells it and in disjoint classes.
pub(crate) fn usage(request: &Request, plan: &Plan, cache: CacheUse) -> (Value, Canonical) {
    let prompt = request.input_tokens();
    let (output, reasoning) = (plan.output(), plan.reasoning());
    let usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": output + reasoning,
        "total_tokens": prompt + output + reasoning,
        "prompt_tokens_details": { "cached_tokens": cache.read, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    });
    let canonical = Canonical {
        input: prompt - cache.read,
        cache_read: cache.read,
        output,
        reasoning,
        ..Canonical::default()
    };
    (usage, canonical)
}

/// Returns the body of an error.
pub(crate) fn error(reject: &Reject) -> Value {
    json!({ "error": {
        "message": reject.message,
        "type": reject.kind,
        "param": reject.param,
        "code": reject.code,
    } })
}

/// Returns the error that a directed or drawn status means.
pub(crate) fn failure(status: u16) -> Reject {
    let (kind, code, message) = match status {
        429 => (
            "requests",
            Some("rate_limit_exceeded"),
            "Rate limit reached for requests. Please try again in 1s.",
        ),
        503 | 529 => ("server_error", None, "The engine is currently overloaded."),
        500.. => (
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
        ),
        402 => (
            "insufficient_quota",
            Some("insufficient_quota"),
            "You exceeded what your plan allows, please check your billing details.",
        ),
        _ => ("invalid_request_error", None, "The request was refused."),
    };
    Reject {
        status,
        kind,
        message: message.to_owned(),
        param: None,
        code,
    }
}
