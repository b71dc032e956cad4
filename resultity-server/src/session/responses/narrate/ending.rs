//! How a response ends.

use std::mem;

use resultity_core::error::ApiError;
use resultity_core::openai::chat::Usage;
use resultity_core::openai::response::{
    EventBody, IncompleteDetails, ItemStatus, OutputItem, OutputPart, ResponseFailure, ResponseStatus,
};

use super::Narrator;

/// How a response came to its end.
#[derive(Debug, Clone)]
pub(in crate::session::responses) enum Ending {
    /// With an answer that is verified and paid for.
    Answer {
        /// Why it ended, by OpenAI's names for it.
        finish_reason: String,
        /// Token counts, as billed.
        usage: Usage,
        /// When: seconds since the Unix epoch.
        at: i64,
    },
    /// Without one: nothing was charged.
    Failed(ApiError),
    /// By the caller.
    Cancelled {
        /// Token counts of what was made until then, if that was paid for.
        usage: Option<Usage>,
    },
}

impl Narrator {
    /// The end.
    pub(in crate::session::responses) fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Answer {
                finish_reason,
                usage,
                at,
            } => {
                self.begin();
                if self.response.output.is_empty() {
                    self.open_message();
                    self.open_part(OutputPart::text());
                }
                let why = match finish_reason.as_str() {
                    "length" => Some("max_output_tokens"),
                    "content_filter" => Some("content_filter"),
                    _ => None,
                };
                let status = if why.is_some() {
                    ItemStatus::Incomplete
                } else {
                    ItemStatus::Completed
                };
                self.close(status);
                for place in mem::take(&mut self.calls).into_values() {
                    self.close_call(place, status);
                }
                self.response.usage = Some(usage.into());
                self.response.incomplete_details = why.map(|reason| IncompleteDetails { reason: reason.into() });
                if why.is_some() {
                    self.response.status = ResponseStatus::Incomplete;
                    let response = self.snapshot();
                    self.tell(EventBody::Incomplete { response });
                } else {
                    self.response.status = ResponseStatus::Completed;
                    self.response.completed_at = Some(at);
                    let response = self.snapshot();
                    self.tell(EventBody::Completed { response });
                }
            }
            Ending::Failed(error) => {
                // What was told until then is no answer: it was neither verified nor paid for.
                self.response.output.clear();
                self.response.status = ResponseStatus::Failed;
                self.response.error = Some(ResponseFailure::from(&error));
                let response = self.snapshot();
                self.tell(EventBody::Failed { response });
            }
            Ending::Cancelled { usage } => {
                for item in &mut self.response.output {
                    cut_off(item);
                }
                self.response.status = ResponseStatus::Cancelled;
                self.response.usage = usage.map(Into::into);
                let response = self.snapshot();
                self.tell(EventBody::Cancelled { response });
            }
        }
    }
}

/// An item that will not be whole any more.
fn cut_off(item: &mut OutputItem) {
    let status = match item {
        OutputItem::Message(message) => &mut message.status,
        OutputItem::Reasoning(reasoning) => &mut reasoning.status,
        OutputItem::FunctionCall(call) => &mut call.status,
        _ => return,
    };
    if *status == ItemStatus::InProgress {
        *status = ItemStatus::Incomplete;
    }
}
