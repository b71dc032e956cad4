//! Dead letters: jobs in the background that failed through no fault of their request, until somebody decides about them or
//! their request is kept no longer.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::{DEFAULT_PAGE, MAX_PAGE, Order, Page};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{AccountId, JobId, KeyId, NamespaceId};

/// A job that failed through no fault of its request, and could be run again. What was asked is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetter {
    /// The job.
    pub job: JobId,
    /// Where it counts.
    pub environment: Environment,
    /// Who asked.
    pub account: AccountId,
    /// Who would have paid.
    pub namespace: NamespaceId,
    /// With which key it was asked.
    pub key: KeyId,
    /// What was asked, such as `/v1/responses`.
    pub endpoint: String,
    /// The model's name in the snapshot.
    pub model: String,
    /// How many nodes had it.
    pub attempts: u32,
    /// Why it failed.
    pub error_code: String,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When it was accepted: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it failed: seconds since the Unix epoch.
    pub failed_at: i64,
    /// Until when it is kept: seconds since the Unix epoch.
    pub expires_at: i64,
}

/// Which dead letters, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct DeadLetterQuery {
    /// `testnet` or `mainnet`; the one that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Only those of this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one of this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<JobId>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl DeadLetterQuery {
    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// What is done with a dead letter, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeadLetterAction {
    /// The environment that the job must be of; any if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Why: at most 500 characters, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl DeadLetterAction {
    /// For this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            reason: Some(reason.into()),
        }
    }
}

/// A dead letter that runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Requeued {
    /// The job that failed, and stays so.
    pub job: JobId,
    /// The one that runs in its place, under the same key and with a hold of its own.
    pub requeued_as: JobId,
}

/// A dead letter that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetterDropped {
    /// The job that failed, and stays so.
    pub job: JobId,
    /// Always true.
    pub dropped: bool,
}

/// Dead letters: for administrators.
#[async_trait]
pub trait DeadLettersApi: Send + Sync {
    /// A page of them.
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Page<DeadLetter>, ApiError>;

    /// Runs one again as a new job, at today's price. Its account is told.
    async fn requeue_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<Requeued, ApiError>;

    /// Drops one: what was asked is forgotten.
    async fn drop_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<DeadLetterDropped, ApiError>;
}
