//! The Status API, `/status/v1`: what the public may see of a network. No sign-in, answered from a cache, and nothing in it
//! names an account, an owner, a node or who asks.
//!
//! Every answer says which environment it is for, when it was made, and how old it is: at most a second or two while
//! the server is well.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::cloud::Streamed;
use crate::api::gate::InEnvironment;
use crate::environment::Environment;
use crate::error::ApiError;

mod config;
mod models;
mod network;

pub use config::{ConfigChange, ConfigStatus, Epoch, Epochs, VersionCount, Versions};
pub use models::{ModelPrice, ModelStatus, Models, PriceStatus, Pricing, RegionStatus, Regions};
pub use network::{JobsStatus, LatencyStatus, LoadStatus, NetworkStatus, NodesStatus};

/// An answer, with where and when it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seen<T> {
    /// How long ago it was made: milliseconds.
    pub age_ms: u64,
    /// Which network it is about.
    pub environment: Environment,
    /// When it was made: seconds since the Unix epoch.
    pub as_of: i64,
    /// What was seen.
    #[serde(flatten)]
    pub body: T,
}

/// What happens in a network, as `GET /status/v1/events` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StatusEvent {
    /// The numbers of the network: first of all, and whenever they have changed.
    Network(Box<Seen<NetworkStatus>>),
    /// A model can be asked now, or can't any more.
    Model(Box<ModelStatus>),
    /// A new snapshot is in force.
    Config(ConfigChange),
    /// An epoch has begun.
    Epoch(Epoch),
}

impl StatusEvent {
    /// The `event:` of the stream.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::Model(_) => "model",
            Self::Config(_) => "config",
            Self::Epoch(_) => "epoch",
        }
    }
}

/// What happens, as it happens.
pub type StatusEvents = Streamed<StatusEvent>;

/// What the public may see. Without an environment the server's first is meant.
#[async_trait]
pub trait StatusApi: Send + Sync {
    /// Nodes, slots, GPUs, load, requests, latency, queue.
    async fn network(&self, of: InEnvironment) -> Result<Seen<NetworkStatus>, ApiError>;

    /// What is served, and by how much.
    async fn models(&self, of: InEnvironment) -> Result<Seen<Models>, ApiError>;

    /// Where nodes say that they are.
    async fn regions(&self, of: InEnvironment) -> Result<Seen<Regions>, ApiError>;

    /// What nodes have to run, and what they do run.
    async fn versions(&self, of: InEnvironment) -> Result<Seen<Versions>, ApiError>;

    /// What models cost.
    async fn pricing(&self, of: InEnvironment) -> Result<Seen<Pricing>, ApiError>;

    /// The snapshot in force, and those before it.
    async fn config(&self, of: InEnvironment) -> Result<Seen<ConfigStatus>, ApiError>;

    /// Contribution points, by week.
    async fn epochs(&self, of: InEnvironment) -> Result<Seen<Epochs>, ApiError>;

    /// What happens from now on; the numbers of the network come first.
    async fn events(&self, of: InEnvironment) -> Result<StatusEvents, ApiError>;
}
