//! Embeddings: as many as there were texts, all of the same length, all of numbers that are numbers.

use resultity_core::B256;
use resultity_core::openai::embedding::decode_floats;
use resultity_core::wire::output_hash;

use super::{Limits, Violation};
use crate::flow::validate::MAX_DIMENSIONS;

/// Reads what a node sent; gives it with its output hash.
pub(super) fn take(output: &str, limits: &Limits) -> Result<(Vec<String>, B256), Violation> {
    let embeddings: Vec<String> = serde_json::from_str(output).map_err(|error| Violation::unreadable(&error))?;
    if embeddings.len() as u64 != limits.choices {
        return Err(Violation::Malformed(format!("{} embeddings came", embeddings.len())));
    }
    let mut length = limits.dimensions;
    for embedding in &embeddings {
        let floats = decode_floats(embedding)
            .ok_or_else(|| Violation::Malformed("an embedding is not the base64 of whole floats".into()))?;
        let found = floats.len() as u64;
        if !(1..=MAX_DIMENSIONS).contains(&found) || *length.get_or_insert(found) != found {
            return Err(Violation::Malformed(format!("an embedding has {found} numbers")));
        }
        if !floats.iter().all(|float| float.is_finite()) {
            return Err(Violation::Malformed("an embedding holds what is no number".into()));
        }
    }
    let hash = output_hash((0..).zip(embeddings.iter().map(String::as_str)));
    Ok((embeddings, hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::job::JobKind;
    use resultity_core::openai::embedding::encode_floats;
    use rstest::rstest;
    use serde_json::json;

    const fn limits(dimensions: Option<u64>) -> Limits {
        Limits {
            kind: JobKind::Embedding,
            choices: 2,
            max_prompt_tokens: 10,
            max_completion_tokens: 0,
            logprobs: None,
            echo_bytes: 0,
            dimensions,
        }
    }

    #[test]
    fn good_ones_pass() {
        let output = json!([encode_floats(&[1.0, -2.5]), encode_floats(&[0.0, 3.0])]);
        for dimensions in [None, Some(2)] {
            let (embeddings, hash) = take(&output.to_string(), &limits(dimensions)).unwrap();
            assert_eq!(json!(embeddings), output);
            assert_eq!(
                hash,
                output_hash([(0, embeddings[0].as_str()), (1, embeddings[1].as_str())])
            );
        }
        assert!(take(&output.to_string(), &limits(Some(3))).is_err());
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!(["AAAAAA=="]))]
    #[case(json!([encode_floats(&[1.0]), encode_floats(&[1.0]), encode_floats(&[1.0])]))]
    #[case(json!([encode_floats(&[1.0]), encode_floats(&[1.0, 2.0])]))]
    #[case(json!(["", ""]))]
    #[case(json!(["AAA=", "AAA="]))]
    #[case(json!(["not base64", "not base64"]))]
    #[case(json!([[1.0], [2.0]]))]
    #[case(json!([encode_floats(&[1.0]), encode_floats(&[f32::NAN])]))]
    #[case(json!([encode_floats(&[1.0]), encode_floats(&[f32::INFINITY])]))]
    #[case(json!([encode_floats(&[1.0; 16_385]), encode_floats(&[1.0; 16_385])]))]
    fn bad_ones_are_found(#[case] output: serde_json::Value) {
        assert!(matches!(
            take(&output.to_string(), &limits(None)),
            Err(Violation::Malformed(_))
        ));
    }
}
