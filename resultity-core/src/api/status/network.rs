//! The network in numbers.

use serde::{Deserialize, Serialize};

/// `GET /status/v1/network`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkStatus {
    /// Whether new jobs are taken.
    pub takes_jobs: bool,
    /// Machines.
    pub nodes: NodesStatus,
    /// Work.
    pub jobs: JobsStatus,
    /// How long answers took in the last minute.
    pub latency: LatencyStatus,
    /// How busy the nodes are.
    pub load: LoadStatus,
    /// Models that can be asked now.
    pub models: u64,
}

/// Machines of a network. Nodes that work for their Subclouds alone are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodesStatus {
    /// Linked to the network.
    pub connected: u64,
    /// Of them, those that are given jobs.
    pub in_rotation: u64,
    /// GPUs of those that are connected, as they say.
    pub gpus: u64,
    /// Bytes of memory of those GPUs.
    pub gpu_memory: u64,
    /// Logical processors of those that are connected, as they say.
    pub cpu_cores: u64,
}

/// Work in a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobsStatus {
    /// Jobs that nodes work on.
    pub running: u64,
    /// Jobs that wait for a node.
    pub waiting: u64,
    /// Jobs that ended in the last minute, for each second.
    pub per_second: f64,
    /// Jobs that ended in the last hour.
    pub last_hour: u64,
    /// Of the jobs of the last hour, how many were answered: 0 to 1; 1 if there were none.
    pub success_rate: f64,
    /// Tokens of the last minute, for each second: read and written.
    pub tokens_per_second: f64,
}

/// How long answers took, from acceptance to settlement: milliseconds; 0 if there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LatencyStatus {
    /// The mean.
    pub mean_ms: f64,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// 95 of 100 took at most this.
    pub p95_ms: f64,
}

/// How busy nodes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoadStatus {
    /// Jobs that nodes in rotation can take at once.
    pub slots: u64,
    /// Of them, those that are in use.
    pub slots_in_use: u64,
    /// The part in use: 0 to 1.
    pub utilisation: f64,
}
