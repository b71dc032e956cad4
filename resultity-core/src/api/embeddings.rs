//! Embeddings.

use async_trait::async_trait;

use super::cloud::Reply;
use crate::error::ApiError;
use crate::openai::embedding::{EmbeddingList, EmbeddingRequest};

/// `POST /v1/embeddings`.
#[async_trait]
pub trait EmbeddingsApi: Send + Sync {
    /// Turns texts into numbers.
    async fn embed(&self, request: EmbeddingRequest) -> Result<Reply<EmbeddingList>, ApiError>;
}
