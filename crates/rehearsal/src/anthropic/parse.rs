//! Reads a messages request and refuses what the real service refuses.

use serde_json::Value;

use crate::directions::Directions;
use crate::request::{
    self, Prompt, Reject, Request, Thinking, Tool, ToolChoice, flag, list, number, text,
};

/// Fields that do not change what is generated, or that a proxy may edit.
const IGNORED: &[&str] = &["stream", "max_tokens"];
const THINKING_BUDGET_MIN: u64 = 1_024;

/// Reads a request for a message.
pub(crate) fn request(seed: u64, body: &Value) -> Result<Request, Reject> {
    let Some(max_tokens) = number(body, "max_tokens")? else {
        return Err(Reject::invalid("max_tokens: Field required"));
    };
    if max_tokens == 0 {
        let wrong = "max_tokens: must be greater than or equal to 1";
        return Err(Reject::invalid(wrong));
    }
    let mut request = counted(seed, body)?;
    request.max_tokens = Some(max_tokens);
    request.thinking = thinking(&body["thinking"], max_tokens)?;
    Ok(request)
}

/// Reads a request to count tokens, which needs no cap.
pub(crate) fn counted(seed: u64, body: &Value) -> Result<Request, Reject> {
    let model = text(body, "model");
    if model.is_empty() {
        return Err(Reject::invalid("model: Field required"));
    }
    let messages = messages(body)?;
    let directions = Directions::find(&last_prompt(messages)).map_err(Reject::invalid)?;
    let last = messages
        .last()
        .map_or(&[][..], |last| list(last, "content"));
    let stops = list(body, "stop_sequences")
        .iter()
        .filter_map(Value::as_str);
    Ok(Request {
        model: model.to_owned(),
        stream: flag(body, "stream"),
        max_tokens: None,
        choices: 1,
        stops: stops.map(str::to_owned).collect(),
        tools: list(body, "tools").iter().filter_map(tool).collect(),
        tool_choice: tool_choice(&body["tool_choice"]),
        after_tool: last.iter().any(|part| text(part, "type") == "tool_result"),
        thinking: Thinking::None,
        blocks: prompt(seed, body, messages).blocks,
        label: body["metadata"]["user_id"].as_str().map(str::to_owned),
        tier: "standard".to_owned(),
        include_usage: true,
        plain: true,
        directions,
        hash: request::hash(seed, body, IGNORED),
    })
}

fn messages(body: &Value) -> Result<&[Value], Reject> {
    let Some(messages) = body.get("messages") else {
        return Err(Reject::invalid("messages: Field required"));
    };
    let Some(messages) = messages.as_array() else {
        return Err(Reject::invalid("messages: Input should be a valid list"));
    };
    if messages.is_empty() {
        return Err(Reject::invalid(
            "messages: at least one message is required",
        ));
    }
    for (index, message) in messages.iter().enumerate() {
        let role = text(message, "role");
        if role == "system" {
            let wrong = "messages: Unexpected role \"system\". The Messages API accepts a \
                         top-level `system` parameter, not \"system\" as an input message role.";
            return Err(Reject::invalid(wrong));
        }
        if role != "user" && role != "assistant" {
            let wrong = format!("messages.{index}.role: Input should be 'user' or 'assistant'");
            return Err(Reject::invalid(wrong));
        }
        let content = message.get("content").unwrap_or(&Value::Null);
        if !content.is_string() && !content.is_array() {
            return Err(Reject::invalid(format!(
                "messages.{index}.content: Field required"
            )));
        }
        if role == "user" && content.as_str() == Some("") {
            let wrong = format!("messages.{index}: user messages must have non-empty content");
            return Err(Reject::invalid(wrong));
        }
    }
    Ok(messages)
}

fn prompt(seed: u64, body: &Value, messages: &[Value]) -> Prompt {
    let mut prompt = Prompt::new(seed);
    for tool in list(body, "tools") {
        prompt.open();
        prompt.text("tool", &without_mark(tool).to_string());
        prompt.mark(tool.get("cache_control"));
    }
    if let Some(system) = body.get("system").filter(|system| !system.is_null()) {
        prompt.open();
        content(&mut prompt, "system", system);
        prompt.close("system");
    }
    for message in messages {
        let role = text(message, "role");
        prompt.open();
        content(&mut prompt, role, &message["content"]);
        prompt.close(role);
    }
    // A mark on the request itself caches as far as the last block.
    prompt.mark(body.get("cache_control"));
    prompt
}

fn content(prompt: &mut Prompt, role: &str, content: &Value) {
    match content {
        Value::String(content) if !content.is_empty() => prompt.text(role, content),
        Value::Array(parts) => {
            for part in parts {
                add(prompt, role, part);
                prompt.mark(part.get("cache_control"));
            }
        }
        _ => {}
    }
}

fn add(prompt: &mut Prompt, role: &str, part: &Value) {
    match text(part, "type") {
        "text" => prompt.text(role, text(part, "text")),
        "thinking" => prompt.text(role, text(part, "thinking")),
        "tool_use" => {
            prompt.text(role, text(part, "name"));
            prompt.text(role, &part["input"].to_string());
        }
        "tool_result" => match &part["content"] {
            Value::String(result) => prompt.text("tool", result),
            Value::Array(results) => results.iter().for_each(|part| add(prompt, "tool", part)),
            _ => prompt.text("tool", ""),
        },
        _ => prompt.attachment(role, &without_mark(part)),
    }
}

/// Returns a block as the model sees it: where a cache ends does not change what it says.
fn without_mark(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(fields) = block.as_object_mut() {
        fields.remove("cache_control");
    }
    block
}

/// Returns the text of the last message of a user that holds any.
fn last_prompt(messages: &[Value]) -> String {
    let last = messages
        .iter()
        .rfind(|message| text(message, "role") == "user");
    let Some(last) = last else {
        return String::new();
    };
    match &last["content"] {
        Value::String(content) => content.clone(),
        content => {
            let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
            parts
                .iter()
                .map(|part| text(part, "text"))
                .collect::<Vec<_>>()
                .join("\n")
        }
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let name = tool.get("name")?.as_str()?.to_owned();
    Some(Tool {
        name,
        schema: tool["input_schema"].clone(),
    })
}

fn tool_choice(choice: &Value) -> ToolChoice {
    match text(choice, "type") {
        "none" => ToolChoice::Never,
        "any" => ToolChoice::Any,
        "tool" => ToolChoice::Named(text(choice, "name").to_owned()),
        _ => ToolChoice::Auto,
    }
}

fn thinking(thinking: &Value, max_tokens: u64) -> Result<Thinking, Reject> {
    match text(thinking, "type") {
        "enabled" => {
            let Some(budget) = number(thinking, "budget_tokens")? else {
                return Err(Reject::invalid(
                    "thinking.enabled.budget_tokens: Field required",
                ));
            };
            if budget < THINKING_BUDGET_MIN {
                let wrong = "thinking.enabled.budget_tokens: Input should be greater than or \
                             equal to 1024";
                return Err(Reject::invalid(wrong));
            }
            if budget >= max_tokens {
                let wrong = "`max_tokens` must be greater than `thinking.budget_tokens`.";
                return Err(Reject::invalid(wrong));
            }
            Ok(Thinking::Visible(budget))
        }
        "adaptive" => Ok(Thinking::Visible(max_tokens)),
        _ => Ok(Thinking::None),
    }
}
