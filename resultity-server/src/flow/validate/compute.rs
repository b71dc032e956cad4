//! What containers compute.

use resultity_core::capability::Capability;
use resultity_core::compute::ComputeRequest;
use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::raw_json::RawJson;
use serde::Serialize;

use super::{ValidJob, check_kind, flag, invalid, node_body, parameters, priority, shown, unsupported};
use crate::flow::schedule::Constraints;

/// What a node is sent.
#[derive(Serialize)]
struct NodeCompute<'a> {
    model: &'a str,
    data: RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_proof: Option<bool>,
}

/// Checks a request, then whether the model can do what it asks for; `model` finds it by the name that was asked for. What
/// the data holds is between the asker and the container.
pub fn compute(
    request: ComputeRequest,
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    if !request.data.is_object() {
        return Err(invalid("data", "data must be a JSON object"));
    }
    let data = request.data.compact().ok_or_else(|| {
        let message = "data has more than 100 arrays and objects within one another";
        invalid("data", message)
    })?;
    let mut fields = request.extra;
    fields.retain(|_, value| !value.is_null());
    if let Some(requires_proof) = request.requires_proof {
        fields.insert("requires_proof".into(), requires_proof.into());
    }
    parameters::check(parameters::COMPUTE, &fields)?;

    let model = model(&request.model)?;
    check_kind(&model, JobKind::Container)?;
    // A container has no parameters of its own: what it takes is in `data`.
    if let Some(name) = fields
        .keys()
        .find(|name| !parameters::is_known(parameters::COMPUTE, name))
    {
        return Err(unsupported(shown(name), &model, Capability::Extra));
    }
    let priority = priority(&fields);
    parameters::admit(parameters::COMPUTE, &mut fields, &model)?;
    let body = node_body(&NodeCompute {
        model: &model.name,
        data,
        requires_proof: flag(&fields, "requires_proof").then_some(true),
    })?;
    Ok(ValidJob {
        kind: JobKind::Container,
        ceiling: model.price.cost(0, 0),
        model,
        asked_model: request.model,
        stream: false,
        include_usage: false,
        choices: 1,
        max_prompt_tokens: 0,
        max_completion_tokens: 0,
        logprobs: None,
        echo_bytes: 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{find, model_that_can};
    use resultity_core::credits::Credits;
    use resultity_core::error::ErrorCode;
    use resultity_core::job::Priority;
    use rstest::rstest;

    fn check_with(capabilities: &[Capability], body: &str) -> Result<ValidJob, ApiError> {
        compute(serde_json::from_str(body).unwrap(), find(model_that_can(capabilities)))
    }

    #[rstest]
    #[case(r#"{"model": "m", "data": [1]}"#, ErrorCode::InvalidValue, "data")]
    #[case(r#"{"model": "m", "data": null}"#, ErrorCode::InvalidValue, "data")]
    #[case(
        r#"{"model": "m", "data": {}, "metadata": {"a": 5}}"#,
        ErrorCode::InvalidValue,
        "metadata.a"
    )]
    #[case(
        r#"{"model": "m", "data": {}, "stream": true}"#,
        ErrorCode::UnsupportedParameter,
        "stream"
    )]
    #[case(
        r#"{"model": "m", "data": {}, "top_k": 1}"#,
        ErrorCode::UnsupportedParameter,
        "top_k"
    )]
    #[case(
        r#"{"model": "m", "data": {}, "requires_proof": true}"#,
        ErrorCode::UnsupportedParameter,
        "requires_proof"
    )]
    fn what_is_wrong_is_named(#[case] body: &str, #[case] code: ErrorCode, #[case] param: &str) {
        // Also of a model whose engine takes what it does not know.
        for capabilities in [
            &[Capability::Container][..],
            &[Capability::Container, Capability::Extra],
        ] {
            let error = check_with(capabilities, body).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (code, Some(param)), "{error}");
        }
    }

    #[test]
    fn a_node_gets_the_data_with_every_digit_and_nothing_of_the_asker() {
        let body = r#"{"user": "me", "stream": false, "requires_proof": false, "service_tier": "flex", "x": null,
            "data": { "n": 123456789012345678901234567890.10 , "s": " a " }, "model": "alias"}"#;
        let valid = check_with(&[Capability::Container], body).unwrap();
        assert_eq!(
            valid.body.get(),
            r#"{"model":"m","data":{"n":123456789012345678901234567890.10,"s":" a "}}"#
        );
        assert_eq!((valid.asked_model.as_str(), valid.priority), ("alias", Priority::Bulk));
        assert_eq!(valid.ceiling, Credits::from_micros(10), "the price of a request");
        assert_eq!((valid.max_prompt_tokens, valid.max_completion_tokens), (0, 0));

        let proven = r#"{"model": "m", "data": {}, "requires_proof": true}"#;
        let proven = check_with(&[Capability::Container, Capability::Proofs], proven).unwrap();
        assert_eq!(proven.body.get(), r#"{"model":"m","data":{},"requires_proof":true}"#);
    }

    #[test]
    fn a_model_for_texts_computes_nothing() {
        let error = check_with(&[Capability::Chat], r#"{"model": "m", "data": {}}"#).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some("model"))
        );
    }
}
