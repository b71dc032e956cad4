//! How the queues of jobs are doing.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use crate::environment::Environment;
use crate::error::ApiError;

/// How the queues of an environment are doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueHealth {
    /// Which environment.
    pub environment: Environment,
    /// Whether new jobs are refused.
    pub intake_stopped: bool,
    /// All models together.
    #[serde(flatten)]
    pub total: QueueCounts,
    /// What ended in the last minute, 5 minutes and hour, by this process.
    pub ended: Vec<Throughput>,
    /// One model each, by name: those that are served, waited for or were asked lately.
    pub models: Vec<ModelQueue>,
}

/// What waits and runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueCounts {
    /// Jobs that wait for a node and that somebody waits for.
    pub waiting_normal: u64,
    /// Jobs that wait for a node and that nobody waits for: batches.
    pub waiting_bulk: u64,
    /// How long the oldest of them has waited since it was accepted: milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_wait_ms: Option<u64>,
    /// Jobs that a node has.
    pub running: u64,
    /// Nodes in rotation.
    pub nodes: u64,
    /// Jobs that these nodes can have at once.
    pub slots: u64,
}

/// The queue of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelQueue {
    /// The model's name in the snapshot.
    pub model: String,
    /// What waits and runs. A node that serves several models counts for each.
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// What ended in the last 5 minutes, by this process.
    pub ended: Throughput,
}

/// What ended within a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Throughput {
    /// The time until now: seconds.
    pub seconds: u64,
    /// Jobs that were answered and paid for.
    pub succeeded: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that no node took in time.
    pub expired: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Answered jobs a minute.
    pub per_minute: f64,
    /// The share of those that failed or were not taken in time among all but cancelled ones: 0 to 1.
    pub failure_rate: f64,
    /// How long answered ones took from acceptance to end, on average: milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<u64>,
    /// Tokens of prompts and answers that were paid for.
    pub tokens: u64,
}

/// How the queues are doing: for administrators.
#[async_trait]
pub trait QueueApi: Send + Sync {
    /// Depth, age, what runs, what ended.
    async fn queue_health(&self, query: InEnvironment) -> Result<QueueHealth, ApiError>;
}
