//! The node's own API, compatible with the Infernet node's REST API: containers of one node, asked directly.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::infernet::resources::{ModelSupport, Said, ServiceResources};
use crate::infernet::subscription::DelegatedRequest;
use crate::infernet::{
    BatchAnswer, BatchRequest, HealthInfo, JobId, JobRequest, JobResult, NodeError, NodeInfo, StatusUpdate,
};

/// A node, asked by one caller. A job belongs to the address of who asked for it: nobody else sees it.
#[async_trait]
pub trait NodeApi: Send + Sync {
    /// Whether the node is well.
    async fn health(&self) -> Result<HealthInfo, NodeError>;

    /// The node's version, its containers, how much it has to do.
    async fn info(&self) -> Result<NodeInfo, NodeError>;

    /// What each container can do; those that can't be reached are left out.
    async fn resources(&self) -> Result<BTreeMap<String, Said<ServiceResources>>, NodeError>;

    /// Which containers support a model; those that can't be reached are left out.
    async fn model_support(&self, model_id: &str) -> Result<BTreeMap<String, Said<ModelSupport>>, NodeError>;

    /// Begins a job. Its result is to be fetched with [`job_results`](Self::job_results).
    ///
    /// # Errors
    ///
    /// [`NodeErrorKind::Refused`](crate::infernet::NodeErrorKind) by a rule of the node, `Busy` if its queue is full.
    async fn create_job(&self, request: JobRequest) -> Result<JobId, NodeError>;

    /// Begins a job whose results go to a chain.
    async fn create_delegated(&self, request: DelegatedRequest) -> Result<(), NodeError>;

    /// Begins several jobs. Each succeeds or fails by itself, in its place.
    async fn create_batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchAnswer>, NodeError>;

    /// Begins a job and gives the bytes of its last container as they are made.
    async fn stream_job(&self, request: JobRequest) -> Result<JobStream, NodeError>;

    /// These jobs, in the order asked; those that are not there, or not the caller's, are left out. `intermediate`: with the
    /// results of all containers.
    async fn job_results(&self, ids: &[JobId], intermediate: bool) -> Result<Vec<JobResult>, NodeError>;

    /// The ids of the caller's jobs: those that have not ended (`true`), those that have (`false`), or all.
    async fn job_ids(&self, pending: Option<bool>) -> Result<Vec<JobId>, NodeError>;

    /// Registers a job that a container ran by itself. For callers on the node's own machine.
    async fn set_status(&self, update: StatusUpdate) -> Result<(), NodeError>;
}

/// A job that is streamed. Dropping it cancels the job.
pub struct JobStream {
    /// The job; its whole output can be fetched later.
    pub id: JobId,
    /// What the container sends, as it comes: any bytes. A container that fails ends it early, and the job says why.
    pub bytes: BoxStream<'static, Result<Bytes, NodeError>>,
}

impl fmt::Debug for JobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobStream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
