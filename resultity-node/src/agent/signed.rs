//! The frames that a node signs.

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{LeaseToken, SessionId};
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, Outcome, Signature, TypedData};
use resultity_core::wire::{
    Challenge, Failed, FailureCode, Heartbeat, Hello, Job, JobResult, Load, NodeFrame, Resume, RunningJob, Timings,
    body_hash,
};
use serde_json::value::RawValue;

use super::JobKey;
use super::event::{About, Offer};

/// Stands in a frame until it is signed.
const UNSIGNED: Signature = Signature::from_bytes([0; 65]);

/// The answer to a challenge.
pub(super) fn hello(
    about: &About,
    offer: &Offer,
    domain: &Domain,
    challenge: &Challenge,
    resume: Option<Resume>,
    paused: bool,
    now: Timestamp,
) -> Hello {
    let mut hello = Hello {
        node_id: about.key.node_id(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        environment: about.environment,
        runtime: offer.runtime.clone(),
        models: offer.models.clone(),
        hardware: offer.hardware.clone(),
        region: about.region.clone(),
        max_concurrency: about.slots,
        paused,
        config_digest: offer.config_digest,
        resume,
        issued_at: now,
        signature: None,
    };
    let data = HelloData {
        nodeId: about.key.address(),
        nonce: challenge.nonce,
        sessionId: challenge.session_id.to_string(),
        issuedAt: millis(now),
        bodyHash: hash_of(&NodeFrame::Hello(hello.clone())),
    };
    hello.signature = Some(data.sign(domain, &about.key));
    hello
}

/// Where a heartbeat stands in its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The session.
    pub(super) session: SessionId,
    /// Rises with every heartbeat.
    pub(super) seq: u64,
    /// How many jobs the node takes at once, now.
    pub(super) slots: u32,
}

/// A heartbeat.
pub(super) fn heartbeat(
    about: &About,
    offer: &Offer,
    domain: &Domain,
    place: Place,
    running: Vec<RunningJob>,
    now: Timestamp,
) -> Heartbeat {
    let mut heartbeat = Heartbeat {
        seq: place.seq,
        issued_at: now,
        load: Load {
            running: running.len() as u32,
            queued: 0,
            slots: place.slots,
        },
        running,
        models: offer.models.clone(),
        runtime: offer.runtime.clone(),
        hardware: offer.hardware.clone(),
        config_digest: offer.config_digest,
        signature: None,
    };
    let data = HeartbeatData {
        nodeId: about.key.address(),
        sessionId: place.session.to_string(),
        seq: place.seq,
        issuedAt: millis(now),
        bodyHash: hash_of(&NodeFrame::Heartbeat(heartbeat.clone())),
    };
    heartbeat.signature = Some(data.sign(domain, &about.key));
    heartbeat
}

/// Why an attempt has no result.
#[derive(Debug)]
pub(super) struct Reason {
    /// Why.
    pub(super) code: FailureCode,
    /// The same for people.
    pub(super) message: String,
    /// The field of the request that it is about.
    pub(super) param: Option<String>,
}

impl Reason {
    /// One that is about no field.
    pub(super) fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
        }
    }
}

/// The end of an attempt that has no result.
pub(super) fn failure(
    key: &Keypair,
    domain: &Domain,
    (job_id, attempt): JobKey,
    lease_token: LeaseToken,
    reason: Reason,
) -> Failed {
    let Reason { code, message, param } = reason;
    let retryable = matches!(
        code,
        FailureCode::EngineUnavailable
            | FailureCode::EngineFailed
            | FailureCode::ModelMissing
            | FailureCode::Interrupted
    );
    let node_id = key.node_id();
    let mut failed = Failed {
        node_id,
        job_id,
        attempt,
        lease_token,
        code,
        message,
        param,
        retryable,
        signature: UNSIGNED,
    };
    failed.signature = failed.signed_data().sign(domain, key);
    failed
}

/// What a job has come to.
#[derive(Debug)]
pub(super) struct Answer {
    /// Over what was sent.
    pub(super) transcript_hash: B256,
    /// Over the final text.
    pub(super) output_hash: B256,
    /// Tokens of the prompt.
    pub(super) prompt_tokens: u64,
    /// Tokens made.
    pub(super) completion_tokens: u64,
    /// Why the first choice ended.
    pub(super) finish_reason: String,
    /// Whether it is all.
    pub(super) outcome: Outcome,
    /// The choices, if they were not sent in chunks.
    pub(super) output: Option<Box<RawValue>>,
    /// How long it took.
    pub(super) timings: Timings,
}

/// The end of an attempt that has a result.
pub(super) fn result(key: &Keypair, domain: &Domain, job: &Job, answer: Answer) -> JobResult {
    let mut result = JobResult {
        node_id: key.node_id(),
        job_id: job.job_id,
        attempt: job.attempt,
        lease_token: job.lease_token,
        request_hash: job.request_hash(),
        transcript_hash: answer.transcript_hash,
        output_hash: answer.output_hash,
        prompt_tokens: answer.prompt_tokens,
        completion_tokens: answer.completion_tokens,
        finish_reason: answer.finish_reason,
        outcome: answer.outcome,
        output: answer.output,
        timings: answer.timings,
        signature: UNSIGNED,
    };
    result.signature = result.signed_data().sign(domain, key);
    result
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or_default()
}

fn hash_of(frame: &NodeFrame) -> B256 {
    body_hash(&frame.encode()).expect("hello and heartbeat hold neither floats nor integers beyond 2^53")
}
