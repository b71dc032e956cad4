//! Batches: where they stand, and what became of their lines.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{BatchId, FileId, KeyId, NamespaceId};
use resultity_core::job::Endpoint;
use resultity_core::openai::batch::{BatchError, BatchStatus, BatchUsage, RequestCounts};
use resultity_core::openai::file::FilePurpose;
use tokio::sync::watch;

use crate::store::files::FinishedFile;
use crate::store::{Idempotency, KeyRecord, StoreError};

/// A batch to be made.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Where it counts.
    pub environment: Environment,
    /// Who pays.
    pub namespace: NamespaceId,
    /// With which key.
    pub key: KeyId,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The file with the requests.
    pub input_file: FileId,
    /// What its owner noted: JSON.
    pub metadata: Option<String>,
    /// How long its output is kept: seconds.
    pub output_ttl: Option<u64>,
    /// When.
    pub now: Timestamp,
    /// When its window ends.
    pub expires_at: Timestamp,
    /// The most batches of the namespace that may not have ended, this one included.
    pub most_open: u64,
    /// As many files, its own included, as keep a namespace from another batch: each writes up to two.
    pub most_files: u64,
    /// As many bytes in all files as keep a namespace from another batch.
    pub most_bytes: u64,
    /// The most bytes of requests and answers that may be kept for the namespace.
    pub most_kept: u64,
    /// Makes a repeat find this batch.
    pub idempotency: Option<Idempotency>,
}

/// What became of a batch to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchCreation {
    /// It is there.
    Created(Box<BatchRecord>),
    /// Its idempotency key stands for this one already.
    Existing(Box<BatchRecord>),
    /// Its idempotency key stands for something else.
    IdempotencyClash,
    /// No such file in its namespace.
    UnknownFile,
    /// The file is for something else.
    WrongPurpose(FilePurpose),
    /// Too many of the namespace have not ended.
    TooMany,
    /// The namespace has as many files, or bytes in them, as it may have; or as many bytes of requests and answers.
    NoRoom,
    /// The namespace keeps nothing.
    NotKept,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its id.
    pub id: BatchId,
    /// Where it counts.
    pub environment: Environment,
    /// Who pays.
    pub namespace: NamespaceId,
    /// With which key.
    pub key: KeyId,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The model that they ask, once the file was looked at.
    pub model: Option<String>,
    /// The file with the requests.
    pub input_file: FileId,
    /// What its owner noted: JSON.
    pub metadata: Option<String>,
    /// How long its output is kept: seconds.
    pub output_ttl: Option<u64>,
    /// Where it stands.
    pub status: BatchStatus,
    /// What is wrong with its file: JSON of a list of [`BatchError`]s.
    pub errors: Option<String>,
    /// The file with the answers.
    pub output_file: Option<FileId>,
    /// The file with the errors.
    pub error_file: Option<FileId>,
    /// How far it is.
    pub counts: RequestCounts,
    /// The tokens that were paid for.
    pub usage: BatchUsage,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its window ends.
    pub expires_at: Timestamp,
    /// When its requests began to run.
    pub in_progress_at: Option<Timestamp>,
    /// When it was asked to stop.
    pub cancelling_at: Option<Timestamp>,
    /// When its files began to be written.
    pub finalizing_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// The next status of a batch. It comes about only from the status that it follows.
#[derive(Debug, Clone)]
pub enum BatchStep {
    /// `validating` → `failed`: its file can't be run.
    Fail(Vec<BatchError>),
    /// `validating` → `in_progress`: its file is good.
    Begin {
        /// How many requests there are.
        total: u64,
        /// Which model they ask.
        model: String,
    },
    /// `in_progress` → `finalizing`: all have run, or the window has ended.
    Finalize,
    /// `validating` or `in_progress` → `cancelling`.
    Cancel,
    /// Any that is not an end → `failed`: it can't be carried on. What has run keeps its outcome and price, but no file tells of it.
    GiveUp(Vec<BatchError>),
    /// `finalizing` → `completed`, or `expired` if requests did not run; `cancelling` → `cancelled`. Its files become
    /// visible, and requests that did not run count as failed, in the same transaction.
    Finish {
        /// The file with the answers, which is being written.
        output: Option<FinishedFile>,
        /// The file with the errors, which is being written.
        errors: Option<FinishedFile>,
    },
}

/// What became of a request that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineOutcome {
    /// Of which batch.
    pub batch: BatchId,
    /// Which line, from 1.
    pub line: u32,
    /// Whether it has no answer.
    pub failed: bool,
    /// The line of the output or error file, without its end.
    pub text: String,
    /// Tokens of the prompt that were paid for.
    pub prompt_tokens: u64,
    /// Tokens made that were paid for.
    pub completion_tokens: u64,
}

/// Batches.
#[async_trait]
pub trait BatchStore {
    /// Makes a batch of a complete file with purpose `batch`, which can't be deleted until it has ended.
    async fn create_batch(&self, batch: NewBatch) -> Result<BatchCreation, StoreError>;

    /// A batch of this namespace.
    async fn batch(&self, namespace: NamespaceId, batch: BatchId) -> Result<Option<BatchRecord>, StoreError>;

    /// Batches of this namespace, after the one with this id.
    async fn batches(
        &self,
        namespace: NamespaceId,
        after: Option<BatchId>,
        ascending: bool,
        limit: u32,
    ) -> Result<Vec<BatchRecord>, StoreError>;

    /// Changes when a batch was made or asked to stop.
    fn batch_changes(&self) -> watch::Receiver<u64>;

    /// All batches that have not ended, oldest first, each with the key that it was made with.
    async fn open_batches(&self, environment: Environment) -> Result<Vec<(BatchRecord, KeyRecord)>, StoreError>;

    /// Takes a step. None: the batch is not there, or not in a status that the step follows; nothing was changed.
    async fn step_batch(
        &self,
        batch: BatchId,
        step: BatchStep,
        now: Timestamp,
    ) -> Result<Option<BatchRecord>, StoreError>;

    /// Writes down what became of a request, and counts it. The first outcome counts. False: there is one already, or the
    /// batch does not run (any more).
    async fn record_line(&self, outcome: LineOutcome) -> Result<bool, StoreError>;

    /// Which lines have an outcome, in order.
    async fn finished_lines(&self, batch: BatchId) -> Result<Vec<u32>, StoreError>;

    /// Outcomes of lines after this one, in order: a few, as much as fits into a few chunks of a file.
    async fn line_outcomes(&self, batch: BatchId, failed: bool, after: u32) -> Result<Vec<(u32, String)>, StoreError>;

    /// Forgets some of the outcomes of batches that have ended, whose files have them. How many: none once there are none
    /// left.
    async fn purge_line_outcomes(&self) -> Result<u64, StoreError>;
}
