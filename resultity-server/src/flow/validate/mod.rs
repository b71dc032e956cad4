//! `validate`: a request becomes a [`ValidJob`] or an error that names the field. Later stages can't skip it.

use std::time::Duration;

use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::{JobKind, Priority};
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Content};
use resultity_core::wire::MAX_FRAME_BYTES;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Fields that name who asks, or that only mean something to us: they never reach a node.
const KEPT_FROM_NODES: [&str; 7] = [
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "store",
    "service_tier",
    "prompt_cache_retention",
];

/// The most bytes of a body that goes to a node: it has to fit into a frame.
const MAX_NODE_BODY: usize = MAX_FRAME_BYTES - 64 * 1024;

/// The most choices of one request.
const MAX_CHOICES: u64 = 16;

/// The most stop texts, as OpenAI has it.
const MAX_STOPS: usize = 4;

/// A request that can be admitted: within all limits, with bounds on what it can cost.
#[derive(Debug)]
pub struct ValidJob {
    /// What is asked of a node.
    pub kind: JobKind,
    /// The entry of the snapshot that answers it.
    pub model: ModelSpec,
    /// The name that was asked for; answers echo it.
    pub asked_model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a stream ends with the token counts.
    pub include_usage: bool,
    /// How many choices.
    pub choices: u64,
    /// The most tokens that the prompt can have.
    pub max_prompt_tokens: u64,
    /// The most tokens that can be made, over all choices.
    pub max_completion_tokens: u64,
    /// The most that it can cost.
    pub ceiling: Credits,
    /// What goes to the node.
    pub body: Box<RawValue>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it may take in all, if that is less than the snapshot allows.
    pub ttl: Option<Duration>,
}

/// Checks a request against OpenAI's rules and the model's limits.
pub fn chat(mut request: ChatRequest, stream: bool, model: &ModelSpec) -> Result<ValidJob, ApiError> {
    check_messages(&request)?;
    check_range("temperature", request.temperature, 0.0, 2.0)?;
    check_range("top_p", request.top_p, 0.0, 1.0)?;
    check_penalty(&request, "frequency_penalty")?;
    check_penalty(&request, "presence_penalty")?;
    let choices = request.n.unwrap_or(1);
    if !(1..=MAX_CHOICES).contains(&choices) {
        return Err(invalid(
            "n",
            format!("n must be from 1 to {MAX_CHOICES}, but is {choices}"),
        ));
    }
    if let Some(stop) = &request.stop
        && stop.texts().len() > MAX_STOPS
    {
        return Err(invalid(
            "stop",
            format!("at most {MAX_STOPS} stop texts, but there are {}", stop.texts().len()),
        ));
    }
    if request.stream_options.is_some() && !stream {
        return Err(invalid(
            "stream_options",
            "stream_options is only allowed when stream is true",
        ));
    }
    let limit = token_limit(&request, model)?;
    let max_prompt_tokens = prompt_bound(&request, model).min(model.context_length);
    let max_completion_tokens = limit.saturating_mul(choices);
    let include_usage = request.wants_usage();

    let asked_model = std::mem::replace(&mut request.model, model.name.clone());
    for field in KEPT_FROM_NODES {
        request.extra.remove(field);
    }
    request.stream = Some(stream);
    request.stream_options = None;
    request.max_completion_tokens = None;
    request.max_tokens = Some(limit);
    let body = serde_json::value::to_raw_value(&request)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the request could not be encoded").with_source(error))?;

    // Numbers may be longer now than they came.
    if body.get().len() > MAX_NODE_BODY {
        return Err(ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the request is larger than {MAX_NODE_BODY} bytes once it is written out for a node"),
        ));
    }

    Ok(ValidJob {
        kind: JobKind::ChatCompletion,
        priority: Priority::Normal,
        ttl: None,
        ceiling: model.price.cost(max_prompt_tokens, max_completion_tokens),
        model: model.clone(),
        asked_model,
        stream,
        include_usage,
        choices,
        max_prompt_tokens,
        max_completion_tokens,
        body,
    })
}

fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

fn check_messages(request: &ChatRequest) -> Result<(), ApiError> {
    if request.messages.is_empty() {
        return Err(invalid("messages", "messages must hold at least one message"));
    }
    for (index, message) in request.messages.iter().enumerate() {
        let role = message.role.as_str();
        if !matches!(
            role,
            "system" | "developer" | "user" | "assistant" | "tool" | "function"
        ) {
            return Err(invalid(
                format!("messages[{index}].role"),
                "role must be one of system, developer, user, assistant, tool, function",
            ));
        }
        match &message.content {
            Some(Content::Parts(parts)) if parts.is_empty() => {
                return Err(invalid(
                    format!("messages[{index}].content"),
                    "content must not be an empty array",
                ));
            }
            Some(Content::Parts(parts)) => {
                for (part_index, part) in parts.iter().enumerate() {
                    if !part.get("type").is_some_and(Value::is_string) {
                        return Err(invalid(
                            format!("messages[{index}].content[{part_index}].type"),
                            "every content part needs a type such as \"text\"",
                        ));
                    }
                }
            }
            None if !matches!(role, "assistant" | "function") => {
                return Err(ApiError::new(
                    ErrorCode::MissingField,
                    format!("a message of role {role} needs content: a text or an array of content parts"),
                )
                .with_param(format!("messages[{index}].content")));
            }
            Some(Content::Text(_)) | None => {}
        }
    }
    Ok(())
}

fn check_range(field: &str, value: Option<f64>, low: f64, high: f64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(invalid(
            field,
            format!("{field} must be from {low} to {high}, but is {value}"),
        )),
        _ => Ok(()),
    }
}

