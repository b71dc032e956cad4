//! The frames that a node signs.

use std::collections::VecDeque;

use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{LeaseToken, SessionId};
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, LogBatchData, Outcome, Signature, TypedData};
use resultity_core::wire::{
    Challenge, Failed, FailureCode, Heartbeat, Hello, Job, JobResult, Load, LogBatch, LogLine, MAX_HELLO_BYTES,
    NodeFrame, Resume, RunningJob, Timings, body_hash, delivery_request,
};
use serde_json::value::RawValue;

use super::event::{About, Delivery, Offer};
use super::{JobKey, Text};

/// Stands in a frame until it is signed.
const UNSIGNED: Signature = Signature::from_bytes([0; 65]);

/// What a hello may have, with what comes around it and its signature.
const HELLO_ROOM: usize = MAX_HELLO_BYTES - 4096;

/// The fewest bytes that the name of an attempt takes in a hello.
const LEAST_NAMED: usize = 30;

/// Names no more attempts than a hello has room for: those that come first.
fn shorten(hello: &mut Hello) {
    loop {
        let size = NodeFrame::Hello(hello.clone()).encode().len();
        match &mut hello.resume {
            Some(resume) if size > HELLO_ROOM && !resume.journal.is_empty() => {
                let fewer = (size - HELLO_ROOM) / LEAST_NAMED + 1;
                resume.journal.truncate(resume.journal.len().saturating_sub(fewer));
                resume.more = true;
            }
            _ => return,
        }
    }
}

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
    shorten(&mut hello);
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

/// Lines of the node's log.
pub(super) fn log(
    about: &About,
    domain: &Domain,
    (session, seq): (SessionId, u64),
    lines: VecDeque<LogLine>,
    now: Timestamp,
) -> LogBatch {
    let mut batch = LogBatch {
        seq,
        issued_at: now,
        lines: lines.into(),
        signature: None,
    };
    let data = LogBatchData {
        nodeId: about.key.address(),
        sessionId: session.to_string(),
        seq,
        bodyHash: hash_of(&NodeFrame::Log(batch.clone())),
    };
    batch.signature = Some(data.sign(domain, &about.key));
    batch
}

/// Frames that are handed in over HTTP.
pub(super) fn delivery(about: &About, domain: &Domain, frames: &[Text], now: Timestamp) -> Delivery {
    // Frames are JSON already, and are hashed as they are.
    let frames: Vec<&str> = frames.iter().map(Text::as_str).collect();
    let body = format!(r#"{{"frames":[{}]}}"#, frames.join(","));
    let (node, body_hash) = (about.key.node_id(), sha256(&body));
    let signed = delivery_request(node, about.environment, now, body_hash);
    Delivery {
        node,
        issued_at: now,
        body_hash,
        signature: signed.sign(domain, &about.key),
        body,
    }
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
    body_hash(&frame.encode()).expect("hello, heartbeat and log hold neither floats nor integers beyond 2^53")
}
