//! How a job ends without an answer, in words; and how long a money step is tried.

use std::time::Duration;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::{JobKind, JobState};
use resultity_core::wire::{Failed, FailureCode};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::store::StoreError;

/// How often a step that the database refused is tried again before the job fails whose asker waits.
const SETTLE_TRIES: u32 = 5;

/// The same of a step of a job that somebody comes back for: some minutes.
const KEPT_TRIES: u32 = 18;

/// A release is tried for as long as the server runs: a hold must not outlive its job.
pub(super) const RELEASE_TRIES: u32 = u32::MAX;

/// When to ask again while the database refuses.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);

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

/// How often a step of a job is tried again that the database refused.
pub(super) const fn tries(is_kept: bool) -> u32 {
    if is_kept { KEPT_TRIES } else { SETTLE_TRIES }
}

pub(crate) fn internal(error: StoreError) -> ApiError {
    tracing::error!(%error, "a job could not be carried on");
    // A full disk, or a lock of another process: that passes.
    if matches!(error, StoreError::Database(_)) {
        let message = "the server's database takes nothing at the moment; nothing was charged: please ask again";
        return ApiError::new(ErrorCode::NoCapacity, message).with_retry_after(DATABASE_PAUSE);
    }
    ApiError::new(
        ErrorCode::Internal,
        "the server could not carry out the request; nothing was charged",
    )
}

pub(super) fn subcloud_gone() -> ApiError {
    let message =
        "the Subcloud that the job was addressed to was deleted before a node could answer; nothing was charged";
    ApiError::new(ErrorCode::NotFound, message)
}

pub(super) fn deadline_exceeded() -> ApiError {
    ApiError::new(
        ErrorCode::DeadlineExceeded,
        "the answer took longer than allowed; nothing was charged",
    )
}

/// A node's word that the request cannot be answered: a code, and a field of the request. Nothing else of what it says goes on.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: FailureCode,
    param: Option<String>,
}

impl Refusal {
    /// The node may only name a field that is in the body it was sent.
    pub(super) fn new(code: FailureCode, param: Option<&str>, body: &RawValue) -> Self {
        let body: Map<String, Value> = serde_json::from_str(body.get()).unwrap_or_default();
        let is_known = |path: &&str| {
            let field = path.split(['.', '[']).next().unwrap_or_default();
            Failed::is_param(path) && body.contains_key(field)
        };
        Self {
            code,
            param: param.filter(is_known).map(str::to_owned),
        }
    }

    pub(super) fn into_error(self, kind: JobKind) -> ApiError {
        let error = match (self.code, &self.param) {
            (FailureCode::ContextLengthExceeded, _) => ApiError::new(
                ErrorCode::ContextLengthExceeded,
                match kind {
                    JobKind::Embedding => "a text does not fit into the model's context: shorten it",
                    JobKind::Container => "the data does not fit into what the container can take: shorten it",
                    _ => {
                        "the prompt and the answer do not fit into the model's context: shorten it, or lower max_tokens"
                    }
                },
            ),
            (_, Some(param)) => ApiError::new(
                ErrorCode::InvalidValue,
                format!("{param}: the model or its engine cannot do what this asks for"),
            ),
            (_, None) if kind == JobKind::Container => ApiError::new(
                ErrorCode::InvalidValue,
                "the container does not take this data, or its answer is too large to be sent",
            ),
            (_, None) => ApiError::new(
                ErrorCode::InvalidValue,
                "the model cannot answer this request: it asks for something that the model or its engine does not support",
            ),
        };
        let param = self.param.or_else(|| {
            let prompt = match kind {
                JobKind::Embedding => "input",
                JobKind::Completion => "prompt",
                JobKind::Container => "data",
                _ => "messages",
            };
            (self.code == FailureCode::ContextLengthExceeded).then(|| prompt.to_owned())
        });
        match param {
            Some(param) => error.with_param(param),
            None => error,
        }
    }
}

pub(crate) fn idempotency_clash() -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        "this Idempotency-Key was used for another request: use a new key for each request",
    )
}

/// The namespace keeps nothing, and this can't be done without.
pub(crate) fn keeps_nothing(what: &str) -> ApiError {
    ApiError::new(
        ErrorCode::PermissionDenied,
        format!("this namespace keeps nothing of requests and answers (its retention is none): {what}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some("messages[0].content"), Some("messages[0].content"))]
    #[case(Some("top_k"), Some("top_k"))]
    #[case(Some("gpu7"), None)]
    #[case(Some("top_k on gpu-7.internal"), None)]
    #[case(None, None)]
    fn a_node_names_fields_of_the_request_alone(#[case] said: Option<&str>, #[case] param: Option<&str>) {
        let body = serde_json::value::to_raw_value(&serde_json::json!({"messages": [], "top_k": 1})).unwrap();
        let error = Refusal::new(FailureCode::InvalidRequest, said, &body).into_error(JobKind::ChatCompletion);
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidValue, param));
        assert!(!error.message.contains("gpu"));
        let error = Refusal::new(FailureCode::ContextLengthExceeded, None, &body).into_error(JobKind::Embedding);
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::ContextLengthExceeded, Some("input"))
        );
    }
}
