//! Puts the pieces of an answer together, for jobs that want it whole.

use std::collections::BTreeMap;

use resultity_core::openai::chat::{AnswerMessage, Choice, ChunkChoice};
use serde_json::{Map, Value};

/// The answer so far, by choice.
#[derive(Debug, Default)]
pub(super) struct Assembler(BTreeMap<u32, Choice>);

impl Assembler {
    /// Adds a piece.
    pub(super) fn add(&mut self, pieces: Vec<ChunkChoice>) {
        for piece in pieces {
            let choice = self.0.entry(piece.index).or_insert_with(|| Choice {
                index: piece.index,
                message: AnswerMessage {
                    role: "assistant".into(),
                    ..AnswerMessage::default()
                },
                logprobs: None,
                finish_reason: None,
            });
            if let Some(text) = piece.delta.content {
                choice.message.content.get_or_insert_default().push_str(&text);
            }
            merge(&mut choice.message.extra, piece.delta.extra);
            match (&mut choice.logprobs, piece.logprobs) {
                (Some(Value::Object(so_far)), Some(Value::Object(new))) => merge(so_far, new),
                (so_far, Some(new)) => *so_far = Some(new),
                (_, None) => {}
            }
            if piece.finish_reason.is_some() {
                choice.finish_reason = piece.finish_reason;
            }
        }
    }

    /// The choices, by index; at least one, because an engine with nothing to say has answered too.
    pub(super) fn finish(mut self) -> Vec<Choice> {
        if self.0.is_empty() {
            self.add(vec![ChunkChoice::text(0, "")]);
        }
        self.0.into_values().collect()
    }
}

/// Fields of deltas add up: texts and lists go on, entries of `tool_calls` are told apart by their `index`.
fn merge(so_far: &mut Map<String, Value>, new: Map<String, Value>) {
    for (name, value) in new {
        match (so_far.get_mut(&name), value) {
            (_, Value::Null) => {}
            // What is repeated in every piece rather than continued.
            (Some(_), Value::String(_)) if matches!(name.as_str(), "id" | "type" | "role" | "name") => {}
            (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
            (Some(Value::Object(fields)), Value::Object(more)) => merge(fields, more),
            (Some(Value::Array(items)), Value::Array(more)) => {
                for item in more {
                    merge_item(items, item);
                }
            }
            (None, Value::Array(items)) => {
                let mut list = Vec::new();
                for item in items {
                    merge_item(&mut list, item);
                }
                so_far.insert(name, Value::Array(list));
            }
            (_, value) => {
                so_far.insert(name, value);
            }
        }
    }
}

fn merge_item(items: &mut Vec<Value>, item: Value) {
    let index = |value: &Value| value.get("index").and_then(Value::as_u64);
    let same = index(&item).and_then(|wanted| items.iter().position(|known| index(known) == Some(wanted)));
    match (same.map(|place| &mut items[place]), item) {
        (Some(Value::Object(fields)), Value::Object(more)) => merge(fields, more),
        (_, item) => items.push(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pieces(value: Value) -> Vec<ChunkChoice> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn texts_and_tool_calls_are_joined_by_choice() {
        let mut assembler = Assembler::default();
        for piece in [
            json!([{"index": 0, "delta": {"role": "assistant", "content": "Pa"}}, {"index": 1, "delta": {"content": "x"}}]),
            json!([{"index": 0, "delta": {"content": "ris", "reasoning": "be"}}]),
            json!([{"index": 1, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\""}}]}}]),
            json!([{"index": 1, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": ":1}"}}]}}]),
            json!([{"index": 0, "delta": {"reasoning": "cause"}, "finish_reason": "stop"}]),
            json!([{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]),
        ] {
            assembler.add(pieces(piece));
        }
        let choices = serde_json::to_value(assembler.finish()).unwrap();
        assert_eq!(
            choices,
            json!([
                {"index": 0, "message": {"role": "assistant", "content": "Paris", "reasoning": "because"},
                 "logprobs": null, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": "x", "tool_calls": [
                    {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
                 "logprobs": null, "finish_reason": "tool_calls"},
            ])
        );
    }
}
