//! What a node says of itself.

use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthInfo {
    /// Whether it is well.
    pub status: Health,
}

/// Whether a node is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It takes jobs and keeps results.
    Healthy,
    /// It can't keep results, or stops.
    Unhealthy,
}

/// `GET /info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeInfo {
    /// The node's version.
    pub version: String,
    /// The containers that run, in the order of the configuration.
    pub containers: Vec<ContainerInfo>,
    /// How many jobs have not ended.
    pub pending: PendingJobs,
    /// The chain that results can be delivered on.
    pub chain: ChainInfo,
}

/// A container of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerInfo {
    /// Its id.
    pub id: String,
    /// What it is for; empty where nothing is said.
    #[serde(default)]
    pub description: String,
    /// Whether it can be the first container of a job.
    pub external: bool,
    /// The image that it runs.
    pub image: String,
}

/// How many jobs have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PendingJobs {
    /// Those whose results are fetched.
    pub offchain: u64,
    /// Those whose results go to a chain.
    pub onchain: u64,
}

/// The chain that results can be delivered on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainInfo {
    /// Whether there is one.
    pub enabled: bool,
    /// The address of the node's wallet; empty without a chain.
    pub address: String,
}
