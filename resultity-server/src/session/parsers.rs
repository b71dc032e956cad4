//! What an endpoint makes of a text, whoever sent it.

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;
use resultity_core::model::ModelSpec;

use crate::flow::validate::{self, ValidJob};
use crate::json::parse;
use crate::session::responses;

/// Checks the body of a request whose answer will not be streamed; `model` finds the one that is asked.
pub(super) fn request(
    endpoint: Endpoint,
    body: &[u8],
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    match endpoint {
        Endpoint::ChatCompletions => validate::chat(parse(body)?, false, model),
        Endpoint::Completions => validate::completion(parse(body)?, false, model),
        Endpoint::Embeddings => validate::embedding(parse(body)?, model),
        Endpoint::Compute => validate::compute(parse(body)?, model),
        Endpoint::Responses => responses::valid_body(body, model),
        _ => Err(ApiError::new(ErrorCode::InvalidValue, format!("{endpoint} makes no jobs")).with_param("endpoint")),
    }
}

/// Whether this endpoint takes the body for a model that can do everything. For fuzz targets.
///
/// # Panics
///
/// If the answer to the body is none that a caller may get: a fault of ours, or a request to a node that breaks a promise.
#[cfg(any(test, feature = "testing"))]
pub fn accepts_request(endpoint: Endpoint, body: &[u8]) -> bool {
    use resultity_core::capability::Capability;
    use resultity_core::credits::{Credits, Price};
    use resultity_core::model::ModelKind;

    let model = |name: &str| {
        Ok(ModelSpec {
            name: name.to_owned(),
            version: "1".into(),
            kind: ModelKind::External,
            aliases: Vec::new(),
            files: Vec::new(),
            context_length: 4096,
            default_max_tokens: 64,
            capabilities: Capability::names(Capability::ALL),
            price: Price {
                input_per_million: Credits::from_whole(1),
                output_per_million: Credits::from_whole(2),
                per_request: Credits::from_micros(10),
            },
            test_prompt: String::new(),
        })
    };
    match request(endpoint, body, model) {
        Ok(valid) => {
            assert!(valid.ceiling > Credits::ZERO, "it would cost nothing");
            assert!(valid.choices > 0 && valid.max_prompt_tokens <= 4096 * 2048);
            let sent: serde_json::Map<_, _> = serde_json::from_str(valid.body.get()).expect("a node is sent an object");
            for field in ["user", "metadata", "safety_identifier", "prompt_cache_key"] {
                assert!(!sent.contains_key(field), "{field} would reach a node");
            }
            true
        }
        Err(error) => {
            assert_refusal(&error);
            false
        }
    }
}

/// Whether a line of a batch's file can be read. For fuzz targets.
///
/// # Panics
///
/// If what is said of the line is none that a caller may get.
#[cfg(any(test, feature = "testing"))]
pub fn accepts_batch_line(line: &[u8]) -> bool {
    crate::session::batch::check::reread(line)
        .map_err(|error| assert_refusal(&error))
        .is_ok()
}

