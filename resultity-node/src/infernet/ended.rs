//! How a job ended.

use resultity_core::infernet::{ContainerResult, JobStatus};

/// How a job ended, and what its containers said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `Success` or `Failed`.
    pub status: JobStatus,
    /// What each container that ran said, in their order. Only the last one may be an error.
    pub results: Vec<ContainerResult>,
}
