//! What became of jobs, as their owners see it: lists, receipts, usage, feedback.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::jobs::Feedback;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, KeyId, NamespaceId, NodeId};
use resultity_core::job::{Endpoint, JobKind, JobState, Priority};
use resultity_core::openai::chat::Usage;

use crate::store::StoreError;

/// A job, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// With which key it was asked.
    pub key: KeyId,
    /// What was asked.
    pub endpoint: Endpoint,
    /// What a node does.
    pub kind: JobKind,
    /// The model's name in the snapshot.
    pub model: String,
    /// The name that was asked for.
    pub asked_model: String,
    /// Where it stands.
    pub state: JobState,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it goes on without whoever asked.
    pub detached: bool,
    /// Whether the answer is made in pieces.
    pub stream: bool,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it has to be done.
    pub deadline: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How many leases there were.
    pub attempts: u32,
    /// What was held for it.
    pub held: Credits,
    /// What it cost, once it has ended.
    pub cost: Option<Credits>,
    /// Token counts, once it was paid for.
    pub usage: Option<Usage>,
    /// Why it has no answer: the code of an error.
    pub error_code: Option<String>,
    /// The same for people.
    pub error_message: Option<String>,
    /// The field that was wrong.
    pub error_param: Option<String>,
}

/// A lease that ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    /// Which one, from 1.
    pub attempt: u32,
    /// Why it ended.
    pub reason: String,
    /// When it ended.
    pub ended: Timestamp,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those of this model, by its name in the snapshot.
    pub model: Option<String>,
    /// Only those after this one.
    pub after: Option<JobId>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// What a receipt says, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// The name that was asked for.
    pub asked_model: String,
    /// The version that it meant.
    pub model_version: String,
    /// What the node signed.
    pub request_hash: B256,
    /// What the node signed.
    pub output_hash: B256,
    /// Token counts, as billed.
    pub usage: Usage,
    /// What was asked of the node.
    pub kind: JobKind,
    /// Why the first choice ended, in the node's words.
    pub finish_reason: String,
    /// What was paid.
    pub cost: Credits,
    /// When it was settled.
    pub finished: Timestamp,
    /// Who answered.
    pub node: NodeId,
}

/// Whose usage is counted, and of when.
#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// Of this namespace.
    pub namespace: NamespaceId,
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// Of this model alone, by its name in the snapshot.
    pub model: Option<String>,
    /// Jobs that ended at this time or later.
    pub from: Timestamp,
    /// Jobs that ended before this time.
    pub until: Timestamp,
    /// No job that ends from then on was accepted before this time.
    pub accepted_from: Timestamp,
}

/// Usage of a day, model, endpoint and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// The day of UTC, counted from the Unix epoch.
    pub day: i64,
    /// The model's name in the snapshot.
    pub model: String,
    /// What was asked.
    pub endpoint: String,
    /// The key.
    pub key: KeyId,
    /// Jobs that ended.
    pub requests: u64,
    /// Those of them that failed or were not taken in time; cancelled ones are none.
    pub failed: u64,
    /// Tokens of the prompts that were paid for.
    pub prompt_tokens: u64,
    /// Tokens made that were paid for.
    pub completion_tokens: u64,
    /// Milliseconds from acceptance to end, over all jobs.
    pub duration_ms: u64,
    /// What was paid.
    pub cost: Credits,
}

/// What became of jobs.
#[async_trait]
pub trait HistoryStore {
    /// A job of this namespace, with the leases of it that ended without a result.
    async fn job_view(
        &self,
        namespace: NamespaceId,
        job: JobId,
    ) -> Result<Option<(JobView, Vec<AttemptView>)>, StoreError>;

    /// Jobs of this namespace.
    async fn job_views(&self, namespace: NamespaceId, filter: JobFilter) -> Result<Vec<JobView>, StoreError>;

    /// What the receipt of a job of this namespace says, if the job was paid for.
    async fn receipt(&self, namespace: NamespaceId, job: JobId) -> Result<Option<ReceiptRecord>, StoreError>;

    /// Keeps what the asker thinks; a later one replaces it. False: no such job in this namespace, or it has not ended.
    async fn keep_feedback(
        &self,
        namespace: NamespaceId,
        job: JobId,
        feedback: Feedback,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// What was used, by day, model, endpoint and key.
    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRecord>, StoreError>;

    /// What a key has spent or has held, if it has a limit of its own.
    async fn key_spent(&self, key: KeyId) -> Result<Option<Credits>, StoreError>;
}
