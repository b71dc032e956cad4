//! The messages of a chat: their roles, their parts, and what a model must be able to do for them.

use resultity_core::capability::Capability;
use resultity_core::error::ApiError;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{Content, Message};
use serde_json::{Map, Value};

use super::{invalid, missing, refused, shapes, shown, unsupported, written};

/// Fields of messages that need nothing: engines that have no use for them leave them alone.
const PLAIN_FIELDS: [&str; 5] = ["name", "refusal", "annotations", "reasoning_content", "reasoning"];

/// Checks what the messages are, whatever the model.
pub(super) fn check(messages: &[Message]) -> Result<(), ApiError> {
    if messages.is_empty() {
        return Err(invalid("messages", "messages must hold at least one message"));
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(message, &format!("messages[{index}]"))?;
    }
    Ok(())
}

fn check_message(message: &Message, path: &str) -> Result<(), ApiError> {
    let role = message.role.as_str();
    let fields = &message.extra;
    if !matches!(
        role,
        "system" | "developer" | "user" | "assistant" | "tool" | "function"
    ) {
        return Err(invalid(
            format!("{path}.role"),
            "role must be one of system, developer, user, assistant, tool, function",
        ));
    }
    match &message.content {
        Some(Content::Parts(parts)) => check_parts(parts, &format!("{path}.content"))?,
        Some(Content::Text(_)) => {}
        // An assistant may have done something else than speak.
        None if role == "assistant" && fields.values().any(|value| !value.is_null()) => {}
        None if role == "function" => {}
        None => {
            return Err(missing(
                format!("{path}.content"),
                format!("a message of role {role} needs content: a text or an array of content parts"),
            ));
        }
    }
    for name in ["name", "refusal", "reasoning_content"] {
        if !fields
            .get(name)
            .is_none_or(|value| value.is_string() || value.is_null())
        {
            return Err(invalid(
                format!("{path}.{name}"),
                format!("{path}.{name} must be a text"),
            ));
        }
    }
    match role {
        "assistant" => check_calls(fields, path),
        "tool" => shapes::text(fields, "tool_call_id", path).map(|_| ()),
        "function" => shapes::text(fields, "name", path).map(|_| ()),
        _ => Ok(()),
    }
}

fn check_calls(fields: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    match fields.get("function_call") {
        None | Some(Value::Null) => {}
        Some(_) => check_call(
            shapes::object(fields, "function_call", path)?,
            &format!("{path}.function_call"),
        )?,
    }
    let path = format!("{path}.tool_calls");
    let calls = match fields.get("tool_calls") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(calls)) => calls,
        Some(_) => return Err(invalid(&path, format!("{path} must be an array"))),
    };
    for (index, call) in calls.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(call) = call.as_object() else {
            return Err(invalid(&path, format!("{path} must be an object")));
        };
        shapes::text(call, "id", &path)?;
        if shapes::text(call, "type", &path)? != "function" {
            return Err(refused(format!("{path}.type"), "tools are functions here"));
        }
        check_call(shapes::object(call, "function", &path)?, &format!("{path}.function"))?;
    }
    Ok(())
}

fn check_call(call: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    shapes::text(call, "name", path)?;
    shapes::text(call, "arguments", path).map(|_| ())
}

fn check_parts(parts: &[Map<String, Value>], path: &str) -> Result<(), ApiError> {
    if parts.is_empty() {
        return Err(invalid(path, "content must not be an empty array"));
    }
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(kind) = part.get("type").and_then(Value::as_str) else {
            return Err(invalid(
                format!("{path}.type"),
                "every content part needs a type such as \"text\"",
            ));
        };
        match kind {
            "text" => shapes::text(part, "text", &path)?,
            "refusal" => shapes::text(part, "refusal", &path)?,
            "image_url" => {
                let image = shapes::object(part, "image_url", &path)?;
                let path = format!("{path}.image_url");
                let url = shapes::text(image, "url", &path)?;
                // An engine would fetch it from within the network of a stranger.
                if !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
                    let message =
                        "the image must be in the request, as a data: URL: nodes fetch nothing from elsewhere";
                    return Err(invalid(format!("{path}.url"), message));
                }
                url
            }
            "input_audio" => {
                let audio = shapes::object(part, "input_audio", &path)?;
                let path = format!("{path}.input_audio");
                shapes::text(audio, "data", &path)?;
                let format = shapes::text(audio, "format", &path)?;
                if !matches!(format, "wav" | "mp3") {
                    return Err(invalid(
                        format!("{path}.format"),
                        format!("{path}.format must be wav or mp3"),
                    ));
                }
                format
            }
            "file" => {
                let file = shapes::object(part, "file", &path)?;
                let path = format!("{path}.file");
                if file.get("file_id").is_some_and(|id| !id.is_null()) {
                    return Err(refused(
                        format!("{path}.file_id"),
                        "nodes have no access to files: send file_data",
                    ));
                }
                shapes::text(file, "file_data", &path)?
            }
            // Whether the engine knows it is a matter of the model.
            _ => kind,
        };
    }
    Ok(())
}

/// Refuses what the model cannot do.
pub(super) fn admit(messages: &[Message], model: &ModelSpec) -> Result<(), ApiError> {
    for (index, message) in messages.iter().enumerate() {
        let path = format!("messages[{index}]");
        let needs = |capability: Capability, name: &str| {
            if model.can(capability) {
                Ok(())
            } else {
                Err(unsupported(format!("{path}.{name}"), model, capability))
            }
        };
        if matches!(message.role.as_str(), "tool" | "function") {
            needs(Capability::Tools, "role")?;
        }
        for (name, value) in &message.extra {
            match name.as_str() {
                _ if value.is_null() => {}
                "tool_calls" if value.as_array().is_some_and(Vec::is_empty) => {}
                "tool_calls" | "function_call" => needs(Capability::Tools, name)?,
                "tool_call_id" if message.role == "tool" => {}
                "audio" => return Err(refused(format!("{path}.audio"), "answers are text")),
                name if PLAIN_FIELDS.contains(&name) => {}
                name => needs(Capability::Extra, &shown(name))?,
            }
        }
        let Some(Content::Parts(parts)) = &message.content else {
            continue;
        };
        for (part_index, part) in parts.iter().enumerate() {
            let capability = match part.get("type").and_then(Value::as_str) {
                Some("text") => continue,
                Some("image_url") => Capability::Images,
                Some("input_audio") => Capability::Audio,
                Some("file") => Capability::Files,
                _ => Capability::Extra,
            };
            needs(capability, &format!("content[{part_index}].type"))?;
        }
    }
    Ok(())
}

/// No tokenizer makes more tokens than there are bytes; a chat template adds a few for each message and around all. What an
/// image or a sound makes is not known here: none is said, and as much as fits has to be assumed.
pub(super) fn token_bound(messages: &[Message]) -> Option<u64> {
    const PER_MESSAGE: u64 = 16;
    const AROUND_ALL: u64 = 64;
    let is_text = |part: &Map<String, Value>| part.get("type").and_then(Value::as_str) == Some("text");
    let mut bound = AROUND_ALL;
    for message in messages {
        let content = match &message.content {
            Some(Content::Text(text)) => text.len() as u64,
            Some(Content::Parts(parts)) if !parts.iter().all(is_text) => return None,
            Some(Content::Parts(parts)) => parts.iter().map(written).sum(),
            None => 0,
        };
        bound += content + written(&message.extra) + message.role.len() as u64 + PER_MESSAGE;
    }
    Some(bound)
}
