//! Containers.

use async_trait::async_trait;

use super::cloud::Reply;
use crate::compute::{Compute, ComputeRequest};
use crate::error::ApiError;

/// `POST /v1/compute`.
#[async_trait]
pub trait ComputeApi: Send + Sync {
    /// Has a container compute something.
    async fn compute(&self, request: ComputeRequest) -> Result<Reply<Compute>, ApiError>;
}
