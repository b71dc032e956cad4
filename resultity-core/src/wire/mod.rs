//! The link between a node and the network: frames of JSON text on one WebSocket that the node opened.
//!
//! Every frame is an object with `type`. Reading goes in two steps: the type, then the frame's own struct, because bodies
//! of requests and outputs travel as raw JSON and are hashed as the exact bytes sent. Unknown fields are ignored.

mod control;
mod fallback;
mod frame;
mod handshake;
mod hash;
mod heartbeat;
mod log;
mod standing;
mod work;

pub use control::{Control, ControlAction, Notice};
pub use fallback::{
    BODY_HASH_HEADER, DeliverResults, DeliveredResults, KnockAnswer, NODE_HEADER, RegisterNode, ReportHeartbeat,
    delivery_request,
};
pub use frame::{FrameError, NodeFrame, ServerFrame, body_hash};
pub use handshake::{
    Challenge, EngineInfo, Gpu, Hardware, Hello, LeaseView, NodeModel, Reject, RejectCode, Resume, RuntimeInfo, Welcome,
};
pub use hash::{OutputHasher, Transcript, output_hash};
pub use heartbeat::{Config, ErrorFrame, Heartbeat, HeartbeatAck, Load, Renewal, RunningJob};
pub use log::{LogBatch, LogField, LogLevel, LogLine, MAX_LOG_LINES};
pub use standing::{
    ISSUED_AT_HEADER, JoinAnswer, JoinRequest, MAX_JOIN_LIFETIME_MS, ModelStanding, NodeStatus, Ping, Readiness,
    Reason, ReasonCode, SIGNATURE_HEADER, status_request,
};
pub use work::{
    Accept, Ack, AckOutcome, Cancel, CancelReason, Chunk, Decline, DeclineCode, Failed, FailureCode, Job, JobResult,
    Timings,
};

pub use crate::signing::MAX_CLOCK_SKEW_MS;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "resultity.io.v1";

/// The largest frame that is read: 20 MiB.
pub const MAX_FRAME_BYTES: usize = 20 * 1024 * 1024;

/// The largest `delta` of a chunk: 1 MiB of JSON. What is larger ends its job's attempt.
pub const MAX_CHUNK_BYTES: usize = 1024 * 1024;

/// The most bytes that a node may send before its hello is accepted, frame headers and pings too: 128 KiB.
pub const MAX_HELLO_BYTES: usize = 128 * 1024;

/// How many times in a row a heartbeat may be missed before a node is out of rotation.
pub const MISSED_HEARTBEATS: u32 = 3;
