//! What was spent, and what may be spent.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::cloud::Reply;
use crate::credits::{self, Credits};
use crate::error::ApiError;
use crate::id::KeyId;

/// What `GET /v1/usage` should count. Days are those of UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct UsageQuery {
    /// The first day, such as `2026-11-22`; 30 days ago if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The last day; today if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// What the rows are told apart by, separated by commas: `day`, `model`, `endpoint`, `key`. `day,model` if nothing is
    /// said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Only this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether to count all keys of the namespace rather than the caller's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<UsageScope>,
}

/// Whose usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum UsageScope {
    /// The calling key's.
    Key,
    /// That of its whole namespace.
    Namespace,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageReport {
    /// Always `usage`.
    pub object: String,
    /// The first day.
    pub start: String,
    /// The last day.
    pub end: String,
    /// By what the rows are told apart.
    pub data: Vec<UsageRow>,
    /// The sum of all rows.
    pub total: UsageCounts,
}

/// One row; what the report is not told apart by is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageRow {
    /// The day on which the jobs ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The model's name in the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// What people call the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_label: Option<String>,
    /// How much.
    #[serde(flatten)]
    pub counts: UsageCounts,
}

/// How much was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageCounts {
    /// Jobs that ended.
    pub requests: u64,
    /// Those of them that failed or were not taken in time; cancelled ones are none.
    pub failed: u64,
    /// Tokens of the prompts that were paid for.
    pub prompt_tokens: u64,
    /// Tokens made that were paid for.
    pub completion_tokens: u64,
    /// How long the jobs took in all, from acceptance to end: milliseconds.
    pub duration_ms: u64,
    /// What was paid.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub cost: Credits,
}

impl UsageCounts {
    /// Adds the counts of another row.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.cost = self.cost.checked_add(other.cost).unwrap_or(self.cost);
    }
}

/// What a key may spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditBalance {
    /// Always `credits`.
    pub object: String,
    /// What the namespace may spend.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// What is held for jobs that have not ended.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// The most that this key may spend in all; none: no limit of its own.
    #[serde(default, with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spend_limit: Option<Credits>,
    /// What this key has spent or has held, where it has a limit.
    #[serde(default, with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spent: Option<Credits>,
}

/// Usage and credits.
#[async_trait]
pub trait UsageApi: Send + Sync {
    /// What was used.
    async fn usage(&self, query: UsageQuery) -> Result<Reply<UsageReport>, ApiError>;

    /// What may be spent.
    async fn credits(&self) -> Result<Reply<CreditBalance>, ApiError>;
}
