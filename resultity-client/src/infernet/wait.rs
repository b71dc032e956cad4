//! Waiting for a job, by asking again and again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use resultity_core::api::node::NodeApi;
use resultity_core::infernet::{
    ContainerError, ContainerOutput, ContainerResult, JobId, JobRequest, JobResult, JobStatus, NodeError, NodeErrorKind,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::InfernetClient;
use crate::error::shown;

/// The first pause between two questions: most containers that are quick have answered by then.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause of [`InfernetClient::run`].
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How many questions in a row may fail, each with its repeats, before the waiting ends.
const MAX_FAILURES: usize = 5;

/// Why a job gave no output.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The node did not take the job, or could not be asked for it; [`NodeErrorKind::Timeout`] after the time that was
    /// given: the job goes on.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A container failed.
    #[error("container {:?} failed: {}", .error.container, .error.error)]
    Failed {
        /// The job.
        id: JobId,
        /// Which container, and why.
        error: ContainerError,
    },
    /// The job ended, and nothing is known of its containers: one of those registered with `PUT /api/status`.
    #[error("job {id} ended as {status}, without an output")]
    NoOutput {
        /// The job.
        id: JobId,
        /// How it ended.
        status: JobStatus,
    },
}

impl InfernetClient {
    /// Waits until a job has ended, well or not: its `status` tells. Asks at once, then after pauses that grow from 20 ms up
    /// to `every`; a node that can't be reached for a moment is waited for.
    ///
    /// # Errors
    /// [`NodeErrorKind::NotFound`] if the node has no such job of this caller's, [`NodeErrorKind::Timeout`] if it has not
    /// ended after `patience`: it goes on all the same.
    pub async fn wait_for(&self, id: &JobId, every: Duration, patience: Duration) -> Result<JobResult, NodeError> {
        // None: for ever.
        let deadline = Instant::now().checked_add(patience);
        let every = every.max(Duration::from_millis(1));
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE.min(every))
            .with_max_delay(every)
            .without_max_times()
            .build();
        let mut failures = 0;
        loop {
            match within(deadline, self.one_result(id)).await {
                Some(Ok(result)) if result.status != JobStatus::Running => return Ok(result),
                Some(Ok(_)) => failures = 0,
                Some(Err(error)) if failures < MAX_FAILURES && may_pass(&error) => {
                    failures += 1;
                    tracing::debug!(%error, "asking again");
                }
                Some(Err(error)) => return Err(error),
                None => return Err(not_ended(id, patience)),
            }
            let pause = Instant::now() + pauses.next().unwrap_or(every);
            if deadline.is_some_and(|deadline| deadline <= pause) {
                return Err(not_ended(id, patience));
            }
            sleep_until(pause).await;
        }
    }

    /// Begins a job, waits for its end and gives the output of its last container.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use resultity_client::{InfernetClient, RunError};
    /// use resultity_client::core::infernet::JobRequest;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Summary {
    ///     text: String,
    /// }
    ///
    /// # async fn ask(node: InfernetClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = JobRequest::new(["summarise"], &serde_json::json!({"text": "…"}))?;
    /// match node.run(request, Duration::from_mins(5)).await {
    ///     Ok(output) => println!("{}", output.read::<Summary>()?.text),
    ///     Err(RunError::Failed { error, .. }) => eprintln!("{} says {}", error.container, error.error),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The node refuses the job, a container fails, or the job has not ended after `patience`. The job goes on then: the
    /// message names its id, for [`wait_for`](Self::wait_for).
    pub async fn run(&self, request: JobRequest, patience: Duration) -> Result<ContainerOutput, RunError> {
        let id = self.create_job(request).await?;
        let ended = self.wait_for(&id, LONGEST_PAUSE, patience).await?;
        match (ended.status, ended.result) {
            (JobStatus::Success, Some(ContainerResult::Output(output))) => Ok(output),
            (_, Some(ContainerResult::Error(error))) => Err(RunError::Failed { id, error }),
            (status, _) => Err(RunError::NoOutput { id, status }),
        }
    }

    async fn one_result(&self, id: &JobId) -> Result<JobResult, NodeError> {
        let results = self.job_results(std::slice::from_ref(id), false).await?;
        let wanted = results.into_iter().find(|result| result.id == *id);
        wanted.ok_or_else(|| {
            let message = format!("the node has no job {id} of this caller's");
            NodeError::new(NodeErrorKind::NotFound, message)
        })
    }
}

/// Nothing if the time was up first.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

fn not_ended(id: &JobId, patience: Duration) -> NodeError {
    let message = format!("job {id} has not ended after {}: it goes on", shown(patience));
    NodeError::new(NodeErrorKind::Timeout, message)
}

/// Whether the node may answer a little later.
fn may_pass(error: &NodeError) -> bool {
    matches!(
        error.kind(),
        NodeErrorKind::Connection
            | NodeErrorKind::Timeout
            | NodeErrorKind::RateLimited
            | NodeErrorKind::Busy
            | NodeErrorKind::Internal
    )
}
