//! Embeddings.

use resultity_core::capability::Capability;
use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::completion::Prompt;
use resultity_core::openai::embedding::EmbeddingRequest;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ValidJob, beyond_context, check_kind, cl100k, fields, invalid, node_body, number, parameters, priority, unsupported,
};
use crate::flow::schedule::Constraints;

/// The most numbers of an embedding.
pub(in crate::flow) const MAX_DIMENSIONS: u64 = 16_384;

/// The most texts of one request, as OpenAI has it.
const MAX_INPUTS: usize = 2048;

/// The most tokens of one request, as OpenAI has it. Of texts they cannot be counted here.
const MAX_TOKENS: usize = 300_000;

/// What a tokenizer may add to a text.
const AROUND_A_TEXT: u64 = 16;

/// What a node is sent: always a list.
#[derive(Serialize)]
struct NodeEmbedding {
    input: Prompt,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Checks a request against OpenAI's rules, then against what the model can do; `model` finds it by the name that was asked
/// for.
pub fn embedding(
    mut request: EmbeddingRequest,
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    let input = std::mem::replace(&mut request.input, Prompt::Texts(Vec::new()));
    let input = match input {
        Prompt::Text(text) => Prompt::Texts(vec![text]),
        Prompt::Tokens(tokens) => Prompt::TokenLists(vec![tokens]),
        several => several,
    };
    check_input(&input)?;
    let mut fields = fields(&request)?;
    fields.remove("input");
    parameters::check(parameters::EMBEDDINGS, &fields)?;

    let model = model(&request.model)?;
    check_kind(&model, JobKind::Embedding)?;
    let priority = priority(&fields);
    parameters::admit(parameters::EMBEDDINGS, &mut fields, &model)?;
    let input = match input {
        Prompt::TokenLists(lists) if model.can(Capability::Cl100kBase) => {
            let texts = lists.iter().map(|tokens| cl100k::decode(tokens));
            Prompt::Texts(texts.collect::<Result<_, ApiError>>()?)
        }
        Prompt::TokenLists(lists) if model.can(Capability::TokenIds) => Prompt::TokenLists(lists),
        Prompt::TokenLists(_) => return Err(unsupported("input", &model, Capability::Cl100kBase)),
        texts => texts,
    };
    let max_prompt_tokens = prompt_bound(&input, &model)?;
    let choices = input.count() as u64;
    let dimensions = number(&fields, "dimensions");

    fields.insert("model".into(), model.name.clone().into());
    let body = node_body(&NodeEmbedding { input, fields })?;
    Ok(ValidJob {
        kind: JobKind::Embedding,
        ceiling: model.price.cost(max_prompt_tokens, 0),
        model,
        asked_model: request.model,
        stream: false,
        include_usage: false,
        choices,
        max_prompt_tokens,
        max_completion_tokens: 0,
        logprobs: None,
        echo_bytes: 0,
        dimensions,
        body,
        priority,
        ttl: None,
        subcloud: None,
        constraints: Constraints::default(),
        weight: 1,
        node_share: None,
    })
}

fn check_input(input: &Prompt) -> Result<(), ApiError> {
    let count = input.count();
    if count == 0 {
        return Err(invalid("input", "input must not be an empty array"));
    }
    if count > MAX_INPUTS {
        let message = format!("at most {MAX_INPUTS} inputs, but there are {count}");
        return Err(invalid("input", message));
    }
    let (empty, tokens) = match input {
        Prompt::Text(_) | Prompt::Tokens(_) => (None, 0),
        Prompt::Texts(texts) => (texts.iter().position(String::is_empty), 0),
        Prompt::TokenLists(lists) => (lists.iter().position(Vec::is_empty), lists.iter().map(Vec::len).sum()),
    };
    if let Some(index) = empty {
        let param = if count == 1 {
            "input".into()
        } else {
            format!("input[{index}]")
        };
        return Err(invalid(param, "an input must not be empty"));
    }
    if tokens > MAX_TOKENS {
        let message = format!("at most {MAX_TOKENS} tokens in all, but there are {tokens}");
        return Err(invalid("input", message));
    }
    Ok(())
}

/// No tokenizer makes more tokens than there are bytes. Each text has to fit into the context.
fn prompt_bound(input: &Prompt, model: &ModelSpec) -> Result<u64, ApiError> {
    let bound = |length: usize| (length as u64 + AROUND_A_TEXT).min(model.context_length);
    match input {
        Prompt::Text(text) => Ok(bound(text.len())),
        Prompt::Tokens(tokens) => Ok(bound(tokens.len())),
        Prompt::Texts(texts) => Ok(texts.iter().map(|text| bound(text.len())).sum()),
        Prompt::TokenLists(lists) => {
            if let Some(long) = lists.iter().find(|list| list.len() as u64 > model.context_length) {
                return Err(beyond_context("input", long.len() as u64, model));
            }
            Ok(lists.iter().map(|list| bound(list.len())).sum())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{find, model_that_can};
    use resultity_core::error::ErrorCode;
    use rstest::rstest;
    use serde_json::json;

    fn check_with(capabilities: &[Capability], body: Value) -> Result<ValidJob, ApiError> {
        let mut body = body;
        body["model"] = "alias".into();
        embedding(
            serde_json::from_value(body).unwrap(),
            find(model_that_can(capabilities)),
        )
    }

    fn input(valid: &ValidJob) -> Value {
        serde_json::from_str::<Value>(valid.body.get()).unwrap()["input"].take()
    }

    #[rstest]
    #[case(json!({"input": ""}), "input")]
    #[case(json!({"input": []}), "input")]
    #[case(json!({"input": ["a", ""]}), "input[1]")]
    #[case(json!({"input": [[1], []]}), "input[1]")]
    #[case(json!({"input": vec!["x"; 2049]}), "input")]
    #[case(json!({"input": vec![vec![1; 1000]; 301]}), "input")]
    #[case(json!({"input": [100_256]}), "input")]
    #[case(json!({"input": "x", "dimensions": 0}), "dimensions")]
    #[case(json!({"input": "x", "user": 5}), "user")]
    fn wrong_values_are_named(#[case] body: Value, #[case] param: &str) {
        let all = [Capability::Embeddings, Capability::Dimensions, Capability::Cl100kBase];
        let error = check_with(&all, body).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param)),
            "{error}"
        );
    }

