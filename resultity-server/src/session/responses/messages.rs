//! Items of an input become messages of a chat.

use resultity_core::error::ApiError;
use resultity_core::openai::chat::{Content, Message};
use resultity_core::openai::response::InputItem;
use serde_json::{Map, Value, json};

use super::translate::{invalid, refused, shown};

/// Fields of items that say nothing to a model.
const SILENT: [&str; 6] = ["type", "role", "content", "id", "status", "phase"];

/// Where each message came from: the path to blame for what is wrong with it.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    is_text: bool,
    /// How many items come from the previous response.
    inherited: usize,
    /// The item of each message; none: the instructions.
    items: Vec<Option<usize>>,
}

impl Origins {
    /// Of an input that is a text.
    pub(super) const fn of_text() -> Self {
        Self {
            is_text: true,
            inherited: 0,
            items: Vec::new(),
        }
    }

    /// Of one that is a list, whose first items come from the previous response.
    pub(super) const fn of_items(inherited: usize) -> Self {
        Self {
            is_text: false,
            inherited,
            items: Vec::new(),
        }
    }

    fn item(&self, index: usize) -> String {
        match index.checked_sub(self.inherited) {
            None => "previous_response_id".into(),
            Some(_) if self.is_text => "input".into(),
            Some(own) => format!("input[{own}]"),
        }
    }

    /// The name here of what a chat completion calls `messages` and this.
    pub(super) fn name(&self, rest: &str) -> String {
        let place = rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)));
        let Some((index, rest)) = place else {
            return "input".into();
        };
        match self.items.get(index) {
            None => "input".into(),
            Some(None) => "instructions".into(),
            Some(Some(item)) => {
                let item = self.item(*item);
                let is_ours = item.starts_with("input[") && (rest.starts_with(".content") || rest == ".role");
                if is_ours { item + rest } else { item }
            }
        }
    }
}

/// All that the model gets to read, in order. Calls of functions belong to the assistant's message before them.
pub(super) fn messages(
    instructions: Option<&str>,
    items: &[InputItem],
    mut origins: Origins,
) -> Result<(Vec<Message>, Origins), ApiError> {
    let mut messages: Vec<Message> = Vec::new();
    if let Some(instructions) = instructions {
        messages.push(Message::system(instructions));
        origins.items.push(None);
    }
    for (index, item) in items.iter().enumerate() {
        let path = origins.item(index);
        match item.kind() {
            Some("message") => {
                messages.push(message(&item.0, &path)?);
                origins.items.push(Some(index));
            }
            Some("function_call") => {
                let call = function_call(&item.0, &path)?;
                let calls_of = match messages.last_mut() {
                    Some(last) if last.role == "assistant" => last,
                    _ => {
                        origins.items.push(Some(index));
                        messages.push(Message {
                            role: "assistant".into(),
                            content: None,
                            extra: Map::new(),
                        });
                        // Just pushed.
                        let Some(last) = messages.last_mut() else { continue };
                        last
                    }
                };
                let calls = calls_of.extra.entry("tool_calls").or_insert_with(|| json!([]));
                if let Value::Array(calls) = calls {
                    calls.push(call);
                }
            }
            Some("function_call_output") => {
                messages.push(function_output(&item.0, &path)?);
                origins.items.push(Some(index));
            }
            // What a model thought is for the turn in which it thought it: templates leave out that of earlier ones.
            Some("reasoning") => {}
            Some("item_reference") => {
                return Err(refused(format!("{path}.type"), "send the item itself"));
            }
            Some(kind) => {
                let why = format!(
                    "an item can be a message, function_call, function_call_output or reasoning, but not {:?}",
                    shown(kind)
                );
                return Err(refused(format!("{path}.type"), &why));
            }
            None => {
                return Err(invalid(
                    format!("{path}.type"),
                    "must be one of message, function_call, function_call_output, reasoning",
                ));
            }
        }
    }
    Ok((messages, origins))
}

fn message(item: &Map<String, Value>, path: &str) -> Result<Message, ApiError> {
    let role = text(item, "role", path)?;
    if !matches!(role, "user" | "assistant" | "system" | "developer") {
        return Err(invalid(
            format!("{path}.role"),
            "must be one of user, assistant, system, developer",
        ));
    }
    let content = content(item, "content", path)?;
    let mut extra = item.clone();
    extra.retain(|name, value| !SILENT.contains(&name.as_str()) && !value.is_null());
    Ok(Message {
        role: role.to_owned(),
        content: Some(content),
        extra,
    })
}

