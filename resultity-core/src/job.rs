//! The life of a job: one table of states and legal transitions, for everyone.
//!
//! ```text
//! queued ──▶ leased ──▶ running ──▶ succeeded
//!   ▲  │       │  │        │  │
//!   └──┼───────┘  │        │  └────▶ failed | cancelled
//!      └──────────┴────────┴───────▶ failed | expired | cancelled
//! ```
//! A lease that ends without a result sends the job back to `queued` until its attempts are used up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands. A job that timed out is `failed`, with [`ErrorCode::DeadlineExceeded`](crate::error::ErrorCode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted and paid for; waits for a node.
    Queued,
    /// Promised to one node until a deadline.
    Leased,
    /// The node said that it works on it.
    Running,
    /// Answered, verified and settled.
    Succeeded,
    /// Ended without an answer; the hold is released.
    Failed,
    /// Its time to live ran out before a node took it; the hold is released.
    Expired,
    /// Stopped by the caller.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Leased,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job has ended: nothing follows, and its hold is settled or released.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Expired | Self::Cancelled)
    }

    /// Whether a node holds a lease on it.
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Leased | Self::Running)
    }

    /// The one table of legal transitions.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Leased | Self::Failed | Self::Expired | Self::Cancelled),
            // A fast node's result may arrive before its `accept` was written down.
            Self::Leased => {
                matches!(
                    next,
                    Self::Running | Self::Queued | Self::Succeeded | Self::Failed | Self::Cancelled
                )
            }
            Self::Running => matches!(next, Self::Queued | Self::Succeeded | Self::Failed | Self::Cancelled),
            Self::Succeeded | Self::Failed | Self::Expired | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no job state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of queued, leased, running, succeeded, failed, expired, cancelled")]
pub struct UnknownJobState;

impl FromStr for JobState {
    type Err = UnknownJobState;
    fn from_str(text: &str) -> Result<Self, UnknownJobState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownJobState)
    }
}

/// Which try at a job this is, from 1. It fences everything that comes later: a result of an earlier attempt is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Attempt(u32);

/// Attempts are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attempt is counted from 1")]
pub struct InvalidAttempt;

impl TryFrom<u32> for Attempt {
    type Error = InvalidAttempt;
    fn try_from(number: u32) -> Result<Self, InvalidAttempt> {
        Self::new(number).ok_or(InvalidAttempt)
    }
}

impl From<Attempt> for u32 {
    fn from(attempt: Attempt) -> Self {
        attempt.0
    }
}

impl Attempt {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// The attempt with this number, counted from 1.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number, from 1.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobKind {
    /// An OpenAI chat completion.
    ChatCompletion,
    /// An OpenAI (text) completion.
    Completion,
    /// An OpenAI embedding.
    Embedding,
    /// What a container computes.
    Container,
    /// How likely a model finds an answer of another node: see [`score`](crate::score). Nobody can ask for it from outside.
    Score,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::ChatCompletion,
        Self::Completion,
        Self::Embedding,
        Self::Container,
        Self::Score,
    ];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletion => "chat_completion",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Container => "container",
            Self::Score => "score",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind of job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of chat_completion, completion, embedding, container, score")]
pub struct UnknownJobKind;

impl FromStr for JobKind {
    type Err = UnknownJobKind;
    fn from_str(text: &str) -> Result<Self, UnknownJobKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownJobKind)
    }
}

/// What a caller asked: decides how the answer to a job looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    #[serde(rename = "/v1/chat/completions")]
    ChatCompletions,
    /// `POST /v1/completions`.
    #[serde(rename = "/v1/completions")]
    Completions,
    /// `POST /v1/embeddings`.
    #[serde(rename = "/v1/embeddings")]
    Embeddings,
    /// `POST /v1/responses`.
    #[serde(rename = "/v1/responses")]
    Responses,
    /// `POST /v1/compute`: ours; OpenAI's `/v1/containers` is something else.
    #[serde(rename = "/v1/compute")]
    Compute,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 5] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Compute,
    ];

    /// Its path, which is also its name in batches and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Compute => "/v1/compute",
        }
    }

    /// What a node is asked.
    pub const fn kind(self) -> JobKind {
        match self {
            Self::ChatCompletions | Self::Responses => JobKind::ChatCompletion,
            Self::Completions => JobKind::Completion,
            Self::Embeddings => JobKind::Embedding,
            Self::Compute => JobKind::Container,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no endpoint that makes jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, /v1/compute")]
pub struct UnknownEndpoint;

impl FromStr for Endpoint {
    type Err = UnknownEndpoint;
    fn from_str(text: &str) -> Result<Self, UnknownEndpoint> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.as_str() == text)
            .ok_or(UnknownEndpoint)
    }
}

/// How urgent a job is. Jobs of a lower class wait while one of a higher class does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Normal,
    /// Nobody does: batches.
    Bulk,
}

impl Priority {
    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of normal, bulk")]
pub struct UnknownPriority;

impl FromStr for Priority {
    type Err = UnknownPriority;
    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        [Self::Normal, Self::Bulk]
            .into_iter()
            .find(|priority| priority.as_str() == text)
            .ok_or(UnknownPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_state_reads_back_from_its_name() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("Queued".parse::<JobState>().is_err());
    }

    #[test]
    fn every_state_can_come_to_an_end_and_ends_are_final() {
        for state in JobState::ALL {
            let ways_on = JobState::ALL.into_iter().filter(|next| state.may_become(*next)).count();
            assert_eq!(ways_on == 0, state.is_final(), "{state}");
            assert!(state.is_final() || state.may_become(JobState::Failed), "{state}");
        }
    }

    proptest! {
        /// Whatever is tried in whatever order, a job that ended stays ended, and only a leased one succeeds.
        #[test]
        fn a_job_ends_once(tries in proptest::collection::vec(0usize..7, 0..64)) {
            let mut state = JobState::Queued;
            let mut ends = 0;
            for next in tries.into_iter().map(|index| JobState::ALL[index]) {
                if state.may_become(next) {
                    prop_assert!(next != JobState::Succeeded || state.is_leased());
                    state = next;
                    ends += usize::from(state.is_final());
                }
            }
            prop_assert!(ends <= 1);
        }
    }
}
