//! What is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::item::InputItem;

/// `POST /v1/responses`.
///
/// ```
/// use resultity_core::openai::response::ResponseRequest;
/// let request = ResponseRequest::new("smollm2-135m", "What is the capital of France?").background();
/// assert_eq!(serde_json::to_value(&request)?["background"], true);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ResponseRequest {
    /// The model's name or alias.
    pub model: String,
    /// What is asked, or the conversation so far.
    pub input: ResponseInput,
    /// What the model is told about its part, before the input. Not taken over by the responses that come after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The most tokens to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// 0 (always the likeliest token) to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Whether the answer comes as events, as it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Options that only count with `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<Map<String, Value>>,
    /// Whether the answer is made without the caller waiting for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<bool>,
    /// Whether the response is kept to be retrieved; yes if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<bool>,
    /// The response whose input and output come before this input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_response_id: Option<String>,
    /// What the model may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ResponseTool>>,
    /// `none`, `auto`, `required`, or an object that names a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    /// Whether the model may call several tools at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// What the text should be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextOptions>,
    /// How a reasoning model should think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningOptions>,
    /// The caller's own notes; up to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Who the caller asks for; never told to a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The same, newer name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_identifier: Option<String>,
    /// A hint for caches; never told to a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<String>,
    /// `disabled`: an input that is too long is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<String>,
    /// What else the answer should hold, such as `message.output_text.logprobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// How many of the likeliest tokens to tell at each place: 0 to 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u64>,
    /// `auto` or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// The most calls of built-in tools, of which there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tool_calls: Option<u64>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ResponseRequest {
    /// A request with all options left to the model.
    pub fn new(model: impl Into<String>, input: impl Into<ResponseInput>) -> Self {
        Self {
            model: model.into(),
            input: input.into(),
            instructions: None,
            max_output_tokens: None,
            temperature: None,
            top_p: None,
            stream: None,
            stream_options: None,
            background: None,
            store: None,
            previous_response_id: None,
            tools: None,
            tool_choice: None,
            parallel_tool_calls: None,
            text: None,
            reasoning: None,
            metadata: None,
            user: None,
            safety_identifier: None,
            prompt_cache_key: None,
            truncation: None,
            include: None,
            top_logprobs: None,
            service_tier: None,
            max_tool_calls: None,
            extra: Map::new(),
        }
    }

    /// Sets what the model is told about its part.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Sets the most tokens to make.
    #[must_use]
    pub fn max_output_tokens(mut self, tokens: u64) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// Sets the temperature, 0 to 2.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets nucleus sampling, 0 to 1.
    #[must_use]
    pub fn top_p(mut self, top_p: f64) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// The response is made without waiting for it: the answer comes at once, to be polled for.
    #[must_use]
    pub fn background(mut self) -> Self {
        self.background = Some(true);
        self
    }

    /// Sets whether the response is kept.
    #[must_use]
    pub fn store(mut self, store: bool) -> Self {
        self.store = Some(store);
        self
    }

    /// Goes on from another response.
    #[must_use]
    pub fn previous(mut self, id: impl ToString) -> Self {
        self.previous_response_id = Some(id.to_string());
        self
    }

    /// Adds a tool that the model may call.
    #[must_use]
    pub fn tool(mut self, tool: ResponseTool) -> Self {
        self.tools.get_or_insert_default().push(tool);
        self
    }

    /// Sets what the text has to be.
    #[must_use]
    pub fn format(mut self, format: TextFormat) -> Self {
        self.text.get_or_insert_default().format = Some(format);
        self
    }

    /// Adds a note of the caller's own.
    #[must_use]
    pub fn note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Sets a field that this crate does not know.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(field.into(), value.into());
        self
    }

    /// Whether the answer comes as events.
    pub fn is_stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether nobody waits for the answer.
    pub fn is_background(&self) -> bool {
        self.background.unwrap_or(false)
    }

    /// Whether the response is kept.
    pub fn is_stored(&self) -> bool {
        self.store.unwrap_or(true)
    }
}

