//! Kept answers as their endpoints give them.

use std::collections::BTreeMap;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::{AnswerMessage, Choice, ChunkChoice};
use resultity_core::openai::embedding::EncodingFormat;
use resultity_core::raw_json::RawJson;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::flow::Answer;
use crate::session::run::JobRef;
use crate::session::{chat, completions, compute, embeddings};
use crate::store::DetachedRecord;

/// The answer of a kept job, as its endpoint gives it.
pub(super) fn render(kept: &DetachedRecord, mut answer: Answer) -> Result<RawJson, ApiError> {
    let job = JobRef {
        id: kept.view.id,
        created: kept.view.created,
    };
    let model = kept.view.asked_model.clone();
    if !answer.chunks.is_empty() {
        answer.choices = gathered(&answer.chunks, &answer.finish_reasons);
    }
    match kept.view.endpoint {
        Endpoint::ChatCompletions => encoded(&chat::completion(job, model, answer)),
        Endpoint::Completions => encoded(&completions::completion(job, model, answer)),
        Endpoint::Embeddings => encoded(&embeddings::list(model, asked_format(&kept.request), &answer)?),
        Endpoint::Compute => encoded(&compute::computed(job, model, answer)?),
        endpoint => Err(ApiError::new(
            ErrorCode::NotImplemented,
            format!("answers of {endpoint} are fetched there"),
        )),
    }
}

/// An answer, written out.
pub(super) fn encoded(body: &impl Serialize) -> Result<RawJson, ApiError> {
    RawJson::of(body)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the answer could not be encoded").with_source(error))
}

/// How the numbers of an embedding were asked for.
fn asked_format(request: &str) -> EncodingFormat {
    #[derive(Deserialize)]
    struct Asked {
        #[serde(default)]
        encoding_format: Option<EncodingFormat>,
    }
    serde_json::from_str(request)
        .ok()
        .and_then(|asked: Asked| asked.encoding_format)
        .unwrap_or_default()
}

/// The pieces of a stream as whole choices.
pub(super) fn gathered(chunks: &[ChunkChoice], finish_reasons: &BTreeMap<u32, String>) -> Vec<Choice> {
    let mut choices: BTreeMap<u32, Choice> = BTreeMap::new();
    for chunk in chunks {
        let choice = choices.entry(chunk.index).or_insert_with(|| Choice {
            index: chunk.index,
            message: AnswerMessage {
                role: "assistant".into(),
                ..AnswerMessage::default()
            },
            logprobs: None,
            finish_reason: None,
        });
        if let Some(text) = &chunk.delta.content {
            choice.message.content.get_or_insert_default().push_str(text);
        }
        for (name, value) in &chunk.delta.extra {
            match choice.message.extra.get_mut(name) {
                Some(whole) if name == "tool_calls" => add_calls(whole, value),
                Some(whole) => add(whole, value),
                None if name == "tool_calls" => {
                    let mut whole = Value::Array(Vec::new());
                    add_calls(&mut whole, value);
                    choice.message.extra.insert(name.clone(), whole);
                }
                None => {
                    choice.message.extra.insert(name.clone(), value.clone());
                }
            }
        }
        if let Some(logprobs) = &chunk.logprobs {
            match &mut choice.logprobs {
                Some(whole) => add(whole, logprobs),
                None => choice.logprobs = Some(logprobs.clone()),
            }
        }
    }
    for (index, choice) in &mut choices {
        let reason = finish_reasons.get(index).map_or("stop", String::as_str);
        choice.finish_reason = Some(reason.to_owned());
        if let Some(Value::Array(calls)) = choice.message.extra.get_mut("tool_calls") {
            for call in calls.iter_mut().filter_map(Value::as_object_mut) {
                call.remove("index");
            }
        }
    }
    choices.into_values().collect()
}

/// Adds a piece to what there is: texts and arrays are continued, objects by their fields.
fn add(whole: &mut Value, piece: &Value) {
    match (whole, piece) {
        (Value::String(whole), Value::String(piece)) => whole.push_str(piece),
        (Value::Array(whole), Value::Array(piece)) => whole.extend_from_slice(piece),
        (Value::Object(whole), Value::Object(piece)) => add_fields(whole, piece),
        (whole @ Value::Null, piece) => *whole = piece.clone(),
        _ => {}
    }
}

fn add_fields(whole: &mut Map<String, Value>, piece: &Map<String, Value>) {
    for (name, value) in piece {
        match whole.get_mut(name) {
            Some(whole) => add(whole, value),
            None => {
                whole.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Calls come in pieces too, by their index; only their arguments are continued.
fn add_calls(whole: &mut Value, pieces: &Value) {
    let (Value::Array(whole), Value::Array(pieces)) = (whole, pieces) else {
        return;
    };
    for piece in pieces {
        match whole.iter_mut().find(|call| call["index"] == piece["index"]) {
            None => whole.push(piece.clone()),
            Some(call) => {
                if let Some(arguments) = piece.pointer("/function/arguments") {
                    add(&mut call["function"]["arguments"], arguments);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pieces_make_whole_choices() {
        let chunks: Vec<ChunkChoice> = serde_json::from_value(json!([
            {"index": 0, "delta": {"content": "he"}, "logprobs": {"content": [1], "refusal": null}},
            {"index": 1, "delta": {"reasoning_content": "h"}},
            {"index": 0, "delta": {"content": "llo"}, "logprobs": {"content": [2], "refusal": null}},
            {"index": 1, "delta": {"reasoning_content": "m"}},
            {"index": 1, "delta": {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}},
            {"index": 1, "delta": {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g"}}]}},
            {"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}, {"index": 1, "function": {"arguments": "[]"}}]}},
            {"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}},
        ]))
        .unwrap();
        let reasons = BTreeMap::from([(1, "tool_calls".to_owned())]);
        assert_eq!(
            serde_json::to_value(gathered(&chunks, &reasons)).unwrap(),
            json!([
                {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop",
                    "logprobs": {"content": [1, 2], "refusal": null}},
                {"index": 1, "message": {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[]"}},
                ]}, "finish_reason": "tool_calls", "logprobs": null},
            ])
        );
    }
}
