//! A container that nodes bring, as an entry of the snapshot.

use resultity_core::capability::Capability;
use resultity_core::credits::{Credits, Price};
use resultity_core::model::{ModelKind, ModelSpec};
use serde_json::{Map, Value};

/// What `--container-model` says: a name, or a name, `=` and the JSON object that tests a container.
pub(super) fn spec(text: &str) -> Option<ModelSpec> {
    let (name, test) = text.split_once('=').unwrap_or((text, "{}"));
    if name.is_empty() || serde_json::from_str::<Map<String, Value>>(test).is_err() {
        return None;
    }
    Some(ModelSpec {
        name: name.into(),
        version: "container".into(),
        kind: ModelKind::Container,
        aliases: Vec::new(),
        files: Vec::new(),
        context_length: 0,
        default_max_tokens: 0,
        capabilities: Capability::names([Capability::Container]),
        price: Price {
            per_request: Credits::from_micros(500),
            ..Price::default()
        },
        test_prompt: test.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("summarise", Some(("summarise", "{}")))]
    #[case(r#"summarise={"text": "a = b"}"#, Some(("summarise", r#"{"text": "a = b"}"#)))]
    #[case("summarise=", None)]
    #[case("summarise=[1]", None)]
    #[case("={}", None)]
    fn a_container_is_a_name_with_or_without_its_test(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
        let spec = spec(text);
        let said = spec
            .as_ref()
            .map(|spec| (spec.name.as_str(), spec.test_prompt.as_str()));
        assert_eq!(said, expected);
    }
}
