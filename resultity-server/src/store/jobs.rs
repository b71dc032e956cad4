//! Jobs, from admission to their end: what the verbs of the store take and give.

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, KeyId, LeaseToken, NamespaceId, NodeId};
use resultity_core::job::{Attempt, Endpoint, JobKind, JobState, Priority};
use resultity_core::openai::chat::Usage;
use resultity_core::signing::{Outcome, Signature};

use crate::store::NewPayload;

/// A job to be admitted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Where it counts.
    pub environment: Environment,
    /// Who pays.
    pub namespace: NamespaceId,
    /// With which key.
    pub key: KeyId,
    /// What is asked.
    pub kind: JobKind,
    /// The model's name in the snapshot.
    pub model: String,
    /// The model's version in the snapshot.
    pub model_version: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The most that it can cost.
    pub hold: Credits,
    /// SHA-256 of the body that goes to the node. Zero: nothing is to be kept of it, nor will its settlement keep what the node
    /// signs about it.
    pub request_hash: B256,
    /// When.
    pub now: Timestamp,
    /// When it has to be done.
    pub deadline: Timestamp,
    /// What was asked.
    pub endpoint: Endpoint,
    /// The name that was asked for.
    pub asked_model: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What is kept of it, if somebody may come back for it.
    pub payload: Option<NewPayload>,
}

/// A promise of a job to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewLease {
    /// To whom.
    pub node: NodeId,
    /// The secret that names it.
    pub token: LeaseToken,
    /// When it runs out, unless renewed.
    pub deadline: Timestamp,
}

/// What became of a job to be admitted. If it is `Admitted`, the hold is committed and the job will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is queued, or leased as the first attempt if a lease was given.
    Admitted,
    /// Not enough credits: nothing was changed.
    Insufficient {
        /// What the namespace may spend.
        available: Credits,
    },
    /// The key was revoked: nothing was changed.
    KeyRevoked,
    /// The key's account is suspended: nothing was changed.
    AccountSuspended,
    /// The key's own limit on what it may spend would be passed: nothing was changed.
    SpendLimit {
        /// What the key may still spend.
        left: Credits,
    },
    /// The idempotency key stands for this job already: nothing was changed.
    Existing(JobId),
    /// The idempotency key stands for another request: nothing was changed.
    IdempotencyClash,
    /// Something would have to be kept of it, and its namespace keeps nothing: nothing was changed.
    NotKept,
    /// With it, more would be kept for the namespace than may be: nothing was changed.
    NoRoom,
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// The job is the node's, as this attempt.
    Attempt(Attempt),
    /// The job is not queued (any more): nothing was changed.
    NotQueued(JobState),
    /// No such job.
    UnknownJob,
}

/// Which lease somebody means; it fences everything that is done in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The secret.
    pub token: LeaseToken,
}

/// A verified result to be paid for.
#[derive(Debug, Clone)]
pub struct Settle {
    /// In the name of which lease.
    pub lease: LeaseRef,
    /// By whom.
    pub node: NodeId,
    /// What it costs; never above the hold.
    pub cost: Credits,
    /// The node's share: basis points of 10 000.
    pub node_share: u16,
    /// Token counts, as billed.
    pub usage: Usage,
    /// Why the first choice ended.
    pub finish_reason: String,
    /// Whether it is the whole answer. A partial one ends the job as `cancelled`.
    pub outcome: Outcome,
    /// What the node signed.
    pub request_hash: B256,
    /// What the node signed.
    pub transcript_hash: B256,
    /// What the node signed.
    pub output_hash: B256,
    /// The node's signature.
    pub signature: Signature,
    /// The answer, to be kept if the job has a payload: JSON.
    pub answer: Option<String>,
    /// When.
    pub now: Timestamp,
}

/// What became of a settlement or release. The first one counts; a repeat gives the first one's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The job has ended thus, by this call.
    Now(JobEnd),
    /// It had ended before: nothing was changed.
    Before(JobEnd),
    /// The lease is not the job's (any more), or a job that was to expire is leased: nothing was changed.
    LeaseLost,
    /// The cost is above the hold: nothing was changed.
    AboveHold,
    /// No such job.
    UnknownJob,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// In which state.
    pub state: JobState,
    /// What it cost.
    pub cost: Credits,
}

/// A job that ends without a payment: the hold goes back in full.
#[derive(Debug, Clone)]
pub struct Release {
    /// The job.
    pub job: JobId,
    /// `failed`, `expired` or `cancelled`.
    pub state: JobState,
    /// The code of [`ErrorCode`](resultity_core::error::ErrorCode) for it.
    pub error_code: &'static str,
    /// The same for people, to be kept if the job has a payload.
    pub error_message: String,
    /// The field that was wrong.
    pub error_param: Option<String>,
    /// Whether a repeat with the same idempotency key begins anew, since this end is no fault of the request.
    pub repeatable: bool,
    /// When.
    pub now: Timestamp,
}

/// What the store knows of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Where it counts.
    pub environment: Environment,
    /// Who pays.
    pub namespace: NamespaceId,
    /// Where it stands.
    pub state: JobState,
    /// Its attempts so far; none before the first lease.
    pub attempt: Option<Attempt>,
    /// Who holds, or held, the last lease.
    pub node: Option<NodeId>,
    /// What was held for it.
    pub held: Credits,
    /// What it cost, once it has ended.
    pub cost: Option<Credits>,
    /// Why it failed.
    pub error_code: Option<String>,
}
