//! A request for a response becomes one for a chat completion. Pure. What a chat completion cannot say is refused by name;
//! all values are then checked where those of chat completions are, and what is wrong there gets its name here back.

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::response::{InputItem, ResponseInput, ResponseRequest, ResponseTool, TextFormat};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::messages::{Origins, messages};

/// Fields of ours that are no fields of a chat completion: why each is refused.
const NOT_HERE: [(&str, &str); 8] = [
    (
        "conversation",
        "there are no conversations here; name the response to go on from in previous_response_id",
    ),
    ("prompt", "there are no stored prompts here"),
    ("context_management", "a context is never shortened here"),
    ("moderation", "there is no moderation here"),
    (
        "background_options",
        "responses in the background have the deadline of all jobs",
    ),
    ("access_programs", "there are none here"),
    ("image", "images are passed on as they are"),
    ("messages", "the messages of a response are its input"),
];

/// Fields of a chat completion that have another name here.
const OTHER_NAME: [(&str, &str); 9] = [
    ("max_tokens", "max_output_tokens"),
    ("max_completion_tokens", "max_output_tokens"),
    ("response_format", "text.format"),
    ("reasoning_effort", "reasoning.effort"),
    ("verbosity", "text.verbosity"),
    ("logprobs", "top_logprobs"),
    ("functions", "tools"),
    ("function_call", "tool_choice"),
    ("n", "a request for each answer"),
];

/// What else a response may be asked to hold. All but the log-probabilities belong to tools that are not here, or name what
/// is in every answer anyway.
const INCLUDABLE: [&str; 8] = [
    LOGPROBS,
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];

const LOGPROBS: &str = "message.output_text.logprobs";

/// A request for a chat completion that says the same.
#[derive(Debug)]
pub(super) struct Translated {
    /// What is asked of the model.
    pub(super) chat: ChatRequest,
    /// Where each message came from.
    pub(super) origins: Origins,
}

/// A field that cannot be served here.
pub(super) fn refused(param: impl Into<String>, why: &str) -> ApiError {
    let param = param.into();
    ApiError::new(
        ErrorCode::UnsupportedParameter,
        format!("{param} is not supported: {why}"),
    )
    .with_param(param)
}

/// A field with a value that it cannot have.
pub(super) fn invalid(param: impl Into<String>, must: &str) -> ApiError {
    let param = param.into();
    ApiError::new(ErrorCode::InvalidValue, format!("{param} {must}")).with_param(param)
}

/// Says the same as a chat completion. The first `inherited` items of the input come from the previous response.
pub(super) fn translate(request: &ResponseRequest, inherited: usize) -> Result<Translated, ApiError> {
    check_modes(request)?;
    let (messages, origins) = match &request.input {
        ResponseInput::Text(text) => {
            let items = [InputItem::message("user", text)];
            messages(request.instructions.as_deref(), &items, Origins::of_text())?
        }
        ResponseInput::Items(items) => messages(request.instructions.as_deref(), items, Origins::of_items(inherited))?,
    };
    let chat = chat(request, messages)?;
    Ok(Translated { chat, origins })
}

fn check_modes(request: &ResponseRequest) -> Result<(), ApiError> {
    if request.is_background() && !request.is_stored() {
        return Err(invalid(
            "store",
            "must be true for a response in the background: nobody could come for it",
        ));
    }
    for (name, value) in request.stream_options.iter().flatten() {
        let path = format!("stream_options.{}", shown(name));
        match (name.as_str(), value) {
            (_, Value::Null) | ("include_obfuscation", Value::Bool(false)) => {}
            ("include_obfuscation", Value::Bool(true)) => {
                return Err(refused(path, "events are not padded; leave it out, or say false"));
            }
            ("include_obfuscation", _) => return Err(invalid(path, "must be true or false")),
            _ => return Err(refused(path, "there is no such option here")),
        }
    }
    if request.stream_options.is_some() && !request.is_stream() {
        return Err(invalid("stream_options", "is only allowed when stream is true"));
    }
    match request.truncation.as_deref() {
        None | Some("disabled") => {}
        Some("auto") => {
            return Err(refused(
                "truncation",
                "an input that is too long is an error here; say disabled",
            ));
        }
        Some(_) => return Err(invalid("truncation", "must be disabled")),
    }
    check_include(request.include.as_deref().unwrap_or_default())
}

