//! What a node says becomes a response and its events. A pure machine: output in, events out. A stored answer goes through
//! the same machine as a live one, so it gives the same events with the same numbers.

use std::collections::BTreeMap;
use std::mem;

use resultity_core::openai::chat::{Choice, ChunkChoice, Delta};
use resultity_core::openai::response::{
    EventBody, FunctionCall, ItemStatus, OutputItem, OutputMessage, OutputPart, ReasoningItem, Response, ResponseEvent,
    ResponseStatus,
};
use serde_json::{Map, Value};

mod ending;
pub(in crate::session::responses) use ending::Ending;

/// Tells a response, from its acceptance to its end.
#[derive(Debug)]
pub(in crate::session::responses) struct Narrator {
    response: Response,
    events: Vec<ResponseEvent>,
    next_number: u64,
    /// Whether it was told that a node works on it.
    has_begun: bool,
    /// The message or the thoughts that are being told.
    open: Option<usize>,
    /// The place of each call in the output, by the number that the engine gave it. Engines may go back to an earlier call,
    /// so all of them stay open until the end.
    calls: BTreeMap<u64, usize>,
}

impl Narrator {
    /// Begins to tell a response that was accepted.
    pub(in crate::session::responses) fn new(response: Response) -> Self {
        let is_background = response.status == ResponseStatus::Queued;
        let mut narrator = Self {
            response,
            events: Vec::new(),
            next_number: 0,
            has_begun: false,
            open: None,
            calls: BTreeMap::new(),
        };
        let response = narrator.snapshot();
        narrator.tell(EventBody::Created { response });
        if is_background {
            let response = narrator.snapshot();
            narrator.tell(EventBody::Queued { response });
        } else {
            narrator.begin();
        }
        narrator
    }

    /// The response as it stands.
    pub(in crate::session::responses) fn into_response(self) -> Response {
        self.response
    }

    /// What was told since the last call.
    pub(in crate::session::responses) fn take_events(&mut self) -> Vec<ResponseEvent> {
        mem::take(&mut self.events)
    }

    /// A node works on it.
    pub(in crate::session::responses) fn begin(&mut self) {
        if !mem::replace(&mut self.has_begun, true) {
            self.response.status = ResponseStatus::InProgress;
            let response = self.snapshot();
            self.tell(EventBody::InProgress { response });
        }
    }

    /// New output.
    pub(in crate::session::responses) fn output(&mut self, chunk: ChunkChoice) {
        self.begin();
        let Delta { content, mut extra, .. } = chunk.delta;
        for field in ["reasoning_content", "reasoning"] {
            // Some engines write the same under both names.
            if let Some(Value::String(thought)) = extra.remove(field) {
                self.thought(&thought);
                break;
            }
        }
        let logprobs = take_logprobs(chunk.logprobs);
        match content {
            Some(text) if !text.is_empty() || !logprobs.is_empty() => self.text(&text, logprobs),
            _ => {}
        }
        if let Some(Value::String(words)) = extra.remove("refusal")
            && !words.is_empty()
        {
            self.refusal(&words);
        }
        if let Some(Value::Array(calls)) = extra.remove("tool_calls") {
            for call in calls {
                if let Value::Object(call) = call {
                    self.call(call);
                }
            }
        }
    }

    /// A whole answer at once.
    pub(in crate::session::responses) fn whole(&mut self, choice: Choice) {
        let mut extra = choice.message.extra;
        if let Some(Value::Array(calls)) = extra.get_mut("tool_calls") {
            for (number, call) in calls.iter_mut().enumerate() {
                if let Value::Object(call) = call {
                    call.insert("index".into(), number.into());
                }
            }
        }
        self.output(ChunkChoice {
            index: choice.index,
            delta: Delta {
                role: None,
                content: choice.message.content,
                extra,
            },
            logprobs: choice.logprobs,
            finish_reason: None,
        });
    }

    /// From here on, numbers are at least this.
    pub(in crate::session::responses) fn skip_to(&mut self, number: u64) {
        self.next_number = self.next_number.max(number);
    }

