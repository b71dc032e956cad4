//! The fields of requests that core has no names for: those that this engine honours, read; the others refused.

use resultity_core::openai::chat::StreamOptions;
use serde_json::{Map, Value};

use super::RuntimeError;
use super::logprobs::{Shape, Wanted};

/// The most likeliest tokens that can be told for each token, as with OpenAI.
const MAX_CHAT_LOGPROBS: u64 = 20;
const MAX_TEXT_LOGPROBS: u64 = 5;

/// The most entries of a `logit_bias`.
const MAX_BIASES: usize = 1024;

/// Fields of chat requests that are read here.
const CHAT: [&str; 6] = [
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "response_format",
];

/// Fields of completion requests that are read here.
const COMPLETION: [&str; 4] = ["presence_penalty", "frequency_penalty", "logit_bias", "best_of"];

/// The fields of one request.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of a chat request, if all are honoured or change nothing.
    pub(super) fn of_chat(extra: &'a Map<String, Value>) -> Result<Self, RuntimeError> {
        Self::checked(extra, &CHAT)
    }

    /// The fields of a completion request, if all are honoured or change nothing.
    pub(super) fn of_completion(extra: &'a Map<String, Value>) -> Result<Self, RuntimeError> {
        Self::checked(extra, &COMPLETION)
    }

    fn checked(extra: &'a Map<String, Value>, honoured: &[&str]) -> Result<Self, RuntimeError> {
        for (field, value) in extra {
            if !value.is_null() && !honoured.contains(&field.as_str()) && !changes_nothing(field, value) {
                return Err(RuntimeError::invalid_field(
                    field,
                    "the embedded engine does not support it",
                ));
            }
        }
        Ok(Self(extra))
    }

    fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A penalty: -2 to 2, 0 if nothing is said.
    pub(super) fn penalty(self, field: &str) -> Result<f64, RuntimeError> {
        match self.get(field).map(Value::as_f64) {
            None => Ok(0.0),
            Some(Some(value)) if (-2.0..=2.0).contains(&value) => Ok(value),
            Some(_) => Err(RuntimeError::invalid_field(field, "expected a number from -2 to 2")),
        }
    }

    /// What a chat request wants to know of each token.
    pub(super) fn chat_logprobs(self) -> Result<Option<Wanted>, RuntimeError> {
        let wanted = match self.get("logprobs") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(RuntimeError::invalid_field("logprobs", "expected true or false")),
        };
        let top = match self.get("top_logprobs").map(Value::as_u64) {
            None => 0,
            Some(Some(top)) if top <= MAX_CHAT_LOGPROBS => top,
            Some(_) => return Err(RuntimeError::invalid_field("top_logprobs", "expected 0 to 20")),
        };
        if top > 0 && !wanted {
            return Err(RuntimeError::invalid_field(
                "top_logprobs",
                "it needs logprobs to be true",
            ));
        }
        Ok(wanted.then_some(Wanted {
            shape: Shape::Chat,
            top: top as usize,
        }))
    }

    /// Whether the answer is to be a JSON object.
    pub(super) fn is_json(self) -> Result<bool, RuntimeError> {
        let Some(format) = self.get("response_format") else {
            return Ok(false);
        };
        match format.get("type").and_then(Value::as_str) {
            Some("text") => Ok(false),
            Some("json_object") => Ok(true),
            _ => Err(RuntimeError::invalid_field(
                "response_format",
                "the embedded engine supports the types text and json_object",
            )),
        }
    }

    /// What is added to the numbers of tokens, given how many tokens there are.
    pub(super) fn logit_bias(self, tokens: u32) -> Result<Vec<(u32, f32)>, RuntimeError> {
        let refuse = |what: &str| Err(RuntimeError::invalid_field("logit_bias", what));
        let map = match self.get("logit_bias") {
            None => return Ok(Vec::new()),
            Some(Value::Object(map)) if map.len() <= MAX_BIASES => map,
            Some(_) => return refuse("expected an object with at most 1024 token ids"),
        };
        let mut biases = Vec::with_capacity(map.len());
        for (token, bias) in map {
            let Some(token) = token.parse::<u32>().ok().filter(|token| *token < tokens) else {
                return refuse(&format!("expected ids of this model's tokens, below {tokens}"));
            };
            let Some(bias) = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)) else {
                return refuse("expected numbers from -100 to 100");
            };
            biases.push((token, bias as f32));
        }
        Ok(biases)
    }

    /// Refuses to choose the best of more completions than are wanted.
    pub(super) fn check_best_of(self, choices: u64) -> Result<(), RuntimeError> {
        match self.get("best_of").map(Value::as_u64) {
            None => Ok(()),
            Some(Some(best_of)) if best_of == choices => Ok(()),
            Some(_) => Err(RuntimeError::invalid_field(
                "best_of",
                "the embedded engine supports only the value of n",
            )),
        }
    }
}

/// What a completion request wants to know of each token.
pub(super) fn text_logprobs(top: Option<u64>) -> Result<Option<Wanted>, RuntimeError> {
    match top {
        None => Ok(None),
        Some(top) if top <= MAX_TEXT_LOGPROBS => Ok(Some(Wanted {
            shape: Shape::Text,
            top: top as usize,
        })),
        Some(_) => Err(RuntimeError::invalid_field("logprobs", "expected 0 to 5")),
    }
}

/// Refuses options of streams that we don't know.
pub(super) fn check_stream_options(options: Option<&StreamOptions>) -> Result<(), RuntimeError> {
    let extra = options.into_iter().flat_map(|options| &options.extra);
    // Obfuscation is added, or not, by whoever sends the stream on.
    let mut unknown = extra.filter(|(name, value)| *name != "include_obfuscation" && !value.is_null());
    match unknown.next() {
        None => Ok(()),
        Some((name, _)) => Err(RuntimeError::invalid_field(
            format!("stream_options.{name}"),
            "the embedded engine does not support it",
        )),
    }
}

