//! The handshake: challenge, hello, welcome or reject.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{JobId, NodeId, SessionId};
use crate::job::Attempt;
use crate::model::ModelState;
use crate::signing::Signature;

/// The first frame, by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Names this connection.
    pub session_id: SessionId,
    /// To be signed, so that a hello cannot be replayed.
    pub nonce: B256,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Which network it is.
    pub environment: Environment,
    /// The address of the network's key, which nodes pin.
    pub network_key: Address,
    /// The address of the network's first key: part of every signature's domain.
    pub genesis: Address,
    /// The oldest Agent that is let in.
    pub min_agent_version: String,
}

/// The node's answer, signed over its whole body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The address of the node's key.
    pub node_id: NodeId,
    /// The Agent's version.
    pub agent_version: String,
    /// Which network the node means to join.
    pub environment: Environment,
    /// What makes the answers.
    pub runtime: RuntimeInfo,
    /// What it can answer for.
    pub models: Vec<NodeModel>,
    /// What it runs on.
    pub hardware: Hardware,
    /// Where it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many jobs it takes at once.
    pub max_concurrency: u32,
    /// Whether it was told to take no jobs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The snapshot that it works by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<B256>,
    /// The session it had before, with what it holds of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// The node's clock.
    pub issued_at: Timestamp,
    /// Over [`HelloData`](crate::signing::HelloData).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What a node brings from an earlier session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The earlier session.
    pub session_id: SessionId,
    /// The attempts that the node's journal still holds.
    #[serde(default)]
    pub journal: Vec<(JobId, Attempt)>,
    /// Whether it holds more than are named, because a hello has to be short: see
    /// [`MAX_HELLO_BYTES`](crate::wire::MAX_HELLO_BYTES). The node says so of each by its `accept` or its result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The server's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// How often to send heartbeats: milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The snapshot in force.
    pub config_digest: B256,
    /// Whether an account has bound the node.
    pub bound: bool,
    /// Where the node stands, such as `active` or `idle`.
    pub state: String,
    /// The attempts that the server still wants.
    #[serde(default)]
    pub leases: Vec<LeaseView>,
}

/// A lease as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// When it runs out.
    pub deadline: Timestamp,
}

/// The server's no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Why.
    pub code: RejectCode,
    /// The same for people.
    pub message: String,
    /// When to try again: milliseconds. Absent: trying again won't help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Why a node is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectCode {
    /// Update the Agent.
    VersionTooOld,
    /// Not signed by the node's key.
    BadSignature,
    /// Not this connection's nonce.
    StaleNonce,
    /// Excluded.
    Banned,
    /// The node wants the other network.
    EnvironmentMismatch,
    /// The node's clock is off.
    ClockSkew,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// What makes the answers on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// In a word, such as `openai` or `embedded`.
    pub kind: String,
    /// The engine's version.
    pub version: String,
    /// Whether it can work now.
    pub healthy: bool,
}

/// A model on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeModel {
    /// The name in the snapshot.
    pub id: String,
    /// The version in the snapshot.
    pub version: String,
    /// SHA-256 of its first file, where it has files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where it stands.
    pub state: ModelState,
    /// What makes its answers, where the node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineInfo>,
}

/// A program that makes answers: what it is called in [`Snapshot::min_runtime_versions`](crate::snapshot::Snapshot).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Such as `embedded`, `llama-server`, `vllm` or `ollama`.
    pub name: String,
    /// As it says itself; empty: it does not.
    #[serde(default)]
    pub version: String,
}

/// What a node runs on, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The processor's name.
    pub cpu: String,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory in use.
    #[serde(default)]
    pub memory_used: u64,
    /// Its GPUs.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Bytes of its memory.
    pub memory: u64,
}
