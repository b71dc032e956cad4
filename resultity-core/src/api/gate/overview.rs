//! An environment at a glance.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{InEnvironment, Intake, QueueCounts, Throughput};
use crate::credits::{Credits, decimal};
use crate::environment::Environment;
use crate::error::ApiError;

/// An environment at a glance, for administrators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overview {
    /// Which environment.
    pub environment: Environment,
    /// Whether new jobs are taken.
    pub intake: Intake,
    /// The version of the snapshot in force.
    pub snapshot_version: u64,
    /// Models in the snapshot.
    pub models: u64,
    /// Models that a node in rotation serves.
    pub models_served: u64,
    /// What waits and runs.
    pub queue: QueueCounts,
    /// What ended in the last hour, by this process.
    pub ended: Throughput,
    /// Dead letters that wait for a decision.
    pub dead_letters: u64,
    /// Accounts of the network, over all environments.
    pub accounts: AccountCounts,
    /// Namespaces of this environment.
    pub namespaces: u64,
    /// API keys of this environment that were not revoked.
    pub keys: u64,
    /// Nodes that were ever here.
    pub nodes: u64,
    /// Nodes that somebody has bound.
    pub nodes_bound: u64,
    /// Where the credits are.
    pub credits: CreditTotals,
}

/// How many accounts there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountCounts {
    /// All of them.
    pub total: u64,
    /// Those that may not do anything.
    pub suspended: u64,
    /// Administrators.
    pub administrators: u64,
    /// Those that were made in the last 24 hours.
    pub new: u64,
}

/// Where the credits of an environment are. Amounts are texts in credits; `issued` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditTotals {
    /// All that was ever issued and not taken back.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub issued: Credits,
    /// What namespaces may spend.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// What is held for jobs.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// What nodes have earned and not been paid out.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// The network's share.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub fees: Credits,
}

/// An environment at a glance: for administrators.
#[async_trait]
pub trait OverviewApi: Send + Sync {
    /// All of it.
    async fn overview(&self, query: InEnvironment) -> Result<Overview, ApiError>;
}
