//! Completions of a text: request and answer. The same shape is used for whole answers and for the chunks of a stream.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::chat::{Stop, StreamOptions, Usage};

/// `POST /v1/completions`.
///
/// ```
/// use resultity_core::openai::completion::CompletionRequest;
/// let request = CompletionRequest::new("smollm2-135m", "Once upon a time").max_tokens(20);
/// assert_eq!(serde_json::to_value(&request)?["prompt"], "Once upon a time");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CompletionRequest {
    /// The model's name or alias.
    pub model: String,
    /// What is to be continued.
    pub prompt: Prompt,
    /// The most tokens to make per choice; OpenAI's default is 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// 0 (always the likeliest token) to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// How many choices for each prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Whether each choice begins with its prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<bool>,
    /// How many of the likeliest tokens to tell at each place: 0 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u64>,
    /// Texts that end a choice; up to four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Makes sampling repeatable on the same machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Whether the answer comes in pieces, as it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Options that only count with `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl CompletionRequest {
    /// A request with all options left to the model.
    pub fn new(model: impl Into<String>, prompt: impl Into<Prompt>) -> Self {
        Self {
            model: model.into(),
            prompt: prompt.into(),
            max_tokens: None,
            temperature: None,
            top_p: None,
            n: None,
            echo: None,
            logprobs: None,
            stop: None,
            seed: None,
            stream: None,
            stream_options: None,
            extra: Map::new(),
        }
    }

    /// Sets the most tokens to make.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Sets the temperature, 0 to 2.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets how many choices there are for each prompt.
    #[must_use]
    pub fn choices(mut self, n: u64) -> Self {
        self.n = Some(n);
        self
    }

    /// Sets the texts that end a choice.
    #[must_use]
    pub fn stop(mut self, stop: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.stop = Some(Stop::Many(stop.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets a field that this crate does not know.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(field.into(), value.into());
        self
    }

    /// Whether the answer comes in pieces.
    pub fn is_stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }
}

/// Texts, or texts as the ids of their tokens: one or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Prompt {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// One text as token ids.
    Tokens(Vec<u32>),
    /// Several texts as token ids.
    TokenLists(Vec<Vec<u32>>),
}

impl Prompt {
    /// How many texts there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
        }
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Prompt {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a text, an array of texts, an array of token ids or an array of such arrays";
        /// An entry of an array.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a text, a token id or an array of token ids")]
        enum Entry {
            Text(String),
            Token(u32),
            Tokens(Vec<u32>),
        }
        struct PromptVisitor;
        impl<'de> serde::de::Visitor<'de> for PromptVisitor {
            type Value = Prompt;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt::Text(text.to_owned()))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Prompt, E> {
                Ok(Prompt::Text(text))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut entries: A) -> Result<Prompt, A::Error> {
                let mixed = || serde::de::Error::custom(format!("mixed entries, expected {EXPECTED}"));
                let mut prompt = match entries.next_element()? {
                    None => return Ok(Prompt::Texts(Vec::new())),
                    Some(Entry::Text(text)) => Prompt::Texts(vec![text]),
                    Some(Entry::Token(token)) => Prompt::Tokens(vec![token]),
                    Some(Entry::Tokens(tokens)) => Prompt::TokenLists(vec![tokens]),
                };
                while let Some(entry) = entries.next_element()? {
                    match (&mut prompt, entry) {
                        (Prompt::Texts(texts), Entry::Text(text)) => texts.push(text),
                        (Prompt::Tokens(tokens), Entry::Token(token)) => tokens.push(token),
                        (Prompt::TokenLists(lists), Entry::Tokens(tokens)) => lists.push(tokens),
                        _ => return Err(mixed()),
                    }
                }
                Ok(prompt)
            }
        }
        deserializer.deserialize_any(PromptVisitor)
    }
}

/// A whole answer, or one chunk of a streamed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Completion {
    /// `cmpl-…`; the same in all chunks.
    pub id: String,
    /// Always `text_completion`.
    pub object: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The name that was asked for.
    pub model: String,
    /// The choices, by index: `n` for each prompt, in the order of the prompts. Empty only in the chunk that holds the usage.
    pub choices: Vec<CompletionChoice>,
    /// The token counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Completion {
    /// The text of the first choice; empty if there is none.
    pub fn text(&self) -> &str {
        self.choices
            .first()
            .map(|choice| choice.text.as_str())
            .unwrap_or_default()
    }
}

/// One continuation, or what is new in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CompletionChoice {
    /// The text.
    pub text: String,
    /// Which one, from 0.
    pub index: u32,
    /// Log-probabilities, where asked for: `tokens`, `token_logprobs`, `top_logprobs`, `text_offset`.
    #[serde(default)]
    pub logprobs: Option<Value>,
    /// `stop` or `length`.
    pub finish_reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!("a"), Prompt::Text("a".into()), 1)]
    #[case(json!(["a", "b"]), Prompt::Texts(vec!["a".into(), "b".into()]), 2)]
    #[case(json!([1, 2]), Prompt::Tokens(vec![1, 2]), 1)]
    #[case(json!([[1], [2, 3]]), Prompt::TokenLists(vec![vec![1], vec![2, 3]]), 2)]
    fn prompts_come_in_four_forms(#[case] json: Value, #[case] prompt: Prompt, #[case] count: usize) {
        assert_eq!(serde_json::to_value(&prompt).unwrap(), json);
        assert_eq!(serde_json::from_value::<Prompt>(json).unwrap(), prompt);
        assert_eq!(prompt.count(), count);
    }

    #[rstest]
    #[case(json!(5))]
    #[case(json!(["a", 1]))]
    #[case(json!([-1]))]
    #[case(json!([1.5]))]
    #[case(json!([[["a"]]]))]
    fn other_forms_are_refused(#[case] json: Value) {
        assert!(serde_json::from_value::<Prompt>(json).is_err());
    }
}
