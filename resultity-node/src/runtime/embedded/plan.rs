//! A request, checked and cut into tokens: what is to be generated.

use resultity_core::openai::chat::ChatRequest;
use serde_json::{Map, Value};

use super::metadata::Metadata;
use super::sampling::Sampling;
use super::{Engine, RuntimeError, template};

/// The most choices of one request, as with OpenAI.
const MAX_CHOICES: u64 = 128;

/// What counts where a request says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) max_tokens: u64,
    temperature: f64,
    top_p: f64,
}

impl Defaults {
    pub(super) fn new(metadata: &Metadata<'_>, max_tokens: u64) -> Self {
        let within = |key, low: f64, high: f64| metadata.float(key).filter(|value| (low..=high).contains(value));
        Self {
            max_tokens,
            temperature: within("general.sampling.temp", 0.0, 2.0).unwrap_or(0.7),
            top_p: within("general.sampling.top_p", 0.0, 1.0).unwrap_or(1.0),
        }
    }
}

/// What is to be generated.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) prompt: Vec<u32>,
    pub(super) stream: bool,
    pub(super) choices: u32,
    /// Tokens per choice: at least one, and they fit.
    pub(super) max_tokens: usize,
    pub(super) stops: Vec<String>,
    pub(super) sampling: Sampling,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn new(engine: &Engine, request: &ChatRequest) -> Result<Self, RuntimeError> {
        refuse_unsupported(&request.extra)?;
        let sampling = sampling(request, &engine.defaults)?;
        let choices = request.n.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&choices) {
            return Err(invalid("n", "expected 1 to 128"));
        }
        let limit = request.token_limit().unwrap_or(engine.defaults.max_tokens);
        if limit == 0 {
            return Err(invalid("max_tokens", "expected at least 1"));
        }
        let text = engine.template.render(&template::turns(&request.messages)?)?;
        let too_long = |tokens: usize| {
            let context = engine.context;
            RuntimeError::ContextLengthExceeded(format!(
                "the prompt has {tokens} tokens or more, the context {context}"
            ))
        };
        let fewest = engine.tokenizer.fewest_tokens(&text);
        if fewest >= engine.context {
            return Err(too_long(fewest));
        }
        let prompt = engine
            .tokenizer
            .encode(&text)
            .map_err(|_| RuntimeError::Failed("the prompt can't be cut into tokens".to_owned()))?;
        if prompt.is_empty() || prompt.len() >= engine.context {
            return Err(too_long(prompt.len()));
        }
        let room = engine.context - prompt.len();
        Ok(Self {
            max_tokens: usize::try_from(limit).unwrap_or(room).min(room),
            prompt,
            stream: request.is_stream(),
            choices: choices as u32,
            stops: request
                .stop
                .as_ref()
                .map(|stop| stop.texts().to_vec())
                .unwrap_or_default(),
            sampling,
            // Any bit pattern is a seed.
            seed: request.seed.map_or_else(rand::random, i64::cast_unsigned),
        })
    }
}

fn sampling(request: &ChatRequest, defaults: &Defaults) -> Result<Sampling, RuntimeError> {
    let within = |field: &str, value: f64, low: f64, high: f64| {
        let expected = || format!("expected {low} to {high}");
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(invalid(field, &expected()))
        }
    };
    let penalty = |field: &str| match request.extra.get(field) {
        None | Some(Value::Null) => Ok(0.0),
        Some(value) => match value.as_f64() {
            Some(value) => within(field, value, -2.0, 2.0),
            None => Err(invalid(field, "expected a number")),
        },
    };
    Ok(Sampling {
        temperature: within(
            "temperature",
            request.temperature.unwrap_or(defaults.temperature),
            0.0,
            2.0,
        )?,
        top_p: within("top_p", request.top_p.unwrap_or(defaults.top_p), 0.0, 1.0)?,
        presence_penalty: penalty("presence_penalty")?,
        frequency_penalty: penalty("frequency_penalty")?,
    })
}

fn invalid(field: &str, what: &str) -> RuntimeError {
    RuntimeError::invalid_field(field, what)
}

/// Refuses fields that would change the answer and that this engine can't do. A value that changes nothing is fine, and so
/// are fields that we don't know.
fn refuse_unsupported(extra: &Map<String, Value>) -> Result<(), RuntimeError> {
    for (field, value) in extra {
        if !value.is_null() && !changes_nothing(field, value) {
            return Err(invalid(field, "the embedded engine does not support it"));
        }
    }
    Ok(())
}

fn changes_nothing(field: &str, value: &Value) -> bool {
    let is_empty = || value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    let is = |neutral: f64| value.as_f64() == Some(neutral);
    match field {
        "tools" | "functions" | "logit_bias" => is_empty(),
        "tool_choice" | "function_call" => value == "none" || value == "auto",
        "response_format" => value.get("type").is_some_and(|kind| kind == "text"),
        "logprobs" | "ignore_eos" | "echo" => value == false,
        "top_logprobs" | "min_p" | "min_tokens" => is(0.0),
        "top_k" => is(0.0) || is(-1.0),
        "repetition_penalty" | "repeat_penalty" | "best_of" => is(1.0),
        "modalities" => value
            .as_array()
            .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text")),
        "audio" | "web_search_options" | "grammar" | "guided_json" | "guided_regex" | "guided_choice"
        | "guided_grammar" | "structured_outputs" | "json_schema" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"tools": [{"type": "function"}]}), Some("tools"))]
    #[case(json!({"tools": [], "tool_choice": "none"}), None)]
    #[case(json!({"tool_choice": {"type": "function"}}), Some("tool_choice"))]
    #[case(json!({"response_format": {"type": "json_schema"}}), Some("response_format"))]
    #[case(json!({"response_format": {"type": "text"}}), None)]
    #[case(json!({"logprobs": true}), Some("logprobs"))]
    #[case(json!({"logprobs": false, "top_logprobs": null, "top_k": -1}), None)]
    #[case(json!({"logit_bias": {"50": -100}}), Some("logit_bias"))]
    #[case(json!({"logit_bias": {}, "user": "u", "metadata": {"a": "b"}}), None)]
    #[case(json!({"top_k": 40}), Some("top_k"))]
    fn a_field_that_would_change_the_answer_is_refused(#[case] fields: Value, #[case] refused: Option<&str>) {
        let result = refuse_unsupported(fields.as_object().unwrap());
        match refused {
            None => assert!(result.is_ok()),
            Some(field) => assert!(result.unwrap_err().to_string().contains(&format!("{field}:"))),
        }
    }

    #[rstest]
    #[case("temperature", json!(2.5))]
    #[case("top_p", json!(-0.1))]
    #[case("presence_penalty", json!(3))]
    #[case("frequency_penalty", json!("high"))]
    fn numbers_out_of_range_are_refused(#[case] field: &str, #[case] value: Value) {
        let request = serde_json::from_value(json!({"model": "m", "messages": [], field: value})).unwrap();
        let defaults = Defaults {
            max_tokens: 1,
            temperature: 0.7,
            top_p: 1.0,
        };
        let error = sampling(&request, &defaults).unwrap_err().to_string();
        assert!(error.contains(&format!("{field}:")), "{error}");
    }
}
