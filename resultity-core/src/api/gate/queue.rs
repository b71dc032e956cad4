//! How the queues of jobs are doing.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{JobId, NodeId};

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

/// How the nodes stood that serve a job's model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodesForJob {
    /// Those that serve the model.
    pub serving: u32,
    /// Those of them that are not what the job wants: of another Subcloud, of another region, without such a GPU.
    pub unfit: u32,
    /// Those that tried this job already.
    pub tried: u32,
    /// Those that are left out for a while after failures.
    pub left_out: u32,
    /// Those whose slots are all taken.
    pub busy: u32,
    /// Those with a free slot.
    pub free: u32,
}

/// One decision about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobDecision {
    /// When: milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// `given`, `waits`, `given_later` or `no_node`.
    pub verdict: String,
    /// Its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub node: Option<NodeId>,
    /// Its score: up to 1 000 000 for a node that is as fast as the others, never fails and has nothing to do, and more for a faster one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u64>,
    /// The node that it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub over: Option<NodeId>,
    /// The other one's score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_of_other: Option<u64>,
    /// Whether the node was given it to show what it can do.
    pub trial: bool,
    /// How long it had waited: milliseconds.
    pub waited_ms: u64,
    /// How the nodes stood.
    pub nodes: NodesForJob,
    /// The same in words.
    pub summary: String,
}

/// Why a job went to a node, or to none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobWhy {
    /// Which.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub job: JobId,
    /// Where.
    pub environment: Environment,
    /// `waiting`, `working`, or `elsewhere`: it has ended, or is not in this process.
    pub place: String,
    /// The node that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub node: Option<NodeId>,
    /// If it waits: how many jobs are served before it, which is a guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_ahead: Option<u64>,
    /// If it waits: how the nodes stand now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesForJob>,
    /// What was decided lately, the oldest first.
    pub decisions: Vec<JobDecision>,
}

/// How the queues are doing: for administrators.
#[async_trait]
pub trait QueueApi: Send + Sync {
    /// Depth, age, what runs, what ended.
    async fn queue_health(&self, query: InEnvironment) -> Result<QueueHealth, ApiError>;

    /// Why a job went to a node, or to none, as long as it is remembered: the last 16 384 decisions are.
    async fn job_why(&self, job: JobId, query: InEnvironment) -> Result<JobWhy, ApiError>;
}
