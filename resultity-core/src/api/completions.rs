//! Completions of a text.

use async_trait::async_trait;

use super::cloud::{CompletionStream, Reply};
use crate::error::ApiError;
use crate::openai::completion::{Completion, CompletionRequest};

/// `POST /v1/completions`.
#[async_trait]
pub trait CompletionsApi: Send + Sync {
    /// Asks and waits for the whole answer. `request.stream` is ignored.
    async fn complete(&self, request: CompletionRequest) -> Result<Reply<Completion>, ApiError>;

    /// Asks and gives the answer as it is made. `request.stream` is ignored.
    async fn complete_stream(&self, request: CompletionRequest) -> Result<CompletionStream, ApiError>;
}