#[cfg(any(test, feature = "testing"))]
fn assert_refusal(error: &ApiError) {
    let status = error.code.http_status();
    assert!(status.is_some_and(|status| (400..500).contains(&status)), "{error:?}");
    assert!(!error.message.is_empty() && error.message.len() < 4096, "{error:?}");
    assert!(error.param.as_ref().is_none_or(|param| param.len() < 4096), "{error:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    const ENDPOINTS: [Endpoint; 5] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Embeddings,
        Endpoint::Responses,
        Endpoint::Compute,
    ];

    /// Requests that are taken, with as many fields as go together.
    fn good() -> [Value; 5] {
        [
            json!({
                "model": "m", "temperature": 0.5, "n": 2, "stop": ["a"], "seed": 1, "logprobs": true, "top_logprobs": 3,
                "logit_bias": {"5": 1}, "max_tokens": 5, "presence_penalty": 1, "user": "u", "metadata": {"a": "b"},
                "messages": [
                    {"role": "system", "content": "x"},
                    {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "n"},
                    {"role": "assistant", "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                    ]},
                    {"role": "tool", "tool_call_id": "1", "content": "y"},
                ],
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
            }),
            json!({
                "model": "m", "prompt": ["a", "b"], "suffix": "c", "n": 2, "best_of": 2, "logprobs": 2, "echo": true,
                "stop": "x", "max_tokens": 5, "temperature": 1, "logit_bias": {"5": -1}, "user": "u",
            }),
            json!({"model": "m", "input": [[1, 2], [3]], "encoding_format": "base64", "dimensions": 8, "user": "u"}),
            json!({
                "model": "m", "instructions": "x", "max_output_tokens": 16, "temperature": 1, "metadata": {"a": "b"},
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "y"},
                ],
                "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": true}],
                "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "low"}, "truncation": "disabled",
            }),
            json!({"model": "m", "data": {"a": [1, null]}, "requires_proof": true, "service_tier": "flex", "user": "u"}),
        ]
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let words = prop::sample::select(vec![
            "",
            "m",
            "user",
            "text",
            "input_text",
            "function",
            "json_object",
            "auto",
            "required",
            "\u{0}",
            "é\u{1F600}",
        ]);
        let names = prop::sample::select(vec![
            "type",
            "text",
            "role",
            "content",
            "name",
            "function",
            "id",
            "url",
            "json_schema",
            "schema",
            "format",
            "0",
            "",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            words.prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..4).prop_map(|fields| Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect()
                )),
            ]
        })
    }

    /// All places in a value, the value itself first.
    fn places(value: &Value, here: String, found: &mut Vec<String>) {
        found.push(here.clone());
        match value {
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    places(entry, format!("{here}/{index}"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    places(field, format!("{here}/{name}"), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_good_is_taken() {
        for (endpoint, body) in ENDPOINTS.into_iter().zip(good()) {
            let body = body.to_string();
            if let Err(error) = request(endpoint, body.as_bytes(), crate::flow::testing::find(all_able())) {
                panic!("{endpoint}: {error}");
            }
            assert!(accepts_request(endpoint, body.as_bytes()));
            let line = json!({"custom_id": "a", "method": "POST", "url": endpoint, "body": {}}).to_string();
            assert!(accepts_batch_line(line.as_bytes()));
        }
    }

    #[test]
    fn no_name_of_the_asker_reaches_a_node_by_any_endpoint() {
        for (endpoint, mut body) in ENDPOINTS.into_iter().zip(good()) {
            for field in ["user", "safety_identifier", "prompt_cache_key"] {
                body[field] = "me".into();
            }
            body["metadata"] = json!({"who": "me"});
            assert!(accepts_request(endpoint, body.to_string().as_bytes()), "{endpoint}");
        }
    }

    fn all_able() -> ModelSpec {
        use resultity_core::capability::Capability;
        crate::flow::testing::model_that_can(&Capability::ALL)
    }

    proptest! {
        #[test]
        fn any_json_is_taken_or_refused(value in any_json(), fields in prop::collection::vec((0_usize..40, any_json()), 0..6)) {
            for (endpoint, good) in ENDPOINTS.into_iter().zip(good()) {
                accepts_request(endpoint, value.to_string().as_bytes());
                let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
                let mixed: Map<String, Value> = fields
                    .iter()
                    .map(|(index, value)| (names[index % names.len()].clone(), value.clone()))
                    .chain([("model".to_owned(), "m".into())])
                    .collect();
                accepts_request(endpoint, Value::Object(mixed).to_string().as_bytes());
            }
            accepts_batch_line(value.to_string().as_bytes());
        }

        #[test]
        fn a_good_request_with_one_thing_changed_is_taken_or_refused(place in any::<prop::sample::Index>(), value in any_json()) {
            for (endpoint, good) in ENDPOINTS.into_iter().zip(good()) {
                let mut found = Vec::new();
                places(&good, String::new(), &mut found);
                let mut changed = good.clone();
                if let Some(target) = changed.pointer_mut(&found[place.index(found.len())]) {
                    *target = value.clone();
                }
                accepts_request(endpoint, changed.to_string().as_bytes());
                let line = json!({"custom_id": "a", "method": "POST", "url": endpoint, "body": changed}).to_string();
                accepts_batch_line(line.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            cut in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..8), drop in 0_usize..8,
        ) {
            for (endpoint, good) in ENDPOINTS.into_iter().zip(good()) {
                let mut body = good.to_string().into_bytes();
                let from = cut.index(body.len());
                let to = (from + drop).min(body.len());
                body.splice(from..to, bytes.iter().copied());
                accepts_request(endpoint, &body);
                accepts_batch_line(&body);
                accepts_request(endpoint, &bytes);
            }
        }
    }
}
