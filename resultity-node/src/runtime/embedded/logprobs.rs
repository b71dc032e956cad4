//! How likely the model found a token, in OpenAI's two shapes. The numbers are those of the model: before temperature,
//! penalties, biases and masks.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::tokenizer::Tokenizer;

/// Stands for all that is less likely, as with OpenAI: JSON has no infinity.
const LEAST: f64 = -9999.0;

/// What a request wants to know of each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) shape: Shape,
    /// How many of the likeliest tokens to tell beside the one that came.
    pub(super) top: usize,
}

/// How log-probabilities are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As in chat completions: an object a token.
    Chat,
    /// As in completions: a list for each property.
    Text,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    token: u32,
    /// None for the first token of a prompt: nothing comes before it.
    logprob: Option<f64>,
    top: Vec<(u32, f64)>,
}

impl Scored {
    /// A token that nothing comes before.
    pub(super) fn first(token: u32) -> Self {
        Self {
            token,
            logprob: None,
            top: Vec::new(),
        }
    }

    /// A token, given the model's number for each token in its place.
    pub(super) fn new(logits: &[f32], token: u32, top: usize) -> Self {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
        let scale = f64::from(highest) + sum.ln();
        let logprob = |logit: f32| (f64::from(logit) - scale).max(LEAST);
        Self {
            token,
            logprob: logits.get(token as usize).map(|logit| logprob(*logit)),
            top: likeliest(logits, top)
                .into_iter()
                .map(|token| (token, logprob(logits[token as usize])))
                .collect(),
        }
    }
}

/// The `count` likeliest tokens, likeliest first.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let by_logit = |left: &u32, right: &u32| {
        let (one, other) = (logits[*left as usize], logits[*right as usize]);
        other.total_cmp(&one).then(left.cmp(right))
    };
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count, by_logit);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(by_logit);
    tokens
}

impl Wanted {
    /// Tokens as they are sent; each with the place in the text where it begins, in characters.
    pub(super) fn write(self, tokenizer: &Tokenizer, tokens: &[(usize, Scored)]) -> Value {
        match self.shape {
            Shape::Chat => {
                let content: Vec<Value> = tokens.iter().map(|(_, scored)| chat(tokenizer, scored)).collect();
                json!({"content": content, "refusal": null})
            }
            Shape::Text => text(tokenizer, tokens),
        }
    }
}

fn chat(tokenizer: &Tokenizer, scored: &Scored) -> Value {
    let entry = |token: u32, logprob: f64| {
        let bytes = tokenizer.bytes(token);
        let mut entry = Map::new();
        let text = String::from_utf8_lossy(&tokenizer.shown(token)).into_owned();
        entry.insert("token".to_owned(), text.into());
        entry.insert("logprob".to_owned(), logprob.into());
        // A control token stands for no text.
        let bytes = if bytes.is_empty() { Value::Null } else { bytes.into() };
        entry.insert("bytes".to_owned(), bytes);
        entry
    };
    let mut own = entry(scored.token, scored.logprob.unwrap_or(0.0));
    let top: Vec<Value> = scored
        .top
        .iter()
        .map(|(token, logprob)| entry(*token, *logprob).into())
        .collect();
    own.insert("top_logprobs".to_owned(), top.into());
    own.into()
}

fn text(tokenizer: &Tokenizer, scored: &[(usize, Scored)]) -> Value {
    let name = |token: u32| match String::from_utf8(tokenizer.shown(token).into_owned()) {
        Ok(text) => text,
        // A part of a character, as OpenAI writes it; keys of one object must not be the same.
        Err(error) => {
            let bytes = error.as_bytes().iter().map(|byte| format!("\\x{byte:02x}"));
            "bytes:".to_owned() + &bytes.collect::<String>()
        }
    };
    let top = |scored: &Scored| {
        // The token that came is told in any case.
        let own = scored.logprob.map(|logprob| (scored.token, logprob))?;
        let all = scored.top.iter().chain(std::iter::once(&own));
        let map: Map<String, Value> = all.map(|(token, logprob)| (name(*token), (*logprob).into())).collect();
        Some(Value::Object(map))
    };
    json!({
        "tokens": scored.iter().map(|(_, scored)| name(scored.token)).collect::<Vec<_>>(),
        "token_logprobs": scored.iter().map(|(_, scored)| scored.logprob).collect::<Vec<_>>(),
        "top_logprobs": scored.iter().map(|(_, scored)| top(scored)).collect::<Vec<_>>(),
        "text_offset": scored.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
    })
}

/// The text of tokens, control tokens written out.
pub(super) fn text_of(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let bytes: Vec<Cow<'_, [u8]>> = tokens.iter().map(|token| tokenizer.shown(*token)).collect();
    String::from_utf8_lossy(&bytes.concat()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_likeliest_come_first() {
        let logits = [0.5, 3.0, -2.0, 3.0, f32::NEG_INFINITY];
        let sum: f64 = (0..4)
            .map(|token| Scored::new(&logits, token, 0).logprob.unwrap().exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        let scored = Scored::new(&logits, 4, 3);
        assert_eq!(scored.logprob, Some(LEAST));
        assert_eq!(
            scored.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(),
            [1, 3, 0]
        );
        assert_eq!(likeliest(&logits, 9).len(), 5);
    }
}
