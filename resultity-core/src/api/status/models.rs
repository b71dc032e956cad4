//! What is served, where, and for how much.

use serde::{Deserialize, Serialize};

use crate::credits::{Credits, Price};

/// `GET /status/v1/models`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Models {
    /// All models of the snapshot in force, in its order.
    pub models: Vec<ModelStatus>,
}

/// A model of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelStatus {
    /// The name to ask for.
    pub name: String,
    /// Pins what the name means.
    pub version: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// How nodes come to have it, such as `gguf` or `external`.
    pub kind: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Prompt and answer together: tokens; 0 for a container.
    pub context_length: u64,
    /// Whether a node serves it now.
    pub available: bool,
    /// Nodes in rotation that serve it.
    pub nodes: u64,
    /// Their slots; a node that serves several models has them for all.
    pub slots: u64,
    /// Jobs that wait for it.
    pub waiting: u64,
    /// What it costs.
    pub price: ModelPrice,
}

/// A price, in credits as decimal texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelPrice {
    /// For a million tokens of prompts.
    #[serde(with = "crate::credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub input_per_million: Credits,
    /// For a million tokens of answers.
    #[serde(with = "crate::credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub output_per_million: Credits,
    /// For each request.
    #[serde(with = "crate::credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub per_request: Credits,
}

impl From<Price> for ModelPrice {
    fn from(price: Price) -> Self {
        Self {
            input_per_million: price.input_per_million,
            output_per_million: price.output_per_million,
            per_request: price.per_request,
        }
    }
}

/// `GET /status/v1/pricing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pricing {
    /// The price of each model of the snapshot in force.
    pub prices: Vec<PriceStatus>,
    /// The node's share of what a job costs: basis points of 10 000.
    pub node_share: u16,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PriceStatus {
    /// The model's name.
    pub model: String,
    /// Its price.
    #[serde(flatten)]
    pub price: ModelPrice,
}

/// `GET /status/v1/regions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Regions {
    /// By name; nodes that name none are in one without a name.
    pub regions: Vec<RegionStatus>,
}

/// What there is in a region, as its nodes say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionStatus {
    /// Its name; none where nodes name none.
    pub region: Option<String>,
    /// Nodes that are connected.
    pub nodes: u64,
    /// Of them, those in rotation.
    pub in_rotation: u64,
    /// Their GPUs.
    pub gpus: u64,
    /// Slots of those in rotation.
    pub slots: u64,
    /// Of them, those in use.
    pub slots_in_use: u64,
    /// Models that can be asked there.
    pub models: Vec<String>,
}