/// A text, or a list of items.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum ResponseInput {
    /// What the user says.
    Text(String),
    /// The conversation so far.
    Items(Vec<InputItem>),
}

impl ResponseInput {
    /// As items: a text is what the user says.
    pub fn into_items(self) -> Vec<InputItem> {
        match self {
            Self::Text(text) => vec![InputItem::message("user", text)],
            Self::Items(items) => items,
        }
    }
}

impl From<&str> for ResponseInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for ResponseInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<InputItem>> for ResponseInput {
    fn from(items: Vec<InputItem>) -> Self {
        Self::Items(items)
    }
}

impl<const N: usize> From<[InputItem; N]> for ResponseInput {
    fn from(items: [InputItem; N]) -> Self {
        Self::Items(items.into())
    }
}

impl<'de> Deserialize<'de> for ResponseInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;
        impl<'de> serde::de::Visitor<'de> for InputVisitor {
            type Value = ResponseInput;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or an array of items")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ResponseInput, E> {
                Ok(ResponseInput::Text(text.to_owned()))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<ResponseInput, E> {
                Ok(ResponseInput::Text(text))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<ResponseInput, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(ResponseInput::Items(all))
            }
        }
        deserializer.deserialize_any(InputVisitor)
    }
}

/// Something that the model may call. Only those of type `function` can be served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResponseTool {
    /// `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is called by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// A JSON schema of what it takes.
    #[serde(default)]
    pub parameters: Option<Map<String, Value>>,
    /// Whether the arguments have to follow the schema exactly.
    #[serde(default)]
    pub strict: Option<bool>,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ResponseTool {
    /// A function with a JSON schema of what it takes.
    pub fn function(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: impl Into<Option<Map<String, Value>>>,
    ) -> Self {
        Self {
            kind: "function".into(),
            name: Some(name.into()),
            description: Some(description.into()),
            parameters: parameters.into(),
            strict: None,
            extra: Map::new(),
        }
    }
}

/// What the text should be like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TextOptions {
    /// What it has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TextFormat>,
    /// `low`, `medium` or `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What the text has to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TextFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    pub kind: String,
    /// All other fields: `name`, `schema`, `description` and `strict` of a `json_schema`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl TextFormat {
    /// Any text.
    pub fn text() -> Self {
        Self {
            kind: "text".into(),
            extra: Map::new(),
        }
    }

    /// Some JSON object.
    pub fn json_object() -> Self {
        Self {
            kind: "json_object".into(),
            extra: Map::new(),
        }
    }

    /// JSON that follows this schema exactly.
    pub fn json_schema(name: impl Into<String>, schema: Map<String, Value>) -> Self {
        let mut extra = Map::new();
        extra.insert("name".into(), Value::String(name.into()));
        extra.insert("schema".into(), Value::Object(schema));
        extra.insert("strict".into(), json!(true));
        Self {
            kind: "json_schema".into(),
            extra,
        }
    }
}

/// How a reasoning model should think.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReasoningOptions {
    /// How much: such as `low`, `medium`, `high`.
    #[serde(default)]
    pub effort: Option<String>,
    /// Whether to sum up what it thought: `auto`.
    #[serde(default)]
    pub summary: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let body = json!({
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi", "x": 1}]},
                {"type": "function_call_output", "call_id": "c", "output": "4"},
            ],
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "y": 2}, "verbosity": "low"},
            "reasoning": {"effort": "low", "summary": null, "z": 3},
            "metadata": {"a": "b"}, "seed": 3,
        });
        let request: ResponseRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), body);
    }

    #[test]
    fn optional_fields_may_be_null() {
        let body = json!({
            "model": "m", "input": "hi", "instructions": null, "tools": null, "text": null, "reasoning": null,
            "metadata": null, "store": null, "background": null, "previous_response_id": null, "tool_choice": null,
        });
        let request: ResponseRequest = serde_json::from_value(body).unwrap();
        assert_eq!(request, ResponseRequest::new("m", "hi"));
        assert!(request.is_stored() && !request.is_background() && !request.is_stream());
    }
}