/// Checks what else an answer should hold.
pub(super) fn check_include(include: &[String]) -> Result<(), ApiError> {
    match include.iter().position(|name| !INCLUDABLE.contains(&name.as_str())) {
        None => Ok(()),
        Some(index) => Err(invalid(
            format!("include[{index}]"),
            &format!("must be one of {}", INCLUDABLE.join(", ")),
        )),
    }
}

fn chat(request: &ResponseRequest, messages: Vec<Message>) -> Result<ChatRequest, ApiError> {
    let mut chat = ChatRequest::new(request.model.clone(), messages);
    chat.max_completion_tokens = request.max_output_tokens;
    chat.temperature = request.temperature;
    chat.top_p = request.top_p;
    for (name, value) in request.extra.iter().filter(|(_, value)| !value.is_null()) {
        if let Some((_, why)) = NOT_HERE.iter().find(|(field, _)| field == name) {
            return Err(refused(name, why));
        }
        if let Some((_, other)) = OTHER_NAME.iter().find(|(field, _)| field == name) {
            return Err(refused(name, &format!("use {other}")));
        }
        match name.as_str() {
            "seed" => chat.seed = Some(typed(name, value, "must be a whole number")?),
            "stop" => chat.stop = Some(typed(name, value, "must be a text or an array of texts")?),
            _ => {
                chat.extra.insert(name.clone(), value.clone());
            }
        }
    }
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            chat.extra.insert(name.to_owned(), value);
        }
    };
    let tools = tools(request.tools.as_deref().unwrap_or_default())?;
    let mut choice = tool_choice(request.tool_choice.as_ref())?;
    if tools.is_some() {
        set("parallel_tool_calls", request.parallel_tool_calls.map(Value::Bool));
    } else {
        // Chat completions do not take these without tools; here they may be there and say nothing.
        choice = choice.filter(|choice| choice != "auto" && choice != "none");
    }
    set("tools", tools);
    set("tool_choice", choice);
    if let Some(text) = &request.text {
        refuse_others(&text.extra, "text")?;
        set("verbosity", text.verbosity.clone().map(Value::String));
        set(
            "response_format",
            text.format.as_ref().map(response_format).transpose()?.flatten(),
        );
    }
    if let Some(reasoning) = &request.reasoning {
        refuse_others(&reasoning.extra, "reasoning")?;
        if reasoning.summary.as_deref().is_some_and(|summary| summary != "auto") {
            return Err(refused(
                "reasoning.summary",
                "what a model thought is told as it is; say auto",
            ));
        }
        set("reasoning_effort", reasoning.effort.clone().map(Value::String));
    }
    let wanted = request.include.iter().flatten().any(|name| name == LOGPROBS);
    let likeliest = request.top_logprobs.unwrap_or(0);
    if wanted || likeliest > 0 {
        set("logprobs", Some(true.into()));
        set("top_logprobs", Some(likeliest.into()));
    }
    // Checked like all others, and kept from nodes like them.
    set("metadata", request.metadata.as_ref().map(|notes| json!(notes)));
    set("user", request.user.clone().map(Value::String));
    set(
        "safety_identifier",
        request.safety_identifier.clone().map(Value::String),
    );
    set("prompt_cache_key", request.prompt_cache_key.clone().map(Value::String));
    set("service_tier", request.service_tier.clone().map(Value::String));
    Ok(chat)
}

fn typed<T: DeserializeOwned>(name: &str, value: &Value, must: &str) -> Result<T, ApiError> {
    T::deserialize(value).map_err(|_| invalid(name, must))
}

