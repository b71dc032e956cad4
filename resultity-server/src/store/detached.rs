//! Jobs whose request and answer are kept for somebody who comes back for them.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId};

use crate::store::StoreError;
use crate::store::history::JobView;

/// What is kept of a job beside its record.
#[derive(Debug, Clone)]
pub struct NewPayload {
    /// As it was asked: JSON.
    pub request: String,
    /// As it was checked: JSON of all that is needed to run it (again). Forgotten when it has ended.
    pub work: String,
    /// Until when whoever asked wants both and the answer kept; not after the job was made: only for as long as the namespace's
    /// retention keeps everything.
    pub expires_at: Timestamp,
    /// The most bytes that the namespace may have kept, request and work included. None: no limit.
    pub most_bytes: Option<u64>,
    /// Whether the job goes on without whoever asked, and survives a restart.
    pub detached: bool,
    /// Whose events its end makes.
    pub events: Option<EventSource>,
    /// Makes a repeat find this job.
    pub idempotency: Option<Idempotency>,
}

/// What the end of a job is called in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// `job.succeeded` and the like.
    Job,
    /// `response.completed` and the like.
    Response,
}

impl EventSource {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Response => "response",
        }
    }
}

/// Makes a repeat of a request find the first one's job, within its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// What the caller named it.
    pub key: String,
    /// SHA-256 of the request: another one with the same key is a mistake.
    pub request_hash: B256,
    /// How long the key is remembered.
    pub expires_at: Timestamp,
}

/// A job with what is kept of it.
#[derive(Debug, Clone)]
pub struct DetachedRecord {
    /// The job.
    pub view: JobView,
    /// As it was asked: JSON.
    pub request: String,
    /// The answer, once it has ended with one: JSON.
    pub answer: Option<String>,
    /// Until when it is kept.
    pub expires_at: Timestamp,
    /// Whether whoever asked wanted it kept, rather than its namespace.
    pub is_asked: bool,
}

/// A job that an earlier process left and that goes on.
#[derive(Debug, Clone)]
pub struct Resumable {
    /// The job.
    pub id: JobId,
    /// With which key it was asked.
    pub key: KeyId,
    /// Who pays.
    pub namespace: NamespaceId,
    /// Who owns the namespace.
    pub account: AccountId,
    /// Where it counts.
    pub environment: Environment,
    /// As it was checked: JSON.
    pub work: String,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it has to be done.
    pub deadline: Timestamp,
}

/// Kept requests and answers.
#[async_trait]
pub trait DetachedStore {
    /// A kept job of this namespace.
    async fn detached_job(&self, namespace: NamespaceId, job: JobId) -> Result<Option<DetachedRecord>, StoreError>;

    /// The job that an idempotency key stands for, with the hash of its request, while the key is remembered.
    async fn idempotent_job(
        &self,
        namespace: NamespaceId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(JobId, B256)>, StoreError>;

    /// Forgets request and answer of a job that has ended, and its idempotency key. False: there is nothing to forget, or
    /// the job has not ended.
    async fn forget_payload(&self, namespace: NamespaceId, job: JobId) -> Result<bool, StoreError>;

    /// Jobs that are queued and go on without whoever asked: to be taken up again after a start, oldest first.
    async fn resumable(&self) -> Result<Vec<Resumable>, StoreError>;

    /// Deletes what is kept no longer, also by what namespaces say since it was asked, some of it at a time; how much it was.
    /// Jobs that have not ended keep theirs.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}
