//! Completions.

use resultity_core::capability::Capability;
use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    MAX_CHOICES, ValidJob, beyond_context, check_kind, check_stream_options, draw_alike, fields, flag, invalid,
    node_body, number, parameters, priority, unsupported, written,
};
use crate::flow::schedule::Constraints;

/// The most tokens per choice where the request names no limit, as OpenAI has it.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// What a tokenizer may add to a prompt.
const AROUND_A_PROMPT: u64 = 16;

/// What a node is sent.
#[derive(Serialize)]
struct NodeCompletion<'a> {
    prompt: &'a Prompt,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Checks a request against OpenAI's rules, then against what the model can do; `model` finds it by the name that was asked
/// for.
pub fn completion(
    mut request: CompletionRequest,
    stream: bool,
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    let prompt = std::mem::replace(&mut request.prompt, Prompt::Texts(Vec::new()));
    check_prompt(&prompt)?;
    let mut fields = fields(&request)?;
    fields.remove("prompt");
    parameters::check(parameters::COMPLETIONS, &fields)?;
    let include_usage = check_stream_options(&fields, stream)?;
    let n = number(&fields, "n").unwrap_or(1);
    let choices = n.saturating_mul(prompt.count() as u64);
    if choices > MAX_CHOICES {
        let message = format!("at most {MAX_CHOICES} choices over all prompts, but n and the prompts make {choices}");
        return Err(invalid("n", message));
    }
    let best_of = check_best_of(&fields, n, stream)?;
    let echo = flag(&fields, "echo");
    if request.max_tokens == Some(0) && !echo {
        return Err(invalid("max_tokens", "max_tokens may only be 0 when echo is true"));
    }

    let model = model(&request.model)?;
    check_kind(&model, JobKind::Completion)?;
    if matches!(prompt, Prompt::Tokens(_) | Prompt::TokenLists(_)) && !model.can(Capability::TokenIds) {
        return Err(unsupported("prompt", &model, Capability::TokenIds));
    }
    let priority = priority(&fields);
    parameters::admit(parameters::COMPLETIONS, &mut fields, &model)?;
    let limit = request
        .max_tokens
        .unwrap_or(DEFAULT_MAX_TOKENS.min(model.context_length));
    if limit > model.context_length {
        return Err(beyond_context("max_tokens", limit, &model));
    }
    let max_prompt_tokens = prompt_bound(&prompt, &fields, &model)?;
    let max_completion_tokens = limit.saturating_mul(best_of).saturating_mul(prompt.count() as u64);
    let echo_bytes = if echo { echo_bytes(&prompt, n) } else { 0 };

    draw_alike(&mut fields, &model);
    fields.insert("max_tokens".into(), limit.into());
    fields.insert("model".into(), model.name.clone().into());
    fields.insert("stream".into(), stream.into());
    let body = node_body(&NodeCompletion {
        prompt: &prompt,
        fields,
    })?;
    Ok(ValidJob {
        kind: JobKind::Completion,
        ceiling: model.price.cost(max_prompt_tokens, max_completion_tokens),
        model,
        asked_model: request.model,
        stream,
        include_usage,
        choices,
        max_prompt_tokens,
        max_completion_tokens,
        logprobs: request.logprobs,
        echo_bytes,
        dimensions: None,
        body,
        priority,
        ttl: None,
        subcloud: None,
        constraints: Constraints::default(),
        weight: 1,
        node_share: None,
    })
}