    /// An event with the next number.
    pub(in crate::session::responses) fn tell(&mut self, body: EventBody) {
        self.events.push(ResponseEvent {
            body,
            sequence_number: self.next_number,
        });
        self.next_number = self.next_number.saturating_add(1);
    }

    fn snapshot(&self) -> Box<Response> {
        Box::new(self.response.clone())
    }

    fn new_id(&self, prefix: &str) -> String {
        item_id(prefix, &self.response, self.response.output.len())
    }

    fn text(&mut self, text: &str, new_logprobs: Vec<Value>) {
        if !matches!(self.open_item(), Some(OutputItem::Message(_))) {
            self.open_message();
        }
        if !matches!(self.last_part(), Some(OutputPart::OutputText { .. })) {
            self.close_part();
            self.open_part(OutputPart::text());
        }
        if let Some(part) = self.last_part() {
            part.push(text);
            if let OutputPart::OutputText { logprobs, .. } = part {
                logprobs.extend_from_slice(&new_logprobs);
            }
        }
        let (item_id, output_index, content_index) = self.place();
        self.tell(EventBody::TextDelta {
            item_id,
            output_index,
            content_index,
            delta: text.to_owned(),
            logprobs: new_logprobs,
        });
    }

    fn refusal(&mut self, words: &str) {
        if !matches!(self.open_item(), Some(OutputItem::Message(_))) {
            self.open_message();
        }
        if !matches!(self.last_part(), Some(OutputPart::Refusal { .. })) {
            self.close_part();
            self.open_part(OutputPart::Refusal { refusal: String::new() });
        }
        if let Some(part) = self.last_part() {
            part.push(words);
        }
        let (item_id, output_index, content_index) = self.place();
        self.tell(EventBody::RefusalDelta {
            item_id,
            output_index,
            content_index,
            delta: words.to_owned(),
        });
    }

    fn thought(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        if !matches!(self.open_item(), Some(OutputItem::Reasoning(_))) {
            self.close(ItemStatus::Completed);
            let id = self.new_id("rs");
            self.open_item_as(OutputItem::Reasoning(ReasoningItem {
                id,
                status: ItemStatus::InProgress,
                summary: Vec::new(),
                content: Vec::new(),
            }));
            self.open_part(OutputPart::ReasoningText { text: String::new() });
        }
        if let Some(part) = self.last_part() {
            part.push(words);
        }
        let (item_id, output_index, content_index) = self.place();
        self.tell(EventBody::ReasoningDelta {
            item_id,
            output_index,
            content_index,
            delta: words.to_owned(),
        });
    }

    fn call(&mut self, mut call: Map<String, Value>) {
        let number = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let mut function = match call.remove("function") {
            Some(Value::Object(function)) => function,
            _ => Map::new(),
        };
        let mut text = |name: &str| match function.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (name, arguments) = (text("name"), text("arguments"));
        let place = if let Some(place) = self.calls.get(&number).copied() {
            place
        } else {
            self.close(ItemStatus::Completed);
            let id = self.new_id("fc");
            let call_id = match call.remove("id") {
                Some(Value::String(id)) if !id.is_empty() => id,
                _ => self.new_id("call"),
            };
            let place = self.response.output.len();
            self.open_item_as(OutputItem::FunctionCall(FunctionCall {
                id,
                status: ItemStatus::InProgress,
                call_id,
                name: name.clone(),
                arguments: String::new(),
            }));
            self.open = None;
            self.calls.insert(number, place);
            place
        };
        let Some(OutputItem::FunctionCall(told)) = self.response.output.get_mut(place) else {
            return;
        };
        if told.name.is_empty() {
            told.name = name;
        }
        if arguments.is_empty() {
            return;
        }
        told.arguments.push_str(&arguments);
        let item_id = told.id.clone();
        self.tell(EventBody::ArgumentsDelta {
            item_id,
            output_index: place as u64,
            delta: arguments,
        });
    }

