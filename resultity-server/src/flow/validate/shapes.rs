//! What the parameters with a shape of their own may look like. What is wrong is named by its path.

use resultity_core::capability::Capability;
use resultity_core::error::ApiError;
use serde_json::{Map, Value};

use super::{invalid, missing, refused, shown};

/// The most stop texts, as OpenAI has it.
const MAX_STOPS: usize = 4;

/// The most tools, as OpenAI has it.
const MAX_TOOLS: usize = 128;

/// The most entries of `logit_bias`.
const MAX_BIASES: usize = 1024;

/// A field that has to be there and to be a text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str, path: &str) -> Result<&'a str, ApiError> {
    let path = format!("{path}.{name}");
    match object.get(name) {
        Some(Value::String(text)) => Ok(text),
        None => Err(missing(&path, format!("{path} is missing"))),
        Some(_) => Err(invalid(&path, format!("{path} must be a text"))),
    }
}

/// A field that has to be there and to be an object.
pub(super) fn object<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    path: &str,
) -> Result<&'a Map<String, Value>, ApiError> {
    let path = format!("{path}.{name}");
    match fields.get(name) {
        Some(Value::Object(object)) => Ok(object),
        None => Err(missing(&path, format!("{path} is missing"))),
        Some(_) => Err(invalid(&path, format!("{path} must be an object"))),
    }
}

fn as_object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, ApiError> {
    value
        .as_object()
        .ok_or_else(|| invalid(path, format!("{path} must be an object")))
}

fn as_array<'a>(value: &'a Value, path: &str) -> Result<&'a Vec<Value>, ApiError> {
    value
        .as_array()
        .ok_or_else(|| invalid(path, format!("{path} must be an array")))
}

/// A field that, if it is there, is as `fits` says.
fn optional(
    fields: &Map<String, Value>,
    name: &str,
    path: &str,
    fits: fn(&Value) -> bool,
    what: &str,
) -> Result<(), ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if fits(value) => Ok(()),
        Some(_) => {
            let path = format!("{path}.{name}");
            Err(invalid(&path, format!("{path} must be {what}")))
        }
    }
}

/// Names of functions and schemas: 1 to 64 of a-z, A-Z, 0-9, `_` and `-`.
fn name<'a>(object: &'a Map<String, Value>, path: &str) -> Result<&'a str, ApiError> {
    let name = text(object, "name", path)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    let path = format!("{path}.name");
    let message = format!("{path} must be 1 to 64 of a-z, A-Z, 0-9, underscores and dashes");
    Err(invalid(path, message))
}

pub(super) fn metadata(value: &Value, path: &str) -> Result<(), ApiError> {
    let pairs = as_object(value, path)?;
    if pairs.len() > 16 {
        return Err(invalid(
            path,
            format!("{path} can hold 16 pairs, but has {}", pairs.len()),
        ));
    }
    for (key, value) in pairs {
        if key.chars().count() > 64 {
            return Err(invalid(path, format!("keys of {path} can have 64 characters")));
        }
        let at = format!("{path}.{}", shown(key));
        match value.as_str() {
            Some(text) if text.chars().count() <= 512 => {}
            Some(_) => return Err(invalid(&at, format!("{at} can have 512 characters"))),
            None => return Err(invalid(&at, format!("{at} must be a text"))),
        }
    }
    Ok(())
}

pub(super) fn logit_bias(value: &Value, path: &str) -> Result<(), ApiError> {
    let biases = as_object(value, path)?;
    if biases.len() > MAX_BIASES {
        return Err(invalid(path, format!("{path} can hold {MAX_BIASES} entries")));
    }
    for (token, bias) in biases {
        let at = format!("{path}.{}", shown(token));
        if token.parse::<u32>().is_err() {
            return Err(invalid(&at, format!("the keys of {path} must be token ids")));
        }
        if !bias.as_f64().is_some_and(|bias| (-100.0..=100.0).contains(&bias)) {
            return Err(invalid(&at, format!("{at} must be a number from -100 to 100")));
        }
    }
    Ok(())
}

pub(super) fn stop(value: &Value, path: &str) -> Result<(), ApiError> {
    let Value::Array(texts) = value else { return Ok(()) };
    if texts.len() > MAX_STOPS {
        let message = format!("at most {MAX_STOPS} stop texts, but there are {}", texts.len());
        return Err(invalid(path, message));
    }
    match texts.iter().position(|text| text == "") {
        Some(index) => Err(invalid(format!("{path}[{index}]"), "a stop text must not be empty")),
        None => Ok(()),
    }
}

pub(super) fn service_tier(value: &Value, path: &str) -> Result<(), ApiError> {
    match value.as_str() {
        Some("auto" | "default" | "flex") => Ok(()),
        Some("scale" | "priority" | "fast") => Err(refused(path, "the tiers here are auto, default and flex")),
        _ => Err(invalid(path, format!("{path} must be one of auto, default, flex"))),
    }
}

