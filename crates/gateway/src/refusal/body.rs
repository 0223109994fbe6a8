//! The body of a refusal: the same facts in the shape of each wire.

use fisc_core::Resource;
use serde_json::{Value, json};

use super::{BudgetFacts, Refusal, RefusalKind, message};
use crate::routes::Provider;

/// Writes the body as JSON.
pub(super) fn write(refusal: &Refusal, provider: Provider, request_id: &str) -> String {
    let row = refusal.kind.row();
    let message = message::write(refusal);
    let time_over = refusal.kind == RefusalKind::TimeOver;
    let budget = refusal
        .budget
        .as_ref()
        .map(|facts| budget(facts, time_over));
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

fn budget(facts: &BudgetFacts, time_over: bool) -> Value {
    let no_amount = time_over.then_some("time");
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
        BudgetFacts::Own { path, short: None } => json!({ "path": path, "resource": no_amount }),
        BudgetFacts::Outer { resource } => json!({
            "path": null,
            "outer": true,
            "resource": resource.map(Resource::name).or(no_amount),
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
