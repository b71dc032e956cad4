//! API keys of the Cloud API, as the owner of their namespace manages them.

use std::fmt;
use std::num::NonZeroU32;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use super::change::{self, Change};
use crate::api::page::{Order, Page, PageQuery};
use crate::api::usage::{UsageQuery, UsageReport};
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{KeyId, NamespaceId};

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyStatus {
    /// It works.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked, for good.
    Revoked,
}

impl KeyStatus {
    /// The name, as on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    /// Names it; usage and logs do, too.
    pub id: KeyId,
    /// Always `api_key`.
    pub object: String,
    /// Whose credits it spends.
    pub namespace: NamespaceId,
    /// Where it counts.
    pub environment: Environment,
    /// What its owner calls it; may be empty.
    pub label: String,
    /// By what its owner recognises it: the prefix and the last four characters of its secret, such as `rk_test_…9f3a`.
    pub hint: String,
    /// Whether it works.
    pub status: KeyStatus,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it ends: seconds since the Unix epoch; none: never.
    pub expires_at: Option<i64>,
    /// When it was revoked: seconds since the Unix epoch.
    pub revoked_at: Option<i64>,
    /// Until when the secret before the current one works, too: seconds since the Unix epoch.
    pub previous_secret_expires_at: Option<i64>,
    /// Requests a minute; none: as many as the network allows each key.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute; none: as many as the network allows each key.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The most that may be spent with it; none: all that its namespace has.
    #[serde(default, with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spend_limit: Option<Credits>,
    /// What was spent and is held since it has a limit; none: it has no limit.
    #[serde(default, with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spent: Option<Credits>,
    /// The models that it may ask, by their names or aliases; none: all.
    pub models: Option<Vec<String>>,
    /// The addresses and networks that it may be used from; none: all.
    pub ip_addresses: Option<Vec<String>>,
}

/// A key with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// What to send as `Authorization: Bearer …`: `rk_live_…` or `rk_test_…`.
    pub secret: String,
}

