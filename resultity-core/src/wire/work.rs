//! Work: job, accept, decline, chunk, result, failed, ack, cancel.

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::canonical::sha256;
use crate::clock::Timestamp;
use crate::id::{JobId, LeaseToken, NodeId};
use crate::job::{Attempt, JobKind};
use crate::signing::{FailureData, Outcome, ResultData, Signature};

/// Work for a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The job.
    pub job_id: JobId,
    /// Which try it is.
    pub attempt: Attempt,
    /// To be named with the result.
    pub lease_token: LeaseToken,
    /// When the job as a whole has to be done.
    pub deadline: Timestamp,
    /// What is asked.
    pub kind: JobKind,
    /// The model's name in the snapshot.
    pub model: String,
    /// SHA-256 of the model's first file, where it has files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    /// Whether the answer is sent in chunks.
    pub stream: bool,
    /// The request, without anything that names who asks.
    pub body: Box<RawValue>,
}

impl Job {
    /// What the node signs as `request_hash`: SHA-256 over the body's bytes as sent.
    pub fn request_hash(&self) -> B256 {
        sha256(self.body.get())
    }
}

/// The node takes the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// As in the job.
    pub lease_token: LeaseToken,
}

/// The node does not take the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// As in the job.
    pub lease_token: LeaseToken,
    /// Why.
    pub code: DeclineCode,
}

/// Why a node does not take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeclineCode {
    /// No slot is free. No penalty.
    Busy,
    /// It does not have the model (any more).
    ModelMissing,
    /// It cannot read the request.
    InvalidRequest,
    /// It is about to stop. No penalty.
    Draining,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// A piece of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chunk {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// From 0, without gaps.
    pub index: u64,
    /// An array of [`ChunkChoice`](crate::openai::chat::ChunkChoice).
    pub delta: Box<RawValue>,
}

/// The answer, or that part of it that was made until it was cancelled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobResult {
    /// Who answers.
    pub node_id: NodeId,
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// As in the job.
    pub lease_token: LeaseToken,
    /// SHA-256 over the job's body.
    pub request_hash: B256,
    /// Over what was sent: see [`Transcript`](crate::wire::Transcript).
    pub transcript_hash: B256,
    /// Over the final text, each embedding as it is sent, or the container's JSON: see
    /// [`output_hash`](crate::wire::output_hash).
    pub output_hash: B256,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens made, over all choices.
    pub completion_tokens: u64,
    /// Why the first choice ended.
    pub finish_reason: String,
    /// Whether it is all.
    pub outcome: Outcome,
    /// Where the answer was not sent in chunks: an array of [`Choice`](crate::openai::chat::Choice); of embeddings; or of the
    /// one JSON that a container gave, without white space between its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    /// How long it took.
    pub timings: Timings,
    /// Over [`ResultData`].
    pub signature: Signature,
}

impl JobResult {
    /// What the signature is over.
    pub fn signed_data(&self) -> ResultData {
        ResultData {
            nodeId: self.node_id.address(),
            jobId: self.job_id.to_string(),
            attempt: self.attempt.get(),
            leaseToken: self.lease_token.to_string(),
            requestHash: self.request_hash,
            transcriptHash: self.transcript_hash,
            outputHash: self.output_hash,
            promptTokens: self.prompt_tokens,
            completionTokens: self.completion_tokens,
            finishReason: self.finish_reason.clone(),
            outcome: self.outcome.as_str().to_owned(),
        }
    }
}

/// How long an answer took, on the node's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Milliseconds from taking the job to the first output.
    pub first_output_ms: u64,
    /// Milliseconds from taking the job to the end.
    pub total_ms: u64,
}

/// The job failed on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Who says so.
    pub node_id: NodeId,
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// As in the job.
    pub lease_token: LeaseToken,
    /// Why.
    pub code: FailureCode,
    /// The same for people. Nothing in it names the engine's host.
    pub message: String,
    /// Which field of the request it is about, such as `messages[0].role`; see [`Failed::is_param`]. Anything else is read as
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "param")]
    pub param: Option<String>,
    /// Whether another node may do better.
    pub retryable: bool,
    /// Over [`FailureData`].
    pub signature: Signature,
}

/// The most bytes of a [`Failed::param`].
const MAX_PARAM: usize = 64;

fn param<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|param| Failed::is_param(param)))
}

impl Failed {
    /// Whether a text can stand as the path of a field: up to 64 of `a-z`, `0-9`, `_`, `.`, `[` and `]`. It goes on to whoever
    /// asked, so nothing else may be said in it.
    pub fn is_param(text: &str) -> bool {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'[' | b']');
        (1..=MAX_PARAM).contains(&text.len()) && text.bytes().all(plain)
    }

    /// What the signature is over.
    pub fn signed_data(&self) -> FailureData {
        FailureData {
            nodeId: self.node_id.address(),
            jobId: self.job_id.to_string(),
            attempt: self.attempt.get(),
            leaseToken: self.lease_token.to_string(),
            code: self.code.as_str().to_owned(),
        }
    }
}

/// Why a job failed on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCode {
    /// The engine cannot be reached.
    EngineUnavailable,
    /// The engine began and failed.
    EngineFailed,
    /// The model is not there.
    ModelMissing,
    /// No node can answer this request.
    InvalidRequest,
    /// It does not fit into the context.
    ContextLengthExceeded,
    /// The job's deadline passed.
    DeadlineExceeded,
    /// It was cancelled before there was any output.
    Cancelled,
    /// The node was stopped in the middle.
    Interrupted,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl FailureCode {
    /// The name that is signed and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EngineUnavailable => "engine_unavailable",
            Self::EngineFailed => "engine_failed",
            Self::ModelMissing => "model_missing",
            Self::InvalidRequest => "invalid_request",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Other => "other",
        }
    }
}

/// The server dealt with a result or failure: the node may forget the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// What became of it.
    pub outcome: AckOutcome,
}

/// What became of a result or failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckOutcome {
    /// It counts.
    Recorded,
    /// It came too late, or was not wanted: neither billed nor paid.
    Superseded,
}

/// Stop working on a job, and send what there is as a partial result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The job.
    pub job_id: JobId,
    /// Which try.
    pub attempt: Attempt,
    /// Why.
    pub reason: CancelReason,
}

/// Why a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelReason {
    /// Whoever asked has gone.
    ClientGone,
    /// It took too long.
    Deadline,
    /// The lease is somebody else's, or ended.
    LeaseLost,
    /// The server stops.
    Shutdown,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}