pub(super) fn modalities(value: &Value, path: &str) -> Result<(), ApiError> {
    for (index, entry) in as_array(value, path)?.iter().enumerate() {
        if !matches!(entry.as_str(), Some("text" | "audio")) {
            let path = format!("{path}[{index}]");
            return Err(invalid(&path, format!("{path} must be text or audio")));
        }
    }
    Ok(())
}

pub(super) fn is_text_alone(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|entries| entries.iter().all(|entry| entry == "text"))
}

pub(super) fn prediction(value: &Value, path: &str) -> Result<(), ApiError> {
    let prediction = as_object(value, path)?;
    if text(prediction, "type", path)? != "content" {
        return Err(invalid(format!("{path}.type"), format!("{path}.type must be content")));
    }
    match prediction.get("content") {
        Some(Value::String(_) | Value::Array(_)) => Ok(()),
        None => Err(missing(format!("{path}.content"), format!("{path}.content is missing"))),
        Some(_) => {
            let message = format!("{path}.content must be a text or an array of text parts");
            Err(invalid(format!("{path}.content"), message))
        }
    }
}

pub(super) fn response_format(value: &Value, path: &str) -> Result<(), ApiError> {
    let format = as_object(value, path)?;
    match text(format, "type", path)? {
        "text" | "json_object" => Ok(()),
        "json_schema" => {
            let schema = object(format, "json_schema", path)?;
            let path = format!("{path}.json_schema");
            name(schema, &path)?;
            optional(schema, "schema", &path, Value::is_object, "a JSON schema: an object")?;
            optional(schema, "strict", &path, Value::is_boolean, "true or false")?;
            optional(schema, "description", &path, Value::is_string, "a text")
        }
        _ => {
            let path = format!("{path}.type");
            let message = format!("{path} must be one of text, json_object, json_schema");
            Err(invalid(path, message))
        }
    }
}

pub(super) fn is_text_format(value: &Value) -> bool {
    value["type"] == "text"
}

pub(super) fn format_needs(value: &Value) -> Capability {
    if value["type"] == "json_schema" {
        Capability::JsonSchema
    } else {
        Capability::JsonObject
    }
}

pub(super) fn tools(value: &Value, path: &str) -> Result<(), ApiError> {
    let tools = as_array(value, path)?;
    if tools.len() > MAX_TOOLS {
        let message = format!("at most {MAX_TOOLS} tools, but there are {}", tools.len());
        return Err(invalid(path, message));
    }
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let tool = as_object(tool, &path)?;
        match text(tool, "type", &path)? {
            "function" => function(object(tool, "function", &path)?, &format!("{path}.function"))?,
            "custom" => return Err(refused(format!("{path}.type"), "tools are functions here")),
            _ => {
                let path = format!("{path}.type");
                return Err(invalid(&path, format!("{path} must be function")));
            }
        }
    }
    Ok(())
}

pub(super) fn functions(value: &Value, path: &str) -> Result<(), ApiError> {
    let functions = as_array(value, path)?;
    if functions.len() > MAX_TOOLS {
        let message = format!("at most {MAX_TOOLS} functions, but there are {}", functions.len());
        return Err(invalid(path, message));
    }
    for (index, entry) in functions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        function(as_object(entry, &path)?, &path)?;
    }
    Ok(())
}

fn function(function: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    name(function, path)?;
    optional(function, "description", path, Value::is_string, "a text")?;
    optional(
        function,
        "parameters",
        path,
        Value::is_object,
        "a JSON schema: an object",
    )?;
    optional(function, "strict", path, Value::is_boolean, "true or false")
}

pub(super) fn tool_choice(value: &Value, path: &str) -> Result<(), ApiError> {
    if matches!(value.as_str(), Some("none" | "auto" | "required")) {
        return Ok(());
    }
    let Value::Object(choice) = value else {
        let message = format!("{path} must be none, auto, required, or an object that names a function");
        return Err(invalid(path, message));
    };
    match text(choice, "type", path)? {
        "function" => name(object(choice, "function", path)?, &format!("{path}.function")).map(|_| ()),
        "custom" | "allowed_tools" => Err(refused(format!("{path}.type"), "tools are functions here")),
        _ => {
            let path = format!("{path}.type");
            Err(invalid(&path, format!("{path} must be function")))
        }
    }
}

pub(super) fn function_call(value: &Value, path: &str) -> Result<(), ApiError> {
    match value {
        Value::String(choice) if matches!(choice.as_str(), "none" | "auto") => Ok(()),
        Value::Object(choice) => name(choice, path).map(|_| ()),
        _ => {
            let message = format!("{path} must be none, auto, or an object that names a function");
            Err(invalid(path, message))
        }
    }
}

/// Whether nothing else would be done without it, as far as there are no functions.
pub(super) fn is_no_call(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

/// The same for `tool_choice`.
pub(super) fn is_no_choice(value: &Value) -> bool {
    is_no_call(value)
}
