//! Embeddings: request and answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::completion::Prompt;

/// `POST /v1/embeddings`.
///
/// ```
/// use resultity_core::openai::embedding::EmbeddingRequest;
/// let request = EmbeddingRequest::new("all-minilm-l6-v2", "What is love?");
/// assert_eq!(serde_json::to_value(&request)?["input"], "What is love?");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct EmbeddingRequest {
    /// The model's name or alias.
    pub model: String,
    /// The texts, or their token ids.
    pub input: EmbeddingInput,
    /// How the numbers are written; `float` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding_format: Option<EncodingFormat>,
    /// How many numbers each embedding should have; only for models that can be cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u64>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The texts, or their token ids: one or several.
pub type EmbeddingInput = Prompt;

impl EmbeddingRequest {
    /// A request with all options left to the model.
    pub fn new(model: impl Into<String>, input: impl Into<EmbeddingInput>) -> Self {
        Self {
            model: model.into(),
            input: input.into(),
            encoding_format: None,
            dimensions: None,
            extra: Map::new(),
        }
    }

    /// Sets how the numbers are written.
    #[must_use]
    pub fn encoding_format(mut self, format: EncodingFormat) -> Self {
        self.encoding_format = Some(format);
        self
    }

    /// Sets how many numbers each embedding has.
    #[must_use]
    pub fn dimensions(mut self, dimensions: u64) -> Self {
        self.dimensions = Some(dimensions);
        self
    }
}

/// How the numbers of an embedding are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// An array of numbers.
    #[default]
    Float,
    /// The base64 of little-endian 32-bit floats.
    Base64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingList {
    /// Always `list`.
    pub object: String,
    /// One for each text, in the order of the texts.
    pub data: Vec<Embedding>,
    /// The name that was asked for.
    pub model: String,
    /// The token counts.
    pub usage: EmbeddingUsage,
}

/// One text as numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Embedding {
    /// Always `embedding`.
    pub object: String,
    /// Which text, from 0.
    pub index: u32,
    /// The numbers.
    pub embedding: Vector,
}

/// The numbers of an embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Vector {
    /// As numbers.
    Float(Vec<f32>),
    /// As the base64 of little-endian 32-bit floats.
    Base64(String),
}

impl Vector {
    /// The numbers; none if the text is not base64 of whole floats.
    pub fn to_floats(&self) -> Option<Vec<f32>> {
        match self {
            Self::Float(floats) => Some(floats.clone()),
            Self::Base64(text) => decode_floats(text),
        }
    }
}

/// Floats as nodes and the official SDKs send them: the base64 of little-endian 32-bit floats.
pub fn encode_floats(floats: &[f32]) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Reads what [`encode_floats`] wrote; none if it is something else.
pub fn decode_floats(text: &str) -> Option<Vec<f32>> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let (floats, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Token counts of an embedding: nothing is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingUsage {
    /// Tokens of all texts.
    pub prompt_tokens: u64,
    /// The same.
    pub total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_survive_base64() {
        let floats = [0.0, -1.5, f32::MIN_POSITIVE, 3.25e7];
        let text = encode_floats(&floats);
        assert_eq!(decode_floats(&text).as_deref(), Some(floats.as_slice()));
        assert_eq!(Vector::Base64(text).to_floats().as_deref(), Some(floats.as_slice()));
        assert_eq!(decode_floats("AAA="), None);
        assert_eq!(decode_floats("not base64"), None);
    }
}
