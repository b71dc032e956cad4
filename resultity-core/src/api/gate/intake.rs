//! Whether new jobs are taken: an administrator may stop that, for one environment at a time.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use crate::environment::Environment;
use crate::error::ApiError;

/// Whether an environment takes new jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Intake {
    /// Which environment.
    pub environment: Environment,
    /// Whether new jobs are refused. Jobs under way go on to their end.
    pub stopped: bool,
    /// Why, for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What askers are told beside that they should come back later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who stopped it, as in the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Since when: seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<i64>,
}

/// `POST /gate/v1/admin/intake`: stops or reopens the intake of an environment. It counts at once, and over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SetIntake {
    /// Which environment; the one that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Whether new jobs are to be refused.
    pub stopped: bool,
    /// Why: 1 to 500 characters, for administrators and the audit log.
    pub reason: String,
    /// What askers are told beside that they should come back later: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl SetIntake {
    /// No new jobs.
    pub fn stop(environment: Environment, reason: impl Into<String>) -> Self {
        Self {
            environment: Some(environment),
            stopped: true,
            reason: reason.into(),
            message: None,
        }
    }

    /// New jobs again.
    pub fn reopen(environment: Environment, reason: impl Into<String>) -> Self {
        Self {
            stopped: false,
            ..Self::stop(environment, reason)
        }
    }

    /// Tells askers this, too.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// Whether new jobs are taken: for administrators.
#[async_trait]
pub trait IntakeApi: Send + Sync {
    /// How it is.
    async fn intake(&self, query: InEnvironment) -> Result<Intake, ApiError>;

    /// Stops or reopens it.
    async fn set_intake(&self, request: SetIntake) -> Result<Intake, ApiError>;
}
