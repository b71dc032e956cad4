//! Containers: any JSON object in, any JSON out.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::raw_json::RawJson;

/// `POST /v1/compute`.
///
/// ```
/// use resultity_core::compute::ComputeRequest;
/// let request = ComputeRequest::new("summarise", &serde_json::json!({"text": "…"}))?;
/// assert_eq!(serde_json::to_string(&request)?, r#"{"model":"summarise","data":{"text":"…"}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ComputeRequest {
    /// The model's name or alias.
    pub model: String,
    /// What the container takes: a JSON object. Its numbers keep their digits.
    #[cfg_attr(feature = "openapi", schema(value_type = Map<String, Value>))]
    pub data: RawJson,
    /// Whether the container has to prove its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_proof: Option<bool>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ComputeRequest {
    /// A request with this input, which has to be an object.
    pub fn new(model: impl Into<String>, data: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        RawJson::of(data).map(|data| Self::of(model, data))
    }

    /// A request with this input, which has to be an object.
    pub fn of(model: impl Into<String>, data: RawJson) -> Self {
        Self {
            model: model.into(),
            data,
            requires_proof: None,
            extra: Map::new(),
        }
    }

    /// Asks for a proof.
    #[must_use]
    pub fn with_proof(mut self) -> Self {
        self.requires_proof = Some(true);
        self
    }

    /// Sets a field that this crate does not know.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(field.into(), value.into());
        self
    }
}

// By hand, because raw JSON can't stand beside flattened fields.
impl<'de> Deserialize<'de> for ComputeRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = ComputeRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a request with model and data")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ComputeRequest, A::Error> {
                let (mut model, mut data, mut requires_proof, mut extra) = (None, None, None, Map::new());
                while let Some(name) = fields.next_key::<String>()? {
                    match name.as_str() {
                        "model" => model = Some(fields.next_value()?),
                        "data" => data = Some(fields.next_value()?),
                        "requires_proof" => requires_proof = fields.next_value()?,
                        _ => {
                            extra.insert(name, fields.next_value()?);
                        }
                    }
                }
                Ok(ComputeRequest {
                    model: model.ok_or_else(|| A::Error::missing_field("model"))?,
                    data: data.ok_or_else(|| A::Error::missing_field("data"))?,
                    requires_proof,
                    extra,
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// The answer.
///
/// The output is what the container said, word for word: who runs the container decides what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Compute {
    /// Names it.
    pub id: String,
    /// Always `compute`.
    pub object: String,
    /// When it was asked for: seconds since the Unix epoch.
    pub created: i64,
    /// The name that was asked for.
    pub model: String,
    /// What the container answered: any JSON, without white space between its parts. Its numbers keep their digits.
    #[cfg_attr(feature = "openapi", schema(value_type = Value))]
    pub output: RawJson,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_and_answers_read_back_with_every_digit() {
        let text = r#"{"model":"m","data":{"n":123456789012345678901234567890.50},"requires_proof":true,"user":"u"}"#;
        let request: ComputeRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(request.extra["user"], "u");
        let text = r#"{"id":"compute-1","object":"compute","created":1,"model":"m","output":18446744073709551616}"#;
        let answer: Compute = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    }

    #[test]
    fn a_request_is_read_from_a_value_too() {
        let value = json!({"model": "m", "data": {"a": [null]}, "requires_proof": null});
        let request: ComputeRequest = serde_json::from_value(value).unwrap();
        assert_eq!((request.data.get(), request.requires_proof), (r#"{"a":[null]}"#, None));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, field) in [("{}", "`model`"), (r#"{"model":"m"}"#, "`data`")] {
            let error = serde_json::from_str::<ComputeRequest>(text).unwrap_err().to_string();
            assert!(error.contains("missing field") && error.contains(field), "{error}");
        }
        assert!(serde_json::from_str::<ComputeRequest>("[]").is_err());
    }
}
