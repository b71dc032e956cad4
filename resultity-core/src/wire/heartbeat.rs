//! Heartbeats, and the frames that go both ways.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::job::Attempt;
use crate::signing::Signature;
use crate::wire::{Ack, Hardware, NodeModel, RuntimeInfo};

/// The node is alive; signed over its whole body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Rises with every heartbeat of a session, from 1.
    pub seq: u64,
    /// The node's clock.
    pub issued_at: Timestamp,
    /// How busy it is.
    pub load: Load,
    /// What it works on: these leases are renewed. Over HTTP also what it has done and could not hand in yet.
    pub running: Vec<RunningJob>,
    /// What it can answer for.
    pub models: Vec<NodeModel>,
    /// How its Runtime is.
    pub runtime: RuntimeInfo,
    /// What it runs on, with what is in use.
    pub hardware: Hardware,
    /// The snapshot that it works by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<B256>,
    /// Over [`HeartbeatData`](crate::signing::HeartbeatData).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Jobs that it works on.
    pub running: u32,
    /// Jobs that it accepted and has not begun.
    pub queued: u32,
    /// Jobs that it takes at once.
    pub slots: u32,
}

/// A job that a node works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
}

/// A heartbeat was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAck {
    /// The server's clock.
    pub server_time: Timestamp,
    /// The snapshot in force.
    pub config_digest: B256,
    /// The leases that go on, until when.
    #[serde(default)]
    pub renewed: Vec<Renewal>,
    /// Over HTTP: what became of attempts that were named and are under no lease any more. The node may forget them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<Ack>,
}

/// A lease that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// Until when.
    pub deadline: Timestamp,
}

/// A new snapshot is out; its body is fetched over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Its digest.
    pub digest: B256,
}

/// A frame could not be used; the link stays up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// For programs, such as `unknown_type`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The type of the frame that could not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
}
