//! Batches.

use async_trait::async_trait;

use super::cloud::Reply;
use super::page::{Page, PageQuery};
use crate::error::ApiError;
use crate::id::BatchId;
use crate::openai::batch::{Batch, BatchRequest};

/// Batches.
#[async_trait]
pub trait BatchesApi: Send + Sync {
    /// Begins a batch. Its file is looked at afterwards: what is wrong with it is in the batch.
    async fn create_batch(&self, request: BatchRequest) -> Result<Reply<Batch>, ApiError>;

    /// A batch as it is now.
    async fn batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError>;

    /// The caller's batches, newest first.
    async fn batches(&self, query: PageQuery) -> Result<Reply<Page<Batch>>, ApiError>;

    /// Stops a batch: what is done stays done. Refused once all its requests have run.
    async fn cancel_batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError>;
}
