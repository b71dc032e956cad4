//! Jobs: the native view of everything that was asked, and a way to ask without waiting.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::cloud::Reply;
use super::page::{Order, Page};
use crate::credits::{self, Credits};
use crate::error::ApiError;
use crate::id::JobId;
use crate::job::{Endpoint, JobKind, JobState, Priority};
use crate::openai::chat::Usage;
use crate::openai::error::ErrorDetail;
use crate::raw_json::RawJson;
use crate::receipt::SignedReceipt;

/// `POST /v1/jobs`: any request, to be polled for.
///
/// ```
/// use resultity_core::api::jobs::JobRequest;
/// use resultity_core::openai::chat::{ChatRequest, Message};
/// let job = JobRequest::chat(&ChatRequest::new("smollm2-135m", [Message::user("Hi")]))?;
/// assert_eq!(job.endpoint.as_str(), "/v1/chat/completions");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// What is asked.
    pub endpoint: Endpoint,
    /// The body, as that endpoint takes it: an object; `stream` does not count.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Map<String, serde_json::Value>))]
    pub body: RawJson,
}

impl JobRequest {
    /// A request to this endpoint.
    pub fn new(endpoint: Endpoint, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = RawJson::of(body)?;
        Ok(Self { endpoint, body })
    }

    /// A chat completion.
    pub fn chat(request: &crate::openai::chat::ChatRequest) -> Result<Self, serde_json::Error> {
        Self::new(Endpoint::ChatCompletions, request)
    }

    /// A completion.
    pub fn completion(request: &crate::openai::completion::CompletionRequest) -> Result<Self, serde_json::Error> {
        Self::new(Endpoint::Completions, request)
    }

    /// An embedding.
    pub fn embedding(request: &crate::openai::embedding::EmbeddingRequest) -> Result<Self, serde_json::Error> {
        Self::new(Endpoint::Embeddings, request)
    }

    /// What a container is to compute.
    pub fn compute(request: &crate::compute::ComputeRequest) -> Result<Self, serde_json::Error> {
        Self::new(Endpoint::Compute, request)
    }
}

/// A job, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Always `job`.
    pub object: String,
    /// What was asked.
    pub endpoint: Endpoint,
    /// What the node does.
    pub kind: JobKind,
    /// The name that was asked for.
    pub model: String,
    /// Where it stands.
    pub status: JobState,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it goes on without whoever asked.
    pub detached: bool,
    /// When it was accepted: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it has to be done: seconds since the Unix epoch.
    pub deadline_at: i64,
    /// When it ended: seconds since the Unix epoch.
    pub finished_at: Option<i64>,
    /// How many jobs are served before it, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_place: Option<u64>,
    /// How long it may still wait for a node, by what jobs of this model took lately: milliseconds. A guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_wait_ms: Option<u64>,
    /// Which nodes tried it, without their names.
    pub attempts: Vec<JobAttempt>,
    /// What was held for it.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// What it cost, once it has ended.
    #[serde(default, with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub cost: Option<Credits>,
    /// The token counts, once it has ended with an answer.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Why it has no answer.
    #[serde(default)]
    pub error: Option<ErrorDetail>,
    /// What was asked, as far as it is kept; only of a job that is asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub request: Option<RawJson>,
    /// The answer, as its endpoint gives it; only of a job that is asked for by its id, while it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub result: Option<RawJson>,
    /// Until when request and answer are kept: seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// One try at a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobAttempt {
    /// Which one, from 1.
    pub attempt: u32,
    /// Why it ended without a result; none for the one that has not ended, or that answered.
    pub reason: Option<String>,
    /// When it ended without a result: seconds since the Unix epoch.
    pub ended_at: Option<i64>,
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct JobQuery {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobState>,
    /// Only those of this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many entries: 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// Which end comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// `POST /v1/jobs/{id}/feedback`: what the asker thinks of an answer. One a job; a later one replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Good or bad.
    pub rating: Rating,
    /// What it is about, in a word such as `wrong`, `slow`, `unsafe`: at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// In words: at most 2000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether a person should look at it.
    #[serde(default)]
    pub review: bool,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// Thumbs up.
    Up,
    /// Thumbs down.
    Down,
}

impl Rating {
    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a request would cost and whether it could be served: the answer to `x-resultity-dry-run: true`. Nothing is run,
/// held or charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quote {
    /// Always `dry_run`.
    pub object: String,
    /// What was asked.
    pub endpoint: Endpoint,
    /// The name that was asked for.
    pub model: String,
    /// The entry of the snapshot that it means.
    pub model_version: String,
    /// The most that it can cost: what would be held.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub price_ceiling: Credits,
    /// What the caller may spend.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// The most tokens that the prompt can have.
    pub max_prompt_tokens: u64,
    /// The most tokens that can be made.
    pub max_completion_tokens: u64,
    /// Whether a node that is online could serve it.
    pub can_be_served: bool,
    /// How many jobs would be served before it.
    pub queue_place: u64,
    /// How long it would wait for a node: milliseconds. A guess.
    pub estimated_wait_ms: u64,
}

/// Jobs.
#[async_trait]
pub trait JobsApi: Send + Sync {
    /// Submits a request and gives the job at once; it goes on without the caller.
    async fn create_job(&self, request: JobRequest) -> Result<Reply<Job>, ApiError>;

    /// A job, with its answer if it is there.
    async fn job(&self, id: JobId) -> Result<Reply<Job>, ApiError>;

    /// The caller's jobs, newest first, without their answers.
    async fn jobs(&self, query: JobQuery) -> Result<Reply<Page<Job>>, ApiError>;

    /// Cancels a job that has not ended. Gives the job as it is then; a job that has ended stays as it is.
    async fn cancel_job(&self, id: JobId) -> Result<Reply<Job>, ApiError>;

    /// What the network signs for a job that was paid for.
    async fn receipt(&self, id: JobId) -> Result<Reply<SignedReceipt>, ApiError>;

    /// Says what the caller thinks of an answer.
    async fn feedback(&self, id: JobId, feedback: Feedback) -> Result<Reply<Feedback>, ApiError>;

    /// What a request would cost and whether it could be served, without running it.
    async fn quote(&self, request: JobRequest) -> Result<Reply<Quote>, ApiError>;
}