fn check_penalty(request: &ChatRequest, field: &str) -> Result<(), ApiError> {
    match request.extra.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => match value.as_f64() {
            Some(number) => check_range(field, Some(number), -2.0, 2.0),
            None => Err(invalid(field, format!("{field} must be a number from -2 to 2"))),
        },
    }
}

/// The most tokens per choice: what the request says, else the model's default.
fn token_limit(request: &ChatRequest, model: &ModelSpec) -> Result<u64, ApiError> {
    let field = if request.max_completion_tokens.is_some() {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    match request.token_limit() {
        Some(0) => Err(invalid(field, format!("{field} must be at least 1"))),
        Some(limit) if limit > model.context_length => Err(ApiError::new(
            ErrorCode::ContextLengthExceeded,
            format!(
                "{field} is {limit}, but the model's context holds {} tokens in all",
                model.context_length
            ),
        )
        .with_param(field)),
        Some(limit) => Ok(limit),
        None => Ok(model.default_max_tokens.clamp(1, model.context_length.max(1))),
    }
}

/// No tokenizer makes more tokens than there are bytes; a chat template adds a few for each message and around all, and may
/// write tools and the like into the prompt. What an image or a sound makes is not known here: as much as fits.
fn prompt_bound(request: &ChatRequest, model: &ModelSpec) -> u64 {
    const PER_MESSAGE: u64 = 16;
    const AROUND_ALL: u64 = 64;
    let is_text = |part: &Map<String, Value>| part.get("type").and_then(Value::as_str) == Some("text");
    let mut bound = AROUND_ALL + written(&request.extra);
    for message in &request.messages {
        let content = match &message.content {
            Some(Content::Text(text)) => text.len() as u64,
            Some(Content::Parts(parts)) if !parts.iter().all(is_text) => return model.context_length,
            Some(Content::Parts(parts)) => parts.iter().map(written).sum(),
            None => 0,
        };
        bound += content + written(&message.extra) + message.role.len() as u64 + PER_MESSAGE;
    }
    bound
}

/// Bytes of fields once they are written out.
fn written(fields: &Map<String, Value>) -> u64 {
    if fields.is_empty() {
        0
    } else {
        serde_json::to_string(fields).map_or(0, |text| text.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::model;
    use resultity_core::openai::chat::Message;
    use serde_json::json;

    fn check(body: Value) -> Result<ValidJob, ApiError> {
        chat(serde_json::from_value(body).unwrap(), false, &model())
    }

    #[test]
    fn bad_requests_name_the_field() {
        let hi = json!([{"role": "user", "content": "hi"}]);
        let cases = [
            (json!({"model": "m", "messages": []}), "messages"),
            (
                json!({"model": "m", "messages": [{"role": "boss", "content": "hi"}]}),
                "messages[0].role",
            ),
            (
                json!({"model": "m", "messages": [{"role": "user"}]}),
                "messages[0].content",
            ),
            (
                json!({"model": "m", "messages": [{"role": "user", "content": []}]}),
                "messages[0].content",
            ),
            (
                json!({"model": "m", "messages": [{"role": "user", "content": [{}]}]}),
                "messages[0].content[0].type",
            ),
            (json!({"model": "m", "messages": hi, "temperature": 2.1}), "temperature"),
            (json!({"model": "m", "messages": hi, "top_p": -0.1}), "top_p"),
            (json!({"model": "m", "messages": hi, "n": 0}), "n"),
            (json!({"model": "m", "messages": hi, "n": 17}), "n"),
            (json!({"model": "m", "messages": hi, "max_tokens": 0}), "max_tokens"),
            (
                json!({"model": "m", "messages": hi, "max_completion_tokens": 1_000_000}),
                "max_completion_tokens",
            ),
            (
                json!({"model": "m", "messages": hi, "stop": ["a", "b", "c", "d", "e"]}),
                "stop",
            ),
            (
                json!({"model": "m", "messages": hi, "stream_options": {}}),
                "stream_options",
            ),
            (
                json!({"model": "m", "messages": hi, "presence_penalty": "x"}),
                "presence_penalty",
            ),
        ];
        for (body, param) in cases {
            let error = check(body.clone()).expect_err(&body.to_string());
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
            assert_eq!(error.code.http_status(), Some(400), "{body}");
        }
    }

    #[test]
    fn nothing_that_names_the_asker_reaches_a_node() {
        let valid = check(json!({
            "model": "alias", "messages": [{"role": "user", "content": "hi"}], "user": "me", "metadata": {"a": "b"},
            "safety_identifier": "x", "prompt_cache_key": "y", "seed": 3, "unknown": true,
        }))
        .unwrap();
        let body: Value = serde_json::from_str(valid.body.get()).unwrap();
        let mut fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["max_tokens", "messages", "model", "seed", "stream", "unknown"]);
        assert_eq!(body["model"], model().name);
        assert_eq!(valid.asked_model, "alias");
    }

    #[test]
    fn the_ceiling_covers_every_byte_of_the_prompt_and_every_choice() {
        let request = ChatRequest::new("m", [Message::user("x".repeat(100))])
            .max_tokens(10)
            .with("n", 2);
        let request = serde_json::from_value(serde_json::to_value(&request).unwrap()).unwrap();
        let valid = chat(request, true, &model()).unwrap();
        assert!(valid.max_prompt_tokens >= 100);
        assert_eq!(valid.max_completion_tokens, 20);
        assert_eq!(valid.ceiling, model().price.cost(valid.max_prompt_tokens, 20));
    }
}
