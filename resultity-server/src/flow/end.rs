//! How a job ends without an answer, in words; and how long a money step is tried.

use std::time::Duration;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::JobState;
use resultity_core::wire::FailureCode;

use crate::store::StoreError;

/// How often a settlement that the database refused is tried again before the job fails.
pub(super) const SETTLE_TRIES: u32 = 5;

/// A release is tried for as long as the server runs: a hold must not outlive its job.
pub(super) const RELEASE_TRIES: u32 = u32::MAX;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a job ends without an answer.
pub(super) struct End {
    pub(super) state: JobState,
    pub(super) error: ApiError,
}

impl End {
    pub(super) fn failed(error: ApiError) -> Self {
        Self {
            state: JobState::Failed,
            error,
        }
    }

    /// The job is not over: it stays in the queue of the store, for the next start.
    pub(super) fn left() -> Self {
        Self {
            state: JobState::Queued,
            error: no_capacity("the server is about to stop"),
        }
    }

    pub(super) fn cancelled() -> Self {
        let error = ApiError::new(ErrorCode::Cancelled, "the request was cancelled");
        Self {
            state: JobState::Cancelled,
            error,
        }
    }
}

/// A money step that the database refused (disk full, say) is tried again for a while.
pub(super) async fn again_if_refused<T, F>(most_tries: u32, step: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 1;
    loop {
        match step().await {
            Err(StoreError::Database(why)) if tries < most_tries => {
                tracing::warn!(%why, tries, "the database refused; trying again");
                tokio::time::sleep(Duration::from_millis(100 << tries.min(10)).min(LONGEST_PAUSE)).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

pub(crate) fn internal(error: StoreError) -> ApiError {
    tracing::error!(%error, "a job could not be carried on");
    ApiError::new(
        ErrorCode::Internal,
        "the server could not carry out the request; nothing was charged",
    )
}

pub(super) fn deadline_exceeded() -> ApiError {
    ApiError::new(
        ErrorCode::DeadlineExceeded,
        "the answer took longer than allowed; nothing was charged",
    )
}

pub(super) fn refusal(code: FailureCode) -> ApiError {
    match code {
        FailureCode::ContextLengthExceeded => ApiError::new(
            ErrorCode::ContextLengthExceeded,
            "the messages and the answer do not fit into the model's context: shorten them, or lower max_tokens",
        )
        .with_param("messages"),
        _ => ApiError::new(
            ErrorCode::InvalidValue,
            "the model cannot answer this request: it asks for something that the model or its engine does not support",
        ),
    }
}

pub(super) fn idempotency_clash() -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        "this Idempotency-Key was used for another request: use a new key for each request",
    )
}

/// The task that owns the job always says how it ended; should it have been lost, the next start releases the hold.
pub(crate) fn lost() -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        "the server lost track of the request: please ask again",
    )
}

/// Nothing can take the job now; a little later something may.
pub(super) fn no_capacity(why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NoCapacity,
        format!("no node can take the request now: {why}"),
    )
    .with_retry_after(Duration::from_secs(2))
}
