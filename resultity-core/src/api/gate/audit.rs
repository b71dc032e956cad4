//! The audit log: who with power did what, and why. Append-only.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::page::{DEFAULT_PAGE, MAX_PAGE, Order, Page};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::AuditId;

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLine {
    /// Names it.
    pub id: AuditId,
    /// Who: `account:<id>`, `operator` (the operator's token or the server's shell) or `network`.
    pub actor: String,
    /// What was done, such as `credits.grant`.
    pub action: String,
    /// To what, such as `namespace:<id>`.
    pub subject: String,
    /// Where, if it counts in one environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How it was afterwards. Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Why.
    pub reason: String,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
}

/// Which lines, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct AuditQuery {
    /// Only what this one did: `account:<id>`, `operator` or `network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only this, such as `credits.grant`; with a dot at the end all that begins so, such as `credits.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what was done to this, such as `namespace:<id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only what counts in this environment; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Only from this time on: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Only before this time: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<AuditId>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl AuditQuery {
    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// The audit log: for administrators.
#[async_trait]
pub trait AuditApi: Send + Sync {
    /// A page of it.
    async fn audit_log(&self, query: AuditQuery) -> Result<Page<AuditLine>, ApiError>;
}
