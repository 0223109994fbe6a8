//! What costs nothing: the control plane of the rehearsal, and the lists of models.

use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{Shared, reply};
use crate::body::Player;
use crate::request::Reject;
use crate::truth::Wire;
use crate::{anthropic, openai};

/// 2025-01-01, in seconds since 1970.
const CREATED: u64 = 1_735_689_600;

/// Answers a command of the control plane.
pub(super) fn answer(
    shared: &Shared,
    command: &str,
    method: &Method,
    query: Option<&str>,
) -> Response<Player> {
    match (method, command) {
        (&Method::GET, "truth") => {
            let mut pairs = query.unwrap_or_default().split('&');
            let since = pairs.find_map(|pair| pair.strip_prefix("since="));
            match since.map_or(Ok(0), str::parse) {
                Ok(since) => truth(shared, since),
                Err(_) => problem(StatusCode::BAD_REQUEST, "since is not a number"),
            }
        }
        (&Method::POST, "reset") => {
            shared.reset();
            reply::json(StatusCode::OK, b"{}\n".to_vec())
        }
        _ => problem(
            StatusCode::NOT_FOUND,
            "there are GET /rehearsal/truth and POST /rehearsal/reset",
        ),
    }
}

/// Says which wire a client speaks that asks for something both wires have.
pub(super) fn wire(headers: &HeaderMap) -> Wire {
    if headers.contains_key("anthropic-version") {
        Wire::Anthropic
    } else {
        Wire::OpenAi
    }
}

/// Lists the models.
pub(super) fn models(headers: &HeaderMap) -> Response<Player> {
    let body = match wire(headers) {
        Wire::OpenAi => {
            let models: Vec<Value> = openai::models().map(openai_model).collect();
            json!({ "object": "list", "data": models })
        }
        Wire::Anthropic => {
            let models: Vec<Value> = anthropic::models().map(anthropic_model).collect();
            json!({
                "first_id": models.first().map(|model| model["id"].clone()),
                "last_id": models.last().map(|model| model["id"].clone()),
                "data": models,
                "has_more": false,
            })
        }
    };
    reply::json(StatusCode::OK, body.to_string().into_bytes())
}

/// Describes one model.
pub(super) fn model(headers: &HeaderMap, name: &str) -> Response<Player> {
    let wire = wire(headers);
    let found = match wire {
        Wire::OpenAi => openai::models()
            .find(|model| *model == name)
            .map(openai_model),
        Wire::Anthropic => {
            let dated = anthropic::snapshot(name);
            anthropic::models()
                .find(|(model, _)| *model == dated)
                .map(anthropic_model)
        }
    };
    if let Some(model) = found {
        return reply::json(StatusCode::OK, model.to_string().into_bytes());
    }
    let message = format!("The model '{name}' does not exist");
    let kind = match wire {
        Wire::OpenAi => "invalid_request_error",
        Wire::Anthropic => "not_found_error",
    };
    let reject = Reject {
        status: 404,
        kind,
        ..Reject::invalid(message)
    };
    reply::error(wire, "req_model", &reject, None)
}

fn truth(shared: &Shared, since: u64) -> Response<Player> {
    let mut body = Vec::new();
    for record in shared.log.after(since) {
        serde_json::to_writer(&mut body, &record).expect("records have no fallible parts");
        body.push(b'\n');
    }
    reply::lines(body)
}

fn problem(status: StatusCode, message: &str) -> Response<Player> {
    reply::json(status, json!({ "error": message }).to_string().into_bytes())
}

fn openai_model(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "rehearsal" })
}

fn anthropic_model((id, shown): (&str, &str)) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": shown,
        "created_at": "2025-01-01T00:00:00Z",
        "lifecycle": "active",
    })
}
