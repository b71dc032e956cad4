//! A response that is kept: read back from what the store has of its job. Pure.

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::job::{Endpoint, JobState};
use resultity_core::openai::response::{InputItem, Response, ResponseRequest};
use serde_json::{Value, json};

use super::messages::Origins;
use super::narrate::{Ending, Narrator};
use super::translate::in_our_words;
use crate::flow::{Answer, detached};
use crate::store::DetachedRecord;

/// A response, with what was asked.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its id.
    pub(super) id: ResponseId,
    /// What was asked, with all that it went on from.
    pub(super) request: ResponseRequest,
    /// What the store has.
    pub(super) record: DetachedRecord,
}

impl Kept {
    /// Reads a record. None: it is of another kind of job.
    pub(super) fn read(record: DetachedRecord) -> Result<Option<Self>, ApiError> {
        if record.view.endpoint != Endpoint::Responses {
            return Ok(None);
        }
        let request = serde_json::from_str(&record.request).map_err(|error| {
            tracing::error!(job.id = %record.view.id, %error, "a kept request can't be read");
            ApiError::new(ErrorCode::Internal, "the request that was kept can't be read")
        })?;
        Ok(Some(Self {
            id: record.view.id.into(),
            request,
            record,
        }))
    }

    /// Begins to tell it.
    pub(super) fn narrator(&self) -> Narrator {
        let created = self.record.view.created.as_seconds();
        Narrator::new(Response::begun(self.id, created, &self.request))
    }

    /// Tells all of it that is known.
    pub(super) fn narrate(&self) -> Result<Narrator, ApiError> {
        let mut narrator = self.narrator();
        if self.record.view.state.is_leased() {
            narrator.begin();
        }
        self.tell_end(&mut narrator, 0, None)?;
        Ok(narrator)
    }

    /// Tells what is known of it behind so many pieces, and how it ended, if it has. What was told of a response that failed
    /// is not kept, so its last event comes behind the one that the listener names.
    pub(super) fn tell_end(&self, narrator: &mut Narrator, told: usize, after: Option<u64>) -> Result<(), ApiError> {
        if let Some(answer) = &self.record.answer {
            tell_answer(narrator, detached::stored_answer(answer)?, told);
        }
        if let Some(ending) = self.ending() {
            if !matches!(ending, Ending::Answer { .. }) {
                narrator.skip_to(after.map_or(0, |after| after.saturating_add(1)));
            }
            narrator.end(ending);
        }
        Ok(())
    }

    /// How it ended; none: it has not.
    fn ending(&self) -> Option<Ending> {
        let view = &self.record.view;
        if !view.state.is_final() {
            return None;
        }
        if view.state == JobState::Cancelled {
            return Some(Ending::Cancelled { usage: view.usage });
        }
        Some(match detached::answer_of(&self.record) {
            Ok(answer) => Ending::Answer {
                finish_reason: finish_reason(&answer),
                usage: answer.usage,
                at: view.finished.unwrap_or(view.created).as_seconds(),
            },
            Err(error) => Ending::Failed(in_our_words(error, &Origins::of_text())),
        })
    }

    /// What was asked, as items of the form that lists have: each with an id, contents as parts.
    pub(super) fn input_items(&self) -> Vec<InputItem> {
        let items = self.request.input.clone().into_items();
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.listed(index, item))
            .collect()
    }

    /// All that was said until its end: what was asked, then what was answered.
    pub(super) fn conversation(&self) -> Result<Vec<InputItem>, ApiError> {
        let mut items = self.input_items();
        let response = self.narrate()?.into_response();
        items.extend(response.output.into_iter().map(InputItem::from));
        Ok(items)
    }

    fn listed(&self, index: usize, InputItem(mut fields): InputItem) -> InputItem {
        let kind = InputItem(fields.clone()).kind().unwrap_or_default().to_owned();
        let prefix = match kind.as_str() {
            "function_call" => "fc",
            "function_call_output" => "fco",
            "reasoning" => "rs",
            _ => "msg",
        };
        let id = format!("{prefix}_{}_in{index}", self.id.as_uuid().simple());
        if fields.get("id").is_none_or(Value::is_null) {
            fields.insert("id".into(), id.into());
        }
        if fields.get("status").is_none_or(Value::is_null) {
            fields.insert("status".into(), "completed".into());
        }
        if let Some(Value::String(text)) = fields.get("content") {
            let part = if fields.get("role").is_some_and(|role| role == "assistant") {
                json!([{"type": "output_text", "text": text, "annotations": []}])
            } else {
                json!([{"type": "input_text", "text": text}])
            };
            fields.insert("content".into(), part);
        }
        fields.insert("type".into(), kind.into());
        InputItem(fields)
    }
}

/// Tells an answer that is there as a whole, piece by piece as it came, behind so many pieces that were told.
pub(super) fn tell_answer(narrator: &mut Narrator, answer: Answer, told: usize) {
    for piece in answer.chunks.into_iter().skip(told) {
        narrator.output(piece);
    }
    for choice in answer.choices {
        narrator.whole(choice);
    }
}

/// Why an answer ended: there is one choice.
pub(super) fn finish_reason(answer: &Answer) -> String {
    let whole = answer.choices.first().and_then(|choice| choice.finish_reason.clone());
    whole
        .or_else(|| answer.finish_reasons.get(&0).cloned())
        .unwrap_or_else(|| "stop".into())
}
