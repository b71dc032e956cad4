//! Namespaces: each has credits and API keys of its own, in one environment.

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
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
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
}

impl UpdateNamespace {
    /// Another name.
    pub fn name(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
        }
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

    /// Changes one. Errors: `conflict`, if there is another one of this name.
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
