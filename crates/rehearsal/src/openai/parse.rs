//! Reads a chat completions request and refuses what the real service refuses.

use serde_json::Value;

use crate::directions::Directions;
use crate::request::{
    self, Prompt, Reject, Request, Thinking, Tool, ToolChoice, flag, list, number, text,
};

/// Fields that do not change what is generated, or that a proxy may edit.
const IGNORED: &[&str] = &[
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
];
const ROLES: &[&str] = &[
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];
const CHOICES_MAX: u64 = 128;

/// Reads a request.
pub(crate) fn request(seed: u64, body: &Value) -> Result<Request, Reject> {
    let model = text(body, "model");
    if model.is_empty() {
        return Err(Reject::invalid("you must provide a model parameter"));
    }
    let messages = messages(body)?;
    let stream = flag(body, "stream");
    let options = body
        .get("stream_options")
        .filter(|options| !options.is_null());
    if options.is_some() && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Reject::invalid(message).about("stream_options", None));
    }
    let choices = number(body, "n")?.unwrap_or(1);
    if !(1..=CHOICES_MAX).contains(&choices) {
        let message = format!("Invalid 'n': expected a value from 1 to {CHOICES_MAX}.");
        return Err(Reject::invalid(message).about("n", Some("integer_out_of_range")));
    }
    let options = options.unwrap_or(&Value::Null);
    let directions = Directions::find(&last_prompt(messages));
    let directions = directions.map_err(|error| Reject::invalid(error).about("messages", None))?;
    Ok(Request {
        model: model.to_owned(),
        stream,
        max_tokens: max_tokens(body, model)?,
        choices,
        stops: stops(&body["stop"]),
        tools: list(body, "tools").iter().filter_map(tool).collect(),
        tool_choice: tool_choice(&body["tool_choice"]),
        after_tool: messages
            .last()
            .is_some_and(|last| text(last, "role") == "tool"),
        thinking: thinking(body, model),
        blocks: prompt(seed, body, messages).blocks,
        label: label(body),
        tier: tier(body, model).to_owned(),
        include_usage: flag(options, "include_usage"),
        plain: options.get("include_obfuscation") == Some(&Value::Bool(false)),
        directions,
        hash: request::hash(seed, body, IGNORED),
    })
}

fn messages(body: &Value) -> Result<&[Value], Reject> {
    let Some(messages) = body.get("messages") else {
        let missing = Reject::invalid("Missing required parameter: 'messages'.");
        return Err(missing.about("messages", Some("missing_required_parameter")));
    };
    let Some(messages) = messages.as_array() else {
        let wrong = "Invalid type for 'messages': expected an array of objects.";
        return Err(Reject::invalid(wrong).about("messages", Some("invalid_type")));
    };
    if messages.is_empty() {
        let empty = "Invalid 'messages': empty array. Expected an array with minimum length 1, \
                     but got an empty array instead.";
        return Err(Reject::invalid(empty).about("messages", Some("empty_array")));
    }
    for (index, message) in messages.iter().enumerate() {
        let role = text(message, "role");
        if !ROLES.contains(&role) {
            let param = format!("messages[{index}].role");
            let wrong = format!("Invalid value: '{role}'. Supported values are: {ROLES:?}.");
            return Err(Reject::invalid(wrong).about(param, Some("invalid_value")));
        }
        let content = message.get("content").unwrap_or(&Value::Null);
        if content.is_null() && role != "assistant" {
            let param = format!("messages[{index}].content");
            let wrong = format!("Invalid value for '{param}': expected a string, got null.");
            return Err(Reject::invalid(wrong).about(param, Some("invalid_type")));
        }
    }
    Ok(messages)
}

fn max_tokens(body: &Value, model: &str) -> Result<Option<u64>, Reject> {
    let (old, new) = (
        number(body, "max_tokens")?,
        number(body, "max_completion_tokens")?,
    );
    if old.is_some() && new.is_some() {
        let both = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not \
                    supported.";
        return Err(
            Reject::invalid(both).about("max_tokens", Some("invalid_parameter_combination"))
        );
    }
    if old.is_some() && crate::openai::reasons(model) {
        let wrong = "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                     'max_completion_tokens' instead.";
        return Err(Reject::invalid(wrong).about("max_tokens", Some("unsupported_parameter")));
    }
    if old.or(new) == Some(0) {
        let name = if old.is_some() {
            "max_tokens"
        } else {
            "max_completion_tokens"
        };
        let wrong = format!(
            "Invalid '{name}': integer below minimum value. Expected a value >= 1, but got 0 \
             instead."
        );
        return Err(Reject::invalid(wrong).about(name, Some("integer_below_min_value")));
    }
    Ok(old.or(new))
}

fn prompt(seed: u64, body: &Value, messages: &[Value]) -> Prompt {
    let mut prompt = Prompt::new(seed);
    for tool in list(body, "tools")
        .iter()
        .chain(body.get("response_format"))
    {
        prompt.open();
        prompt.text("tool", &tool.to_string());
    }
    for message in messages {
        let role = text(message, "role");
        prompt.open();
        match message.get("content") {
            Some(Value::String(content)) if !content.is_empty() => prompt.text(role, content),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| add(&mut prompt, role, part)),
            _ => {}
        }
        for call in list(message, "tool_calls") {
            prompt.text(role, text(&call["function"], "name"));
            prompt.text(role, text(&call["function"], "arguments"));
        }
        prompt.close(role);
    }
    prompt
}

fn add(prompt: &mut Prompt, role: &str, part: &Value) {
    match text(part, "type") {
        "text" => prompt.text(role, text(part, "text")),
        "refusal" => prompt.text(role, text(part, "refusal")),
        _ => prompt.attachment(role, part),
    }
}

/// Returns the text of the last message of a user.
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

fn stops(stop: &Value) -> Vec<String> {
    match stop {
        Value::String(stop) => vec![stop.clone()],
        Value::Array(stops) => stops
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = tool.get("function")?;
    let name = function.get("name")?.as_str()?.to_owned();
    Some(Tool {
        name,
        schema: function["parameters"].clone(),
    })
}

fn tool_choice(choice: &Value) -> ToolChoice {
    match choice.as_str() {
        Some("none") => ToolChoice::Never,
        Some("required") => ToolChoice::Any,
        Some(_) => ToolChoice::Auto,
        None => match choice["function"]["name"].as_str() {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None => ToolChoice::Auto,
        },
    }
}

fn thinking(body: &Value, model: &str) -> Thinking {
    if !crate::openai::reasons(model) {
        return Thinking::None;
    }
    Thinking::Hidden(match text(body, "reasoning_effort") {
        "none" | "minimal" => 0,
        "low" => 64,
        "high" => 512,
        "xhigh" => 1_024,
        _ => 192,
    })
}

fn label(body: &Value) -> Option<String> {
    let user = body.get("user").and_then(Value::as_str);
    let label = || body["metadata"]["label"].as_str();
    user.or_else(label).map(str::to_owned)
}

/// Returns the tier that serves the call; few models have a slow and cheap one.
fn tier(body: &Value, model: &str) -> &'static str {
    match text(body, "service_tier") {
        "flex" if crate::openai::reasons(model) => "flex",
        "priority" | "fast" => "priority",
        _ => "default",
    }
}