impl fmt::Debug for ApiKeyWithSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyWithSecret")
            .field("key", &self.key)
            .field("secret", &"[hidden]")
            .finish()
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct KeyQuery {
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `asc` (oldest first) or `desc` (newest first, the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// `testnet` or `mainnet`; the one that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Only those of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// Only these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<KeyStatus>,
}

impl KeyQuery {
    /// Those of this namespace, which is in this environment.
    pub fn of(environment: Environment, namespace: NamespaceId) -> Self {
        Self {
            environment: Some(environment),
            namespace: Some(namespace),
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

/// `POST /gate/v1/keys`. What is left out is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateKey {
    /// Whose credits it is to spend; the account's namespace `default` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// Where it counts: that of the namespace, or the one that the session looks at if neither is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What to call it: at most 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it ends: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Requests a minute. More than the network allows each key counts as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute. More than the network allows each key counts as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The most that may be spent with it.
    #[serde(with = "credits::decimal_if_any", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spend_limit: Option<Credits>,
    /// The models that it may ask, by their names or aliases: at most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The addresses and networks that it may be used from, such as `203.0.113.7` or `2001:db8::/32`: at most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addresses: Option<Vec<String>>,
}

impl CreateKey {
    /// One without limits, in this namespace.
    pub fn of(namespace: NamespaceId) -> Self {
        Self {
            namespace: Some(namespace),
            ..Self::default()
        }
    }

    /// In this environment.
    #[must_use]
    pub const fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// What to call it.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// When it ends: seconds since the Unix epoch.
    #[must_use]
    pub const fn expires_at(mut self, seconds: i64) -> Self {
        self.expires_at = Some(seconds);
        self
    }

    /// At most so many requests a minute.
    #[must_use]
    pub const fn requests_per_minute(mut self, requests: NonZeroU32) -> Self {
        self.requests_per_minute = Some(requests);
        self
    }

    /// At most so many tokens a minute.
    #[must_use]
    pub const fn tokens_per_minute(mut self, tokens: NonZeroU32) -> Self {
        self.tokens_per_minute = Some(tokens);
        self
    }

    /// At most so many credits in all.
    #[must_use]
    pub const fn spend_limit(mut self, credits: Credits) -> Self {
        self.spend_limit = Some(credits);
        self
    }

    /// These models alone.
    #[must_use]
    pub fn models<S: Into<String>>(mut self, models: impl IntoIterator<Item = S>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// From these addresses and networks alone.
    #[must_use]
    pub fn ip_addresses<S: Into<String>>(mut self, addresses: impl IntoIterator<Item = S>) -> Self {
        self.ip_addresses = Some(addresses.into_iter().map(Into::into).collect());
        self
    }
}

/// `POST /gate/v1/keys/{id}`: what is named is changed, the rest stays. `null` takes a limit away.
///
/// ```
/// use resultity_core::api::gate::{Change, UpdateKey};
/// let mut update = UpdateKey::label("app");
/// update.spend_limit = Change::Clear;
/// assert_eq!(serde_json::to_string(&update)?, r#"{"label":"app","spend_limit":null}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateKey {
    /// What to call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it ends: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub expires_at: Change<i64>,
    /// Requests a minute.
    #[serde(skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub requests_per_minute: Change<NonZeroU32>,
    /// Tokens a minute.
    #[serde(skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub tokens_per_minute: Change<NonZeroU32>,
    /// The most that may be spent with it. What it spends counts from when it gets a limit; another limit changes nothing
    /// about what was spent.
    #[serde(with = "change::decimal", skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub spend_limit: Change<Credits>,
    /// The models that it may ask.
    #[serde(skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub models: Change<Vec<String>>,
    /// The addresses and networks that it may be used from.
    #[serde(skip_serializing_if = "Change::is_keep")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub ip_addresses: Change<Vec<String>>,
}

impl UpdateKey {
    /// Another label.
    pub fn label(label: impl Into<String>) -> Self {
        Self {
            label: Some(label.into()),
            ..Self::default()
        }
    }
}

/// `POST /gate/v1/keys/{id}/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RotateKey {
    /// How long the secret before works, too: 0 to 604800 seconds; a day if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

impl RotateKey {
    /// With this overlap.
    pub const fn overlap_seconds(seconds: u64) -> Self {
        Self {
            overlap_seconds: Some(seconds),
        }
    }
}

/// The API keys of the account's namespaces. Those of other accounts are not found; nor is one by its id, if an environment is
/// named that is not its own.
#[async_trait]
pub trait KeysApi: Send + Sync {
    /// Makes one; its secret is in this answer alone. Errors: `conflict`, if its namespace has as many as it may.
    async fn create_key(&self, request: CreateKey) -> Result<ApiKeyWithSecret, ApiError>;

    /// A page of those of an environment.
    async fn keys(&self, query: KeyQuery) -> Result<Page<ApiKey>, ApiError>;

    /// One of them.
    async fn key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError>;

    /// Changes one, at once. Errors: `conflict`, if it was revoked.
    async fn update_key(&self, id: KeyId, within: InEnvironment, request: UpdateKey) -> Result<ApiKey, ApiError>;

    /// Revokes one for good, at once: jobs that were accepted end as they would. A repeat changes nothing.
    async fn revoke_key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError>;

    /// Gives one a new secret, which is in this answer alone. The one before works until the overlap is over; one before
    /// that ends at once. Usage and limits go on. Errors: `conflict`, if it was revoked.
    async fn rotate_key(
        &self,
        id: KeyId,
        within: InEnvironment,
        request: RotateKey,
    ) -> Result<ApiKeyWithSecret, ApiError>;

    /// What was used with one.
    async fn key_usage(&self, id: KeyId, within: InEnvironment, query: UsageQuery) -> Result<UsageReport, ApiError>;
}
