//! The body of a refusal: the same facts in the shape of each wire.

use fisc_core::Resource;
use serde_json::{Value, json};

use super::{BudgetFacts, Refusal, message};
use crate::routes::Provider;

/// Writes the body as JSON.
pub(super) fn write(refusal: &Refusal, provider: Provider, request_id: &str) -> String {
    let row = refusal.kind.row();
    let message = message::write(refusal);
    let budget = refusal.budget.as_ref().map(budget);
    let body = match provider {
        Provider::OpenAi => {
            let mut error = json!({
                "message": message,
                "type": row.openai,
                "code": row.code,
                "param": null,
            });
            if let Some(budget) = budget {
                error["budget"] = budget;
            }
            json!({ "error": error })
        }
        Provider::Anthropic => {
            let mut details = json!({ "error_code": row.code });
            if let Some(budget) = budget {
                details["budget"] = budget;
            }
            let error = json!({
                "type": row.anthropic,
                "message": message,
                "details": details,
            });
            json!({ "type": "error", "error": error, "request_id": request_id })
        }
    };
    body.to_string()
}

fn budget(facts: &BudgetFacts) -> Value {
    match facts {
        BudgetFacts::Own {
            path,
            short: Some(short),
        } => {
            let mut facts = json!({
                "path": path,
                "resource": short.resource.name(),
                "unit": unit(short.resource),
                "limit": short.limit,
                "spent": short.spent,
                "held": short.held,
                "needed": short.needed,
            });
            if short.kept > 0 {
                facts["reserve"] = short.kept.into();
            }
            facts
        }
        BudgetFacts::Own { path, short: None } => json!({ "path": path, "resource": "time" }),
        BudgetFacts::Outer { resource } => json!({
            "path": null,
            "outer": true,
            "resource": resource.map_or("time", Resource::name),
        }),
    }
}

fn unit(resource: Resource) -> &'static str {
    match resource {
        Resource::Tokens => "tokens",
        Resource::Cost => "nano_usd",
        Resource::Time => "us",
    }
}
