//! Namespaces: each has credits and API keys of its own, in one environment.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use crate::api::page::{Page, PageQuery};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::NamespaceId;

/// What has credits and API keys of its own, in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Namespace {
    /// Names it.
    pub id: NamespaceId,
    /// Always `namespace`.
    pub object: String,
    /// What its owner calls it: unique among the account's namespaces of this environment.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// How many of its API keys work.
    pub keys: u32,
    /// What is kept of its requests and answers.
    #[serde(default)]
    pub retention: Retention,
    /// For how many days, where that is `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// How many bytes of requests and answers are kept for it now, without its files.
    #[serde(default)]
    pub kept_bytes: u64,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// What is kept of the requests and answers of a namespace, beyond what is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Nothing, not even hashes: counts, times and prices alone. What needs more is refused (jobs in the background, files,
    /// batches, `background` of a response, `Idempotency-Key`), `store` of a response counts as false, and there are no
    /// receipts.
    None,
    /// Hashes and counts; texts only where a request asks for that, and for as long as it says.
    #[default]
    Metadata,
    /// Every request with its answer, for some days: `GET /v1/jobs/{id}` shows them.
    Full,
}

impl Retention {
    /// All of them, the strictest first.
    pub const ALL: [Self; 3] = [Self::None, Self::Metadata, Self::Full];

    /// For how many days `full` keeps requests and answers, unless something else is said.
    pub const USUAL_DAYS: u32 = 30;

    /// The most days.
    pub const MOST_DAYS: u32 = 365;

    /// `none`, `metadata` or `full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `none`, `metadata` or `full`")]
pub struct UnknownRetention;

impl FromStr for Retention {
    type Err = UnknownRetention;
    fn from_str(text: &str) -> Result<Self, UnknownRetention> {
        Self::ALL
            .into_iter()
            .find(|retention| retention.as_str() == text)
            .ok_or(UnknownRetention)
    }
}

/// Which namespaces to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NamespaceQuery {
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `asc` (oldest first) or `desc` (newest first, the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<crate::api::page::Order>,
    /// `testnet` or `mainnet`; the one that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

impl NamespaceQuery {
    /// Those of this environment.
    pub fn of(environment: Environment) -> Self {
        Self {
            environment: Some(environment),
            ..Self::default()
        }
    }

    /// Which page.
    pub fn page(&self) -> PageQuery {
        PageQuery {
            limit: self.limit,
            after: self.after.clone(),
            order: self.order,
        }
    }
}

/// `POST /gate/v1/namespaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateNamespace {
    /// What to call it: 1 to 64 letters, digits, dots, hyphens and underscores; the first one a letter or digit.
    pub name: String,
    /// Where it counts; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

impl CreateNamespace {
    /// One of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            environment: None,
        }
    }

    /// In this environment.
    #[must_use]
    pub const fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/namespaces/{id}`: what is named is changed, the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateNamespace {
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to keep of its requests and answers from now on. A stricter one deletes what is kept beyond it: at once, or where
    /// that is much, within minutes. `none` is refused while a job in the background or a batch is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// For how many days `full` keeps them: 1 to 365; 30 where nothing was ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl UpdateNamespace {
    /// Another name.
    pub fn name(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }

    /// Another retention.
    pub fn retention(retention: Retention) -> Self {
        Self {
            retention: Some(retention),
            ..Self::default()
        }
    }

    /// For so many days.
    #[must_use]
    pub const fn days(mut self, days: u32) -> Self {
        self.retention_days = Some(days);
        self
    }
}

/// That a namespace is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamespaceDeleted {
    /// Which.
    pub id: NamespaceId,
    /// Always `namespace.deleted`.
    pub object: String,
    /// Always true.
    pub deleted: bool,
    /// How many API keys were revoked with it.
    pub keys_revoked: u32,
}

/// The account's namespaces. Those of other accounts are not found; nor is one by its id, if an environment is named that is
/// not its own.
#[async_trait]
pub trait NamespacesApi: Send + Sync {
    /// Makes one. Errors: `conflict`, if there is one of this name, or as many as there may be.
    async fn create_namespace(&self, request: CreateNamespace) -> Result<Namespace, ApiError>;

    /// A page of those of an environment.
    async fn namespaces(&self, query: NamespaceQuery) -> Result<Page<Namespace>, ApiError>;

    /// One of them.
    async fn namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<Namespace, ApiError>;

    /// Changes one. Errors: `conflict`, if there is another one of this name, or nothing is to be kept while a job in the
    /// background or a batch is under way.
    async fn update_namespace(
        &self,
        id: NamespaceId,
        within: InEnvironment,
        request: UpdateNamespace,
    ) -> Result<Namespace, ApiError>;

    /// Deletes one that has no credits and no job under way, with its API keys, webhooks and files. Errors: `conflict`, if it
    /// has credits or a job.
    async fn delete_namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<NamespaceDeleted, ApiError>;
}