fn check_prompt(prompt: &Prompt) -> Result<(), ApiError> {
    match prompt {
        Prompt::Texts(texts) if texts.is_empty() => Err(invalid("prompt", "prompt must not be an empty array")),
        Prompt::TokenLists(lists) => match lists.iter().position(Vec::is_empty) {
            Some(index) => Err(invalid(
                format!("prompt[{index}]"),
                "a prompt must hold at least one token",
            )),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// How many choices are made for each prompt.
fn check_best_of(fields: &Map<String, Value>, n: u64, stream: bool) -> Result<u64, ApiError> {
    match number(fields, "best_of") {
        Some(best_of) if best_of < n => Err(invalid(
            "best_of",
            format!("best_of must be at least n, which is {n}, but is {best_of}"),
        )),
        Some(best_of) if best_of > n && stream => {
            Err(invalid("best_of", "the best of several choices cannot be streamed"))
        }
        Some(best_of) => Ok(best_of),
        None => Ok(n),
    }
}

/// No tokenizer makes more tokens than there are bytes. Each prompt has to fit into the context.
fn prompt_bound(prompt: &Prompt, fields: &Map<String, Value>, model: &ModelSpec) -> Result<u64, ApiError> {
    let suffix = fields.get("suffix").and_then(Value::as_str).map_or(0, str::len) as u64;
    let of_text = |text: &String| {
        let bound = text.len() as u64 + suffix + AROUND_A_PROMPT;
        bound.min(model.context_length)
    };
    let of_tokens = |tokens: &Vec<u32>| {
        let count = tokens.len() as u64;
        if count > model.context_length {
            return Err(beyond_context("prompt", count, model));
        }
        Ok((count + suffix + AROUND_A_PROMPT).min(model.context_length))
    };
    let others = fields
        .keys()
        .any(|name| !parameters::is_known(parameters::COMPLETIONS, name));
    // Nobody knows what an engine makes of fields of its own.
    let extra = if others { written(fields) } else { 0 };
    let bound: u64 = match prompt {
        Prompt::Text(text) => of_text(text),
        Prompt::Texts(texts) => texts.iter().map(of_text).sum(),
        Prompt::Tokens(tokens) => of_tokens(tokens)?,
        Prompt::TokenLists(lists) => lists.iter().map(of_tokens).sum::<Result<u64, ApiError>>()?,
    };
    let most = model.context_length.saturating_mul(prompt.count() as u64);
    Ok(bound.saturating_add(extra).min(most))
}

/// Bytes of the prompts in an answer that repeats them. What a token stands for is not known here.
fn echo_bytes(prompt: &Prompt, n: u64) -> u64 {
    const PER_TOKEN: u64 = 128;
    let once: u64 = match prompt {
        Prompt::Text(text) => text.len() as u64,
        Prompt::Texts(texts) => texts.iter().map(|text| text.len() as u64).sum(),
        Prompt::Tokens(tokens) => tokens.len() as u64 * PER_TOKEN,
        Prompt::TokenLists(lists) => lists.iter().map(|list| list.len() as u64 * PER_TOKEN).sum(),
    };
    once.saturating_mul(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{find, model, model_that_can};
    use resultity_core::error::ErrorCode;
    use rstest::rstest;
    use serde_json::json;

    fn check_with(model: ModelSpec, mut body: Value) -> Result<ValidJob, ApiError> {
        if body.get("prompt").is_none() {
            body["prompt"] = "hi".into();
        }
        body["model"] = "alias".into();
        let stream = body["stream"] == true;
        completion(serde_json::from_value(body).unwrap(), stream, find(model))
    }

    #[rstest]
    #[case(json!({"prompt": []}), "prompt")]
    #[case(json!({"prompt": [[1], []]}), "prompt[1]")]
    #[case(json!({"n": 129}), "n")]
    #[case(json!({"prompt": vec!["x"; 65], "n": 2}), "n")]
    #[case(json!({"max_tokens": 0}), "max_tokens")]
    #[case(json!({"logprobs": 6}), "logprobs")]
    #[case(json!({"best_of": 1, "n": 2}), "best_of")]
    #[case(json!({"best_of": 21}), "best_of")]
    #[case(json!({"best_of": 2, "stream": true}), "best_of")]
    #[case(json!({"stream_options": {"include_usage": true}}), "stream_options")]
    #[case(json!({"suffix": 5}), "suffix")]
    #[case(json!({"temperature": -1}), "temperature")]
    #[case(json!({"user": 5}), "user")]
    fn wrong_values_are_named(#[case] body: Value, #[case] param: &str) {
        let error = check_with(model(), body).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param)),
            "{error}"
        );
    }

    #[rstest]
    #[case(json!({"prompt": [1, 2]}), "prompt", Capability::TokenIds)]
    #[case(json!({"echo": true}), "echo", Capability::Echo)]
    #[case(json!({"suffix": "end"}), "suffix", Capability::Suffix)]
    #[case(json!({"best_of": 2}), "best_of", Capability::BestOf)]
    #[case(json!({"logprobs": 0}), "logprobs", Capability::Logprobs)]
    #[case(json!({"n": 2}), "n", Capability::N)]
    #[case(json!({"stop": ["x"]}), "stop", Capability::Stop)]
    #[case(json!({"top_k": 4}), "top_k", Capability::Extra)]
    fn what_a_model_cannot_do_is_refused_and_what_it_can_passes(
        #[case] body: Value,
        #[case] param: &str,
        #[case] capability: Capability,
    ) {
        let error = check_with(model_that_can(&[Capability::Completions]), body.clone()).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::UnsupportedParameter, Some(param))
        );
        let valid = check_with(model_that_can(&[Capability::Completions, capability]), body.clone()).unwrap();
        let sent: Value = serde_json::from_str(valid.body.get()).unwrap();
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(&sent[name], value);
        }
    }

    #[test]
    fn what_says_nothing_stays_here_and_a_limit_is_always_sent() {
        let body = json!({
            "echo": false, "suffix": "", "best_of": 1, "n": 1, "stop": null, "logit_bias": {}, "presence_penalty": 0,
            "frequency_penalty": 0, "user": "me", "top_p": 1, "temperature": 0.7,
        });
        let valid = check_with(model_that_can(&[Capability::Completions]), body).unwrap();
        let sent: Value = serde_json::from_str(valid.body.get()).unwrap();
        let fields: Vec<&str> = sent.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            ["max_tokens", "model", "prompt", "stream", "temperature", "top_p"]
        );
        // How tokens are drawn is said also where nobody says it.
        let silent = check_with(
            model_that_can(&[Capability::Completions, Capability::Penalties]),
            json!({}),
        )
        .unwrap();
        let sent: Value = serde_json::from_str(silent.body.get()).unwrap();
        let drawn = ["temperature", "top_p", "presence_penalty", "frequency_penalty"].map(|name| sent[name].as_f64());
        assert_eq!(drawn, [Some(0.7), Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!((&sent["max_tokens"], &sent["model"]), (&json!(16), &json!("m")));
        assert_eq!((valid.choices, valid.max_completion_tokens), (1, 16));
    }

    #[test]
    fn bounds_are_over_all_prompts_and_choices() {
        let valid = check_with(
            model(),
            json!({"prompt": ["four", "nine ninen"], "n": 2, "best_of": 3, "max_tokens": 5, "echo": true}),
        )
        .unwrap();
        assert_eq!((valid.choices, valid.max_completion_tokens), (4, 2 * 3 * 5));
        assert_eq!((valid.max_prompt_tokens, valid.echo_bytes), (4 + 10 + 2 * 16, 28));
        let valid = check_with(
            model(),
            json!({"prompt": [[1, 2, 3], [4]], "max_tokens": 0, "echo": true}),
        )
        .unwrap();
        assert_eq!((valid.max_prompt_tokens, valid.max_completion_tokens), (4 + 2 * 16, 0));
        let long = check_with(model(), json!({"prompt": vec![1; 5000]})).unwrap_err();
        assert_eq!(long.code, ErrorCode::ContextLengthExceeded);
        let deaf = check_with(model_that_can(&[Capability::Chat]), json!({})).unwrap_err();
        assert_eq!(
            (deaf.code, deaf.param.as_deref()),
            (ErrorCode::InvalidValue, Some("model"))
        );
    }
}
