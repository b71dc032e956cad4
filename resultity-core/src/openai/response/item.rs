//! Items: what a conversation is made of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One item of an input, kept as it came: a message, a call of a function, what the function gave, or an output item of an
/// earlier response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputItem(pub Map<String, Value>);

impl InputItem {
    /// What somebody of this role said: `user`, `assistant`, `system` or `developer`.
    pub fn message(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of([
            ("type", "message".into()),
            ("role", role.into()),
            ("content", text.into()),
        ])
    }

    /// What the user says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::message("user", text)
    }

    /// What a function gave that the model called.
    pub fn function_call_output(call_id: impl Into<String>, output: impl Into<String>) -> Self {
        Self::of([
            ("type", "function_call_output".into()),
            ("call_id", call_id.into()),
            ("output", output.into()),
        ])
    }

    fn of<const N: usize>(fields: [(&str, String); N]) -> Self {
        let fields = fields.into_iter();
        Self(
            fields
                .map(|(name, value)| (name.to_owned(), Value::String(value)))
                .collect(),
        )
    }

    /// Its type; one that has a role but names no type is a `message`.
    pub fn kind(&self) -> Option<&str> {
        match self.0.get("type") {
            None | Some(Value::Null) => self.0.contains_key("role").then_some("message"),
            Some(kind) => kind.as_str(),
        }
    }

    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id").and_then(Value::as_str)
    }
}

/// So that what a model said can be part of the next input.
impl From<OutputItem> for InputItem {
    fn from(item: OutputItem) -> Self {
        match serde_json::to_value(item) {
            Ok(Value::Object(fields)) => Self(fields),
            // Every output item is written as an object.
            _ => Self(Map::new()),
        }
    }
}

/// One item of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputItem {
    /// What the model says.
    Message(OutputMessage),
    /// What the model wants to be called.
    FunctionCall(FunctionCall),
    /// What the model thought.
    Reasoning(ReasoningItem),
    /// Of a kind that this crate does not know.
    #[serde(untagged)]
    Other(Map<String, Value>),
}

impl OutputItem {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Message(message) => &message.id,
            Self::FunctionCall(call) => &call.id,
            Self::Reasoning(reasoning) => &reasoning.id,
            Self::Other(fields) => fields.get("id").and_then(Value::as_str).unwrap_or_default(),
        }
    }
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being made.
    #[default]
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut off.
    Incomplete,
}

/// What the model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutputMessage {
    /// `msg_…`.
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// `assistant`.
    pub role: String,
    /// What it is made of.
    pub content: Vec<OutputPart>,
}

/// What the model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FunctionCall {
    /// `fc_…`.
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// What the output of the function has to name.
    pub call_id: String,
    /// The function.
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
}

/// What the model thought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReasoningItem {
    /// `rs_…`.
    pub id: String,
    /// Where it stands.
    #[serde(default)]
    pub status: ItemStatus,
    /// Always empty here.
    pub summary: Vec<Value>,
    /// Its words.
    #[serde(default)]
    pub content: Vec<OutputPart>,
}

/// A part of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputPart {
    /// A text.
    OutputText {
        /// The text.
        text: String,
        /// Always empty here.
        #[serde(default)]
        annotations: Vec<Value>,
        /// Log-probabilities of its tokens, where asked for.
        #[serde(default)]
        logprobs: Vec<Value>,
    },
    /// Why the model will not answer.
    Refusal {
        /// In words.
        refusal: String,
    },
    /// What the model thought.
    ReasoningText {
        /// In words.
        text: String,
    },
}

impl OutputPart {
    /// An empty text.
    pub const fn text() -> Self {
        Self::OutputText {
            text: String::new(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// Its words, whatever they are.
    pub fn words(&self) -> &str {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text,
            Self::Refusal { refusal } => refusal,
        }
    }

    /// More words.
    pub fn push(&mut self, words: &str) {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text.push_str(words),
            Self::Refusal { refusal } => refusal.push_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn output_items_can_be_part_of_the_next_input() {
        let message = OutputItem::Message(OutputMessage {
            id: "msg_1".into(),
            status: ItemStatus::Completed,
            role: "assistant".into(),
            content: vec![OutputPart::OutputText {
                text: "hello".into(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            }],
        });
        let item = InputItem::from(message);
        assert_eq!((item.kind(), item.id()), (Some("message"), Some("msg_1")));
    }

    #[test]
    fn items_of_later_versions_are_kept() {
        let body = json!({"type": "web_search_call", "id": "ws_1", "status": "completed"});
        let item: OutputItem = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(item.id(), "ws_1");
        assert_eq!(serde_json::to_value(&item).unwrap(), body);
    }

    #[test]
    fn a_type_may_be_left_out_of_a_message() {
        let item: InputItem = serde_json::from_value(json!({"role": "user", "content": "hi"})).unwrap();
        assert_eq!(item.kind(), Some("message"));
        let item: InputItem = serde_json::from_value(json!({"content": "hi"})).unwrap();
        assert_eq!(item.kind(), None);
    }
}
