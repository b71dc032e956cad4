//! The Responses API: request, items, answer and stream events.

mod event;
mod item;
mod object;
mod request;

pub use event::{EventBody, ResponseEvent};
pub use item::{FunctionCall, InputItem, ItemStatus, OutputItem, OutputMessage, OutputPart, ReasoningItem};
pub use object::{
    DeletedResponse, IncompleteDetails, InputTokensDetails, OutputTokensDetails, Response, ResponseFailure,
    ResponseStatus, ResponseUsage,
};
pub use request::{ReasoningOptions, ResponseInput, ResponseRequest, ResponseTool, TextFormat, TextOptions};