/// Values that ask for what happens anyway, and fields that are about the asker or the account, not about the answer.
fn changes_nothing(field: &str, value: &Value) -> bool {
    let is_empty = || match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    let is = |neutral: f64| value.as_f64() == Some(neutral);
    match field {
        "user"
        | "metadata"
        | "store"
        | "service_tier"
        | "safety_identifier"
        | "prompt_cache_key"
        | "prompt_cache_retention"
        | "parallel_tool_calls" => true,
        "tools" | "functions" | "suffix" | "stop_token_ids" | "bad_words" | "chat_template_kwargs" => is_empty(),
        "tool_choice" | "function_call" => value == "none" || value == "auto",
        "response_format" => value.get("type").is_some_and(|kind| kind == "text"),
        "logprobs" | "ignore_eos" | "echo" | "use_beam_search" | "include_stop_str_in_output" => value == false,
        "add_generation_prompt" | "skip_special_tokens" => value == true,
        "top_logprobs" | "min_p" | "min_tokens" => is(0.0),
        "top_k" => is(0.0) || is(-1.0),
        "repetition_penalty" | "repeat_penalty" | "best_of" => is(1.0),
        "modalities" => value
            .as_array()
            .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn refused<T>(result: Result<T, RuntimeError>) -> Option<String> {
        match result {
            Ok(_) => None,
            Err(RuntimeError::InvalidRequest { param, .. }) => param,
            Err(error) => Some(error.to_string()),
        }
    }

    fn chat(fields: &Value) -> Result<(), RuntimeError> {
        let fields = Fields::of_chat(fields.as_object().unwrap())?;
        for field in ["presence_penalty", "frequency_penalty"] {
            fields.penalty(field)?;
        }
        fields.chat_logprobs()?;
        fields.is_json()?;
        fields.logit_bias(100)?;
        Ok(())
    }

    #[rstest]
    #[case(json!({"tools": [{"type": "function"}]}), Some("tools"))]
    #[case(json!({"tools": [], "tool_choice": "none"}), None)]
    #[case(json!({"tool_choice": {"type": "function"}}), Some("tool_choice"))]
    #[case(json!({"response_format": {"type": "json_schema"}}), Some("response_format"))]
    #[case(json!({"response_format": "text"}), Some("response_format"))]
    #[case(json!({"response_format": {"type": "text"}}), None)]
    #[case(json!({"response_format": {"type": "json_object"}}), None)]
    #[case(json!({"logprobs": true, "top_logprobs": 20}), None)]
    #[case(json!({"logprobs": true, "top_logprobs": 21}), Some("top_logprobs"))]
    #[case(json!({"logprobs": 5}), Some("logprobs"))]
    #[case(json!({"top_logprobs": 2}), Some("top_logprobs"))]
    #[case(json!({"logprobs": false, "top_logprobs": null, "top_k": -1}), None)]
    #[case(json!({"logit_bias": {"50": -100, "99": 100}}), None)]
    #[case(json!({"logit_bias": {"50": 101}}), Some("logit_bias"))]
    #[case(json!({"logit_bias": {"100": 1}}), Some("logit_bias"))]
    #[case(json!({"logit_bias": {"x": 1}}), Some("logit_bias"))]
    #[case(json!({"logit_bias": [1]}), Some("logit_bias"))]
    #[case(json!({"logit_bias": {}, "user": "u", "metadata": {"a": "b"}}), None)]
    #[case(json!({"presence_penalty": 3}), Some("presence_penalty"))]
    #[case(json!({"frequency_penalty": "high"}), Some("frequency_penalty"))]
    #[case(json!({"top_k": 40}), Some("top_k"))]
    #[case(json!({"a_field_of_tomorrow": 1}), Some("a_field_of_tomorrow"))]
    #[case(json!({"a_field_of_tomorrow": null}), None)]
    fn a_field_is_honoured_or_refused_by_name(#[case] fields: Value, #[case] field: Option<&str>) {
        assert_eq!(refused(chat(&fields)).as_deref(), field);
    }

    #[rstest]
    #[case(json!({"best_of": 2}), None)]
    #[case(json!({"best_of": 3}), Some("best_of"))]
    #[case(json!({"suffix": ""}), None)]
    #[case(json!({"suffix": "end"}), Some("suffix"))]
    #[case(json!({"response_format": {"type": "json_object"}}), Some("response_format"))]
    fn so_are_those_of_completions(#[case] fields: Value, #[case] field: Option<&str>) {
        let result = Fields::of_completion(fields.as_object().unwrap()).and_then(|fields| fields.check_best_of(2));
        assert_eq!(refused(result).as_deref(), field);
    }

    #[test]
    fn options_of_streams_are_not_ignored_either() {
        let options = |value| serde_json::from_value::<StreamOptions>(value).unwrap();
        let known = options(json!({"include_usage": true, "include_obfuscation": false}));
        assert!(check_stream_options(Some(&known)).is_ok() && check_stream_options(None).is_ok());
        let unknown = options(json!({"continuous_usage_stats": true}));
        assert_eq!(
            refused(check_stream_options(Some(&unknown))).as_deref(),
            Some("stream_options.continuous_usage_stats")
        );
        assert_eq!(refused(text_logprobs(Some(6))).as_deref(), Some("logprobs"));
        assert_eq!(text_logprobs(Some(0)).unwrap().map(|wanted| wanted.top), Some(0));
    }
}
