//! The choices of completions as engines write them.

use std::collections::HashMap;

use resultity_core::openai::chat::{AnswerMessage, Choice, ChunkChoice, Delta};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A choice, or what is new in it. Other fields, such as vLLM's `stop_reason`, stay behind.
#[derive(Debug, Deserialize)]
pub(super) struct TextChoice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    text: String,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    finish_reason: Option<String>,
}

impl From<TextChoice> for Choice {
    fn from(choice: TextChoice) -> Self {
        Self {
            index: choice.index,
            message: AnswerMessage {
                role: "assistant".to_owned(),
                content: Some(choice.text),
                ..AnswerMessage::default()
            },
            logprobs: choice.logprobs,
            finish_reason: choice.finish_reason,
        }
    }
}

impl From<TextChoice> for ChunkChoice {
    fn from(choice: TextChoice) -> Self {
        Self {
            index: choice.index,
            delta: Delta {
                content: Some(choice.text),
                ..Delta::default()
            },
            logprobs: choice.logprobs,
            finish_reason: choice.finish_reason,
        }
    }
}

/// Brings log-probabilities into OpenAI's shape for completions. llama.cpp writes those of completions as those of chats.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    /// Characters so far, by choice.
    places: HashMap<u32, u64>,
}

impl Rewriter {
    /// The log-probabilities of what comes next in the choice `index`.
    pub(super) fn rewrite(&mut self, index: u32, logprobs: &mut Option<Value>) {
        let Some(content) = logprobs
            .as_ref()
            .and_then(|logprobs| logprobs.get("content")?.as_array())
        else {
            return;
        };
        let place = self.places.entry(index).or_default();
        let (mut tokens, mut own, mut top, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for entry in content {
            let token = entry.get("token").and_then(Value::as_str).unwrap_or_default();
            offsets.push(*place);
            *place += token.chars().count() as u64;
            tokens.push(token);
            own.push(entry.get("logprob").cloned().unwrap_or_default());
            let likeliest = entry.get("top_logprobs").and_then(Value::as_array);
            let of = |entry: &Value| Some((entry.get("token")?.as_str()?.to_owned(), entry.get("logprob")?.clone()));
            // The token that came is told in any case.
            let all = likeliest.into_iter().flatten().chain([entry]);
            top.push(all.filter_map(of).collect::<Map<_, _>>());
        }
        *logprobs = Some(json!({
            "tokens": tokens, "token_logprobs": own, "top_logprobs": top, "text_offset": offsets,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_in_the_shape_of_chats_are_rewritten() {
        let mut rewriter = Rewriter::default();
        let mut given = |index, content: Value| {
            let mut logprobs = Some(json!({"content": content}));
            rewriter.rewrite(index, &mut logprobs);
            logprobs.unwrap()
        };
        let first = given(
            0,
            json!([{"id": 1, "token": "é", "logprob": -0.5, "bytes": [1], "top_logprobs": [{"token": "e", "logprob": -0.25, "id": 7}]}]),
        );
        assert_eq!(
            first,
            json!({"tokens": ["é"], "token_logprobs": [-0.5], "top_logprobs": [{"e": -0.25, "é": -0.5}], "text_offset": [0]})
        );
        let next = given(0, json!([{"token": "b", "logprob": -1}]));
        assert_eq!(next["text_offset"], json!([1]));
        assert_eq!(given(1, json!([{"token": "c"}]))["text_offset"], json!([0]));
        let mut right = Some(json!({"tokens": ["a"], "text_offset": [4]}));
        rewriter.rewrite(0, &mut right);
        assert_eq!(right.unwrap()["text_offset"], json!([4]));
    }
}