    fn open_message(&mut self) {
        self.close(ItemStatus::Completed);
        let id = self.new_id("msg");
        self.open_item_as(OutputItem::Message(OutputMessage {
            id,
            status: ItemStatus::InProgress,
            role: "assistant".into(),
            content: Vec::new(),
        }));
    }

    fn open_item_as(&mut self, item: OutputItem) {
        let output_index = self.response.output.len();
        self.response.output.push(item.clone());
        self.open = Some(output_index);
        self.tell(EventBody::ItemAdded {
            output_index: output_index as u64,
            item,
        });
    }

    fn open_part(&mut self, part: OutputPart) {
        if let Some(parts) = self.parts() {
            parts.push(part.clone());
        }
        let (item_id, output_index, content_index) = self.place();
        self.tell(EventBody::PartAdded {
            item_id,
            output_index,
            content_index,
            part,
        });
    }

    fn open_item(&mut self) -> Option<&mut OutputItem> {
        self.response.output.get_mut(self.open?)
    }

    fn parts(&mut self) -> Option<&mut Vec<OutputPart>> {
        match self.open_item()? {
            OutputItem::Message(message) => Some(&mut message.content),
            OutputItem::Reasoning(reasoning) => Some(&mut reasoning.content),
            _ => None,
        }
    }

    fn last_part(&mut self) -> Option<&mut OutputPart> {
        self.parts()?.last_mut()
    }

    /// Where the open part is: its item, the item's place, the part's place in it.
    fn place(&mut self) -> (String, u64, u64) {
        let content_index = self.parts().map_or(0, |parts| parts.len().saturating_sub(1));
        let id = self.open_item().map_or_else(String::new, |item| item.id().to_owned());
        (id, self.open.unwrap_or_default() as u64, content_index as u64)
    }

    fn close_part(&mut self) {
        let Some(part) = self.last_part().map(|part| part.clone()) else {
            return;
        };
        let (item_id, output_index, content_index) = self.place();
        let done = match part.clone() {
            OutputPart::OutputText { text, logprobs, .. } => EventBody::TextDone {
                item_id: item_id.clone(),
                output_index,
                content_index,
                text,
                logprobs,
            },
            OutputPart::Refusal { refusal } => EventBody::RefusalDone {
                item_id: item_id.clone(),
                output_index,
                content_index,
                refusal,
            },
            OutputPart::ReasoningText { text } => EventBody::ReasoningDone {
                item_id: item_id.clone(),
                output_index,
                content_index,
                text,
            },
            _ => return,
        };
        self.tell(done);
        self.tell(EventBody::PartDone {
            item_id,
            output_index,
            content_index,
            part,
        });
    }

    /// Closes the open message or thoughts, if there are any.
    fn close(&mut self, status: ItemStatus) {
        self.close_part();
        let Some(place) = self.open.take() else { return };
        match &mut self.response.output[place] {
            OutputItem::Message(message) => message.status = status,
            OutputItem::Reasoning(reasoning) => reasoning.status = status,
            _ => {}
        }
        self.tell_done(place);
    }

    fn close_call(&mut self, place: usize, status: ItemStatus) {
        let Some(OutputItem::FunctionCall(call)) = self.response.output.get_mut(place) else {
            return;
        };
        call.status = status;
        let body = EventBody::ArgumentsDone {
            item_id: call.id.clone(),
            output_index: place as u64,
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        };
        self.tell(body);
        self.tell_done(place);
    }

    fn tell_done(&mut self, place: usize) {
        let item = self.response.output[place].clone();
        self.tell(EventBody::ItemDone {
            output_index: place as u64,
            item,
        });
    }
}

/// The id of an item: it leads back to its response.
pub(in crate::session::responses) fn item_id(prefix: &str, response: &Response, place: usize) -> String {
    format!("{prefix}_{}_{place}", response.id.as_uuid().simple())
}

/// OpenAI's log-probabilities of chat completions, one entry a token.
fn take_logprobs(logprobs: Option<Value>) -> Vec<Value> {
    match logprobs {
        Some(Value::Object(mut fields)) => match fields.remove("content") {
            Some(Value::Array(tokens)) => tokens,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
