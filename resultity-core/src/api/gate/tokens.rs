//! Access tokens: for programs, scoped and expiring.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::api::page::{Page, PageQuery};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::TokenId;

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// Names it.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one environment that it sees; none: all.
    pub environment: Option<Environment>,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it ends: seconds since the Unix epoch.
    pub expires_at: i64,
    /// When it was used last, to the minute: seconds since the Unix epoch.
    pub last_used_at: Option<i64>,
}

/// An access token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenWithSecret {
    /// The token.
    #[serde(flatten)]
    pub token: AccessToken,
    /// What to send as `Authorization: Bearer …`: `rt_…`.
    pub secret: String,
}

impl fmt::Debug for TokenWithSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenWithSecret")
            .field("token", &self.token)
            .field("secret", &"[hidden]")
            .finish()
    }
}

/// `POST /gate/v1/tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateToken {
    /// What people call it: 1 to 100 characters.
    pub name: String,
    /// What it may do: at least one.
    pub scopes: Vec<Scope>,
    /// The one environment that it sees; all if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// When it ends: seconds since the Unix epoch, at most 366 days from now; 90 days from now if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl CreateToken {
    /// One of this name, for this.
    pub fn new(name: impl Into<String>, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            name: name.into(),
            scopes: scopes.into_iter().collect(),
            ..Self::default()
        }
    }

    /// That sees this environment alone.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// That ends then: seconds since the Unix epoch.
    #[must_use]
    pub fn expires_at(mut self, seconds: i64) -> Self {
        self.expires_at = Some(seconds);
        self
    }
}

/// Access tokens of the account.
#[async_trait]
pub trait TokensApi: Send + Sync {
    /// Makes one; its secret is in this answer alone. For sessions: no access token makes another.
    async fn create_token(&self, request: CreateToken) -> Result<TokenWithSecret, ApiError>;

    /// A page of those that count.
    async fn tokens(&self, query: PageQuery) -> Result<Page<AccessToken>, ApiError>;

    /// Ends one.
    async fn delete_token(&self, id: TokenId) -> Result<(), ApiError>;
}
