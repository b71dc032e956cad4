//! The types of the Infernet node's REST API, as mission document `002` and the original node (v1.4.0) have them.
//!
//! What a caller sends to a container and what a container answers is carried as the JSON text that it is, so that numbers
//! beyond 64 bits survive.

mod error;
mod info;
mod job;
#[cfg(feature = "openapi")]
mod openapi;
pub mod resources;
pub mod subscription;

pub use error::{ErrorResponse, NodeError, NodeErrorKind};
pub use info::{ChainInfo, ContainerInfo, Health, HealthInfo, NodeInfo, PendingJobs};
pub use job::{
    BatchAnswer, BatchRequest, ContainerError, ContainerOutput, ContainerResult, JobId, JobRequest, JobResponse,
    JobResult, JobStatus, StatusUpdate,
};
