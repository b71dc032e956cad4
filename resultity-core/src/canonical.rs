//! Canonical JSON (RFC 8785): one sequence of bytes for one value, so that it can be hashed and signed.

use alloy_primitives::B256;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The largest integer that every JSON reader keeps exact: 2^53 − 1.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// A value that has no canonical form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// A float, or an integer beyond ±(2^53 − 1): RFC 8785 would round it silently.
    #[error("the number {0} has no exact canonical form: write it as a string")]
    InexactNumber(String),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The canonical form of a value. Floats and integers beyond ±(2^53 − 1) are refused.
pub fn to_canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check(&value)?;
    Ok(serde_json_canonicalizer::to_vec(&value)?)
}

/// SHA-256.
pub fn sha256(bytes: impl AsRef<[u8]>) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}

fn check(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(fields) => fields.values().try_for_each(check),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude <= MAX_EXACT => Ok(()),
                _ => Err(CanonicalError::InexactNumber(number.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_white_space_is_gone() {
        let value: Value = serde_json::from_str(r#" { "b" : [1, "é\u000a"], "a" : {"d":null,"c":true} } "#).unwrap();
        let canonical = String::from_utf8(to_canonical_json(&value).unwrap()).unwrap();
        assert_eq!(canonical, r#"{"a":{"c":true,"d":null},"b":[1,"é\n"]}"#);
    }

    #[test]
    fn numbers_that_would_be_rounded_are_refused() {
        for bad in [
            json!(0.5),
            json!([9_007_199_254_740_992u64]),
            json!({"a": -9_007_199_254_740_992i64}),
            json!(1e300),
        ] {
            assert!(to_canonical_json(&bad).is_err(), "{bad}");
        }
        for good in [
            json!(9_007_199_254_740_991u64),
            json!(-9_007_199_254_740_991i64),
            json!(0),
        ] {
            assert_eq!(to_canonical_json(&good).unwrap(), good.to_string().into_bytes());
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991i64..=9_007_199_254_740_991).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_back_and_is_its_own_canonical_form(value in value()) {
            let canonical = to_canonical_json(&value).unwrap();
            let read: Value = serde_json::from_slice(&canonical).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(to_canonical_json(&read).unwrap(), canonical);
        }
    }
}
