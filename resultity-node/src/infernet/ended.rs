//! How a job ended.

use std::sync::Arc;

use resultity_core::infernet::{ContainerResult, JobStatus};

use super::memory::Share;

/// How a job ended, and what its containers said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `Success` or `Failed`.
    pub status: JobStatus,
    /// What each container that ran said, in their order. Only the last one may be an error.
    pub results: Vec<ContainerResult>,
    /// The room that this takes, for as long as it is there.
    share: Arc<Share>,
}

impl Ended {
    /// An end with these results.
    pub fn new(status: JobStatus, results: Vec<ContainerResult>) -> Self {
        Self {
            status,
            results,
            share: Arc::default(),
        }
    }

    /// Takes a share of the memory over.
    pub(super) fn hold(&mut self, share: Share) {
        self.share = Arc::new(share);
    }
}