fn function_call(item: &Map<String, Value>, path: &str) -> Result<Value, ApiError> {
    Ok(json!({
        "id": text(item, "call_id", path)?,
        "type": "function",
        "function": {"name": text(item, "name", path)?, "arguments": text(item, "arguments", path)?},
    }))
}

fn function_output(item: &Map<String, Value>, path: &str) -> Result<Message, ApiError> {
    let mut extra = Map::new();
    extra.insert("tool_call_id".into(), text(item, "call_id", path)?.into());
    Ok(Message {
        role: "tool".into(),
        content: Some(content(item, "output", path)?),
        extra,
    })
}

fn text<'a>(item: &'a Map<String, Value>, name: &str, path: &str) -> Result<&'a str, ApiError> {
    match item.get(name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(missing(format!("{path}.{name}"))),
        Some(_) => Err(invalid(format!("{path}.{name}"), "must be a text")),
    }
}

fn missing(path: String) -> ApiError {
    let message = format!("{path} is missing");
    ApiError::new(resultity_core::error::ErrorCode::MissingField, message).with_param(path)
}

/// A text, or parts. One part that is a text is as good as the text, and more engines understand it.
fn content(item: &Map<String, Value>, name: &str, path: &str) -> Result<Content, ApiError> {
    let path = format!("{path}.{name}");
    let parts = match item.get(name) {
        Some(Value::String(text)) => return Ok(Content::Text(text.clone())),
        Some(Value::Array(parts)) => parts,
        None | Some(Value::Null) => return Err(missing(path)),
        Some(_) => return Err(invalid(path, "must be a text or an array of parts")),
    };
    let mut translated = Vec::with_capacity(parts.len());
    for (index, given) in parts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Value::Object(given) = given else {
            return Err(invalid(path, "must be an object"));
        };
        translated.push(part(given, &path)?);
    }
    if let [only] = translated.as_slice()
        && let (Some("text"), Some(Value::String(text))) = (only.get("type").and_then(Value::as_str), only.get("text"))
    {
        return Ok(Content::Text(text.clone()));
    }
    Ok(Content::Parts(translated))
}

fn part(given: &Map<String, Value>, path: &str) -> Result<Map<String, Value>, ApiError> {
    let kind = text(given, "type", path)?;
    let mut part = Map::new();
    let mut say = |kind: &str, name: &str, value: Value| {
        part.insert("type".into(), kind.into());
        part.insert(name.into(), value);
    };
    let some = |names: &[&str]| -> Map<String, Value> {
        let named = names.iter().filter_map(|name| given.get_key_value(*name));
        let named = named.filter(|(_, value)| !value.is_null());
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let refuse = |names: &[&str], why: &str| match some(names).keys().next() {
        Some(name) => Err(refused(format!("{path}.{name}"), why)),
        None => Ok(()),
    };
    match kind {
        "input_text" | "output_text" | "text" => say("text", "text", text(given, "text", path)?.into()),
        "refusal" => say("refusal", "refusal", text(given, "refusal", path)?.into()),
        "input_image" => {
            refuse(&["file_id"], "send the image itself, or its address, as image_url")?;
            let mut image = some(&["detail"]);
            image.insert("url".into(), text(given, "image_url", path)?.into());
            say("image_url", "image_url", image.into());
        }
        "input_file" => {
            refuse(&["file_id", "file_url"], "send the file itself as file_data")?;
            text(given, "file_data", path)?;
            say("file", "file", some(&["filename", "file_data"]).into());
        }
        "input_audio" => match given.get("input_audio") {
            Some(audio @ Value::Object(_)) => say("input_audio", "input_audio", audio.clone()),
            _ => return Err(invalid(format!("{path}.input_audio"), "must be an object")),
        },
        _ => {
            return Err(invalid(
                format!("{path}.type"),
                "must be one of input_text, output_text, refusal, input_image, input_file, input_audio",
            ));
        }
    }
    Ok(part)
}