/// Fields that are not known within one that is.
fn refuse_others(extra: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    match extra.iter().find(|(_, value)| !value.is_null()) {
        Some((name, _)) => Err(refused(
            format!("{path}.{}", shown(name)),
            "there is no such option here",
        )),
        None => Ok(()),
    }
}

fn tools(tools: &[ResponseTool]) -> Result<Option<Value>, ApiError> {
    let translated: Vec<Value> = tools
        .iter()
        .enumerate()
        .map(|(index, tool)| function(tool, &format!("tools[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok((!translated.is_empty()).then_some(Value::Array(translated)))
}

fn function(tool: &ResponseTool, path: &str) -> Result<Value, ApiError> {
    if tool.kind != "function" {
        let why = "models can call functions of yours, nothing else; say function";
        return Err(refused(format!("{path}.type"), why));
    }
    let has_more = |value: &Value| !value.is_null() && value != false;
    if let Some((name, _)) = tool.extra.iter().find(|(_, value)| has_more(value)) {
        return Err(refused(
            format!("{path}.{}", shown(name)),
            "there is no such option here",
        ));
    }
    let mut function = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            function.insert(name.to_owned(), value);
        }
    };
    set("name", tool.name.clone().map(Value::String));
    set("description", tool.description.clone().map(Value::String));
    set("parameters", tool.parameters.clone().map(Value::Object));
    set("strict", tool.strict.map(Value::Bool));
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let kind = match choice {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(_)) => return Ok(choice.cloned()),
        Some(Value::Object(choice)) => choice.get("type").and_then(Value::as_str),
        Some(_) => None,
    };
    match (kind, choice) {
        (Some("function"), Some(choice)) => Ok(Some(
            json!({"type": "function", "function": {"name": choice.get("name").cloned().unwrap_or_default()}}),
        )),
        (Some(_), _) => Err(refused("tool_choice.type", "tools are functions here; say function")),
        _ => Err(invalid(
            "tool_choice",
            "must be none, auto, required, or an object that names a function",
        )),
    }
}

fn response_format(format: &TextFormat) -> Result<Option<Value>, ApiError> {
    match format.kind.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(json!({"type": "json_object"}))),
        "json_schema" => {
            let mut schema = format.extra.clone();
            schema.retain(|_, value| !value.is_null());
            Ok(Some(json!({"type": "json_schema", "json_schema": schema})))
        }
        _ => Err(invalid(
            "text.format.type",
            "must be one of text, json_object, json_schema",
        )),
    }
}

/// An error about the chat completion, as one about the request for a response.
pub(super) fn in_our_words(mut error: ApiError, origins: &Origins) -> ApiError {
    let Some(theirs) = error.param.take() else { return error };
    let ours = our_name(&theirs, origins);
    if ours != theirs {
        error.message = error.message.replace(&theirs, &ours);
    }
    for limit in ["max_completion_tokens", "max_tokens"] {
        error.message = error.message.replace(limit, "max_output_tokens");
    }
    error.param = Some(ours);
    error
}

fn our_name(theirs: &str, origins: &Origins) -> String {
    if let Some(rest) = theirs.strip_prefix("messages") {
        return origins.name(rest);
    }
    if let Some(rest) = theirs.strip_prefix("response_format") {
        return format!("text.format{}", rest.strip_prefix(".json_schema").unwrap_or(rest));
    }
    if theirs.starts_with("tools[") || theirs.starts_with("tool_choice") {
        return theirs.replacen(".function", "", 1);
    }
    match theirs {
        "max_tokens" | "max_completion_tokens" => "max_output_tokens",
        "reasoning_effort" => "reasoning.effort",
        "verbosity" => "text.verbosity",
        "logprobs" => "top_logprobs",
        _ => theirs,
    }
    .to_owned()
}

/// A name that somebody sent, short enough to be repeated.
pub(super) fn shown(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(64).collect()
}