    #[rstest]
    #[case(json!({"input": [1, 2]}), "input")]
    #[case(json!({"input": "x", "dimensions": 5}), "dimensions")]
    #[case(json!({"input": "x", "truncate": true}), "truncate")]
    fn what_the_model_cannot_do_is_refused(#[case] body: Value, #[case] param: &str) {
        let error = check_with(&[Capability::Embeddings], body).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::UnsupportedParameter, Some(param))
        );
    }

    #[test]
    fn texts_go_to_the_node_as_a_list_and_token_ids_as_the_model_needs_them() {
        let valid = check_with(
            &[Capability::Embeddings],
            json!({"input": "hi", "encoding_format": "base64", "user": "me"}),
        );
        let valid = valid.unwrap();
        let sent: Value = serde_json::from_str(valid.body.get()).unwrap();
        assert_eq!(sent, json!({"model": "m", "input": ["hi"]}));
        assert_eq!(
            (valid.choices, valid.max_prompt_tokens, valid.max_completion_tokens),
            (1, 2 + 16, 0)
        );

        // "hello world" and "hi" in cl100k_base.
        let ids = json!({"input": [[15339, 1917], [6151]]});
        let decoded = check_with(&[Capability::Embeddings, Capability::Cl100kBase], ids.clone()).unwrap();
        assert_eq!(input(&decoded), json!(["hello world", "hi"]));
        let own = check_with(&[Capability::Embeddings, Capability::TokenIds], ids.clone()).unwrap();
        assert_eq!(input(&own), ids["input"]);

        let long = check_with(
            &[Capability::Embeddings, Capability::TokenIds],
            json!({"input": vec![1; 5000]}),
        );
        assert_eq!(long.unwrap_err().code, ErrorCode::ContextLengthExceeded);
        let cut = json!({"input": "x", "dimensions": 5});
        let cut = check_with(&[Capability::Embeddings, Capability::Dimensions], cut).unwrap();
        assert_eq!(cut.dimensions, Some(5));
    }
}
