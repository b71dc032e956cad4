//! What a stream tells, one event after the other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::{OutputItem, OutputPart};
use super::object::Response;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResponseEvent {
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
    /// Its place in the stream, from 0: what to name as `starting_after` to go on behind it.
    pub sequence_number: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type")]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are the same ones over and over: places, and what is there"
)]
pub enum EventBody {
    /// It was accepted.
    #[serde(rename = "response.created")]
    Created { response: Box<Response> },
    /// It waits for a node.
    #[serde(rename = "response.queued")]
    Queued { response: Box<Response> },
    /// A node works on it.
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<Response> },
    /// An item begins.
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: u64, item: OutputItem },
    /// A part of an item begins.
    #[serde(rename = "response.content_part.added")]
    PartAdded {
        item_id: String,
        output_index: u64,
        content_index: u64,
        part: OutputPart,
    },
    /// New text.
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        item_id: String,
        output_index: u64,
        content_index: u64,
        delta: String,
        logprobs: Vec<Value>,
    },
    /// A text is whole.
    #[serde(rename = "response.output_text.done")]
    TextDone {
        item_id: String,
        output_index: u64,
        content_index: u64,
        text: String,
        logprobs: Vec<Value>,
    },
    /// New words of a refusal.
    #[serde(rename = "response.refusal.delta")]
    RefusalDelta {
        item_id: String,
        output_index: u64,
        content_index: u64,
        delta: String,
    },
    /// A refusal is whole.
    #[serde(rename = "response.refusal.done")]
    RefusalDone {
        item_id: String,
        output_index: u64,
        content_index: u64,
        refusal: String,
    },
    /// New thoughts.
    #[serde(rename = "response.reasoning_text.delta")]
    ReasoningDelta {
        item_id: String,
        output_index: u64,
        content_index: u64,
        delta: String,
    },
    /// The thoughts are whole.
    #[serde(rename = "response.reasoning_text.done")]
    ReasoningDone {
        item_id: String,
        output_index: u64,
        content_index: u64,
        text: String,
    },
    /// A part of an item is whole.
    #[serde(rename = "response.content_part.done")]
    PartDone {
        item_id: String,
        output_index: u64,
        content_index: u64,
        part: OutputPart,
    },
    /// New text of a call's arguments.
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta {
        item_id: String,
        output_index: u64,
        delta: String,
    },
    /// A call's arguments are whole.
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        item_id: String,
        output_index: u64,
        #[serde(default)]
        name: String,
        arguments: String,
    },
    /// An item is whole.
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: u64, item: OutputItem },
    /// The end: the answer is whole, verified and paid for.
    #[serde(rename = "response.completed")]
    Completed { response: Box<Response> },
    /// The end: the answer was cut off.
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<Response> },
    /// The end: there is no answer, and nothing was charged.
    #[serde(rename = "response.failed")]
    Failed { response: Box<Response> },
    /// The end: the caller has stopped it.
    #[serde(rename = "response.cancelled")]
    Cancelled { response: Box<Response> },
    /// The end: the stream itself broke.
    #[serde(rename = "error")]
    Error {
        code: Option<String>,
        message: String,
        param: Option<String>,
    },
}

impl ResponseEvent {
    /// Its type.
    pub const fn kind(&self) -> &'static str {
        match &self.body {
            EventBody::Created { .. } => "response.created",
            EventBody::Queued { .. } => "response.queued",
            EventBody::InProgress { .. } => "response.in_progress",
            EventBody::ItemAdded { .. } => "response.output_item.added",
            EventBody::PartAdded { .. } => "response.content_part.added",
            EventBody::TextDelta { .. } => "response.output_text.delta",
            EventBody::TextDone { .. } => "response.output_text.done",
            EventBody::RefusalDelta { .. } => "response.refusal.delta",
            EventBody::RefusalDone { .. } => "response.refusal.done",
            EventBody::ReasoningDelta { .. } => "response.reasoning_text.delta",
            EventBody::ReasoningDone { .. } => "response.reasoning_text.done",
            EventBody::PartDone { .. } => "response.content_part.done",
            EventBody::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            EventBody::ArgumentsDone { .. } => "response.function_call_arguments.done",
            EventBody::ItemDone { .. } => "response.output_item.done",
            EventBody::Completed { .. } => "response.completed",
            EventBody::Incomplete { .. } => "response.incomplete",
            EventBody::Failed { .. } => "response.failed",
            EventBody::Cancelled { .. } => "response.cancelled",
            EventBody::Error { .. } => "error",
        }
    }

    /// The response as it stands, in the events that tell it.
    pub fn response(&self) -> Option<&Response> {
        match &self.body {
            EventBody::Created { response }
            | EventBody::Queued { response }
            | EventBody::InProgress { response }
            | EventBody::Completed { response }
            | EventBody::Incomplete { response }
            | EventBody::Failed { response }
            | EventBody::Cancelled { response } => Some(response),
            _ => None,
        }
    }

    /// New text of the answer; empty in all other events.
    pub fn text(&self) -> &str {
        match &self.body {
            EventBody::TextDelta { delta, .. } => delta,
            _ => "",
        }
    }

    /// Whether nothing follows.
    pub const fn is_last(&self) -> bool {
        matches!(
            self.body,
            EventBody::Completed { .. }
                | EventBody::Incomplete { .. }
                | EventBody::Failed { .. }
                | EventBody::Cancelled { .. }
                | EventBody::Error { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_the_name_on_the_wire() {
        let event = ResponseEvent {
            body: EventBody::TextDelta {
                item_id: "msg_1".into(),
                output_index: 0,
                content_index: 0,
                delta: "hi".into(),
                logprobs: Vec::new(),
            },
            sequence_number: 4,
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], event.kind());
        assert_eq!(json["sequence_number"], 4);
        assert_eq!(serde_json::from_value::<ResponseEvent>(json).unwrap(), event);
    }
}
