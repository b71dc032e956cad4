//! Dead letters: jobs in the background that failed through no fault of their request. One is made in the transaction that
//! ends the job, and goes with what is kept of the job.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId};
use resultity_core::job::Endpoint;

use crate::store::admin::{AuditEntry, NewNotification};
use crate::store::{EventSource, StoreError};

/// The most dead letters of one namespace; jobs that fail when there are as many make none.
pub const MOST_OF_A_NAMESPACE: u32 = 100;

/// The most bytes of requests that the dead letters of one namespace may hold.
pub const MOST_BYTES_OF_A_NAMESPACE: u64 = 16 * 1024 * 1024;

/// The most dead letters in all.
pub const MOST: u32 = 2000;

/// The most bytes of requests in all.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterRecord {
    /// The job.
    pub job: JobId,
    /// Where it counts.
    pub environment: Environment,
    /// Who asked.
    pub account: AccountId,
    /// Who would have paid.
    pub namespace: NamespaceId,
    /// With which key.
    pub key: KeyId,
    /// What was asked.
    pub endpoint: Endpoint,
    /// The model's name in the snapshot.
    pub model: String,
    /// How many leases there were.
    pub attempts: u32,
    /// Why it failed.
    pub error_code: String,
    /// The same for people.
    pub error_message: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it failed.
    pub failed: Timestamp,
    /// Until when it is kept.
    pub expires: Timestamp,
}

/// What is needed to run a dead letter again.
#[derive(Debug, Clone)]
pub struct LetterWork {
    /// The letter.
    pub letter: LetterRecord,
    /// Whether its key may still be used.
    pub key_is_good: bool,
    /// As it was asked: JSON.
    pub request: String,
    /// As it was checked: JSON.
    pub work: String,
    /// Whose events its end makes.
    pub events: Option<EventSource>,
    /// For how long request and answer were to be kept.
    pub retain: Duration,
    /// The caller's key for it, which a repeat of the caller's may have used since.
    pub idempotency: Option<(String, B256)>,
}

/// Which dead letters.
#[derive(Debug, Clone)]
pub struct LetterFilter {
    /// Of this environment.
    pub environment: Environment,
    /// Only those of this model.
    pub model: Option<String>,
    /// Only those after the one of this job.
    pub after: Option<JobId>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// What became of a claim.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// It is the caller's until the time that was asked for.
    Yours(Box<LetterWork>),
    /// Somebody else has it.
    Taken,
    /// There is no such dead letter.
    Unknown,
}

/// What became of a dead letter that was to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterEnded {
    /// It is gone.
    Gone,
    /// Somebody has claimed it.
    Taken,
    /// There is no such dead letter.
    Unknown,
}

/// Dead letters.
#[async_trait]
pub trait LetterStore: Send + Sync {
    /// Some of them.
    async fn dead_letters(&self, filter: LetterFilter) -> Result<Vec<LetterRecord>, StoreError>;

    /// Claims one, so that nobody else runs it again at the same time.
    async fn claim_dead_letter(
        &self,
        job: JobId,
        environment: Option<Environment>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// Gives a claim back.
    async fn give_back_dead_letter(&self, job: JobId) -> Result<(), StoreError>;

    /// One that was claimed runs again as another job: it is gone, and its account is told.
    async fn dead_letter_requeued(
        &self,
        job: JobId,
        audit: AuditEntry,
        notification: NewNotification,
    ) -> Result<(), StoreError>;

    /// Drops one that nobody has claimed: what was asked is forgotten.
    async fn drop_dead_letter(
        &self,
        job: JobId,
        environment: Option<Environment>,
        audit: AuditEntry,
    ) -> Result<LetterEnded, StoreError>;
}
