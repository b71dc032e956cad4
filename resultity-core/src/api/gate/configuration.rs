//! The network's configuration: snapshots are published, compared, rolled back; the network's key is changed.
//!
//! Prices are those of the snapshot: integers in micro-credits.

use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::gate::InEnvironment;
use crate::api::page::{Page, PageQuery};
use crate::credits::Price;
use crate::environment::Environment;
use crate::error::ApiError;
use crate::model::ModelSpec;
use crate::snapshot::{Change, Offer};

/// A published snapshot, without what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotSummary {
    /// Where it counts.
    pub environment: Environment,
    /// Its number: one more than the one before.
    pub version: u64,
    /// SHA-256 of its canonical form.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: B256,
    /// When it was published: seconds since the Unix epoch.
    pub created_at: i64,
    /// The version that it goes back from, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<u64>,
    /// The key that signs all later versions, if this one announces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub next_network_key: Option<Address>,
    /// Who published it: `account:<id>`, `operator` or `network`. Administrators alone see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// Why. Administrators alone see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A published snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishedSnapshot {
    /// Which it is.
    #[serde(flatten)]
    pub summary: SnapshotSummary,
    /// What it says.
    pub offer: Offer,
}

/// What became of a change to the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Publication {
    /// The snapshot in force.
    pub snapshot: SnapshotSummary,
    /// What is different from the one before. Empty: what was asked for was in force already, and nothing was published.
    pub changes: Vec<Change>,
}

/// `POST /gate/v1/admin/snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PublishSnapshot {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The version that the offer was made from. If another one is in force by now, nothing is published (409).
    pub base_version: u64,
    /// All that the network is to offer.
    pub offer: Offer,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl PublishSnapshot {
    /// This offer, made from that version.
    pub fn new(base_version: u64, offer: Offer, reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            base_version,
            offer,
            reason: reason.into(),
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/admin/snapshots/diff`: exactly one of `offer` and `to` says what to compare with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DiffSnapshots {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The version to compare; the one in force if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// What could be published: checked as if it were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

impl DiffSnapshots {
    /// What publishing this offer would change.
    pub fn with_offer(offer: Offer) -> Self {
        Self {
            offer: Some(offer),
            ..Self::default()
        }
    }

    /// What differs between two versions.
    pub fn between(from: u64, to: u64) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            ..Self::default()
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotDiff {
    /// Where.
    pub environment: Environment,
    /// The version that was compared.
    pub from: u64,
    /// What is different.
    pub changes: Vec<Change>,
}

/// `POST /gate/v1/admin/snapshots/rollback`: a new version that says what an earlier one said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RollBackSnapshot {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The version to go back to.
    pub version: u64,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl RollBackSnapshot {
    /// Back to this version.
    pub fn new(version: u64, reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            version,
            reason: reason.into(),
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/admin/models`: a model that is served from now on, or takes the place of the one of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApproveModel {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The model.
    pub model: ModelSpec,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl ApproveModel {
    /// This model.
    pub fn new(model: ModelSpec, reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            model,
            reason: reason.into(),
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/admin/models/{name}/deprecate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeprecateModel {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Until when it is served still: seconds since the Unix epoch. It ends at once if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl DeprecateModel {
    /// At once.
    pub fn now(reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            until: None,
            reason: reason.into(),
        }
    }

    /// Served until then: seconds since the Unix epoch.
    pub fn at(until: i64, reason: impl Into<String>) -> Self {
        Self {
            until: Some(until),
            ..Self::now(reason)
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/admin/models/{name}/price`. What was admitted before is settled by the price before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceModel {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The price from now on, in micro-credits.
    pub price: Price,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl PriceModel {
    /// This price.
    pub fn new(price: Price, reason: impl Into<String>) -> Self {
        Self {
            environment: None,
            price,
            reason: reason.into(),
        }
    }

    /// In this environment.
    #[must_use]
    pub fn in_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// `POST /gate/v1/admin/network-key/rotate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RotateNetworkKey {
    /// The key in force, so that a repeat of this request changes nothing more (409).
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub current: Address,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl RotateNetworkKey {
    /// In place of this key.
    pub fn new(current: Address, reason: impl Into<String>) -> Self {
        Self {
            current,
            reason: reason.into(),
        }
    }
}

/// The network has a new key, in all environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkKeyRotated {
    /// The network's first key, by which it is known.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub genesis: Address,
    /// The key before.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub previous: Address,
    /// The key that signs from now on.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub network_key: Address,
    /// Which change it is: 1 for the first.
    pub sequence: u64,
}

/// Which snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct SnapshotQuery {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries behind the one with this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// `asc` (oldest first) or `desc` (newest first, the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<crate::api::page::Order>,
}

impl SnapshotQuery {
    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        let page = PageQuery {
            limit: self.limit,
            ..PageQuery::default()
        };
        page.size()
    }
}

/// The network's configuration. To see what is in force needs no more than to be signed in; all else is for
/// administrators.
#[async_trait]
pub trait ConfigurationApi: Send + Sync {
    /// The snapshot in force.
    async fn config(&self, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError>;

    /// All that were ever published, newest first unless the query says otherwise.
    async fn snapshots(&self, query: SnapshotQuery) -> Result<Page<SnapshotSummary>, ApiError>;

    /// One of them.
    async fn snapshot(&self, version: u64, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError>;

    /// Publishes an offer. Nodes take it up by themselves; jobs under way end by what they were admitted under.
    async fn publish_snapshot(&self, request: PublishSnapshot) -> Result<Publication, ApiError>;

    /// What differs between two versions, or would be different if an offer were published. Publishes nothing.
    async fn diff_snapshots(&self, request: DiffSnapshots) -> Result<SnapshotDiff, ApiError>;

    /// Publishes what an earlier version said.
    async fn roll_back_snapshot(&self, request: RollBackSnapshot) -> Result<Publication, ApiError>;

    /// Adds a model, or replaces the one of its name.
    async fn approve_model(&self, request: ApproveModel) -> Result<Publication, ApiError>;

    /// Ends a model, at once or at a time.
    async fn deprecate_model(&self, name: &str, request: DeprecateModel) -> Result<Publication, ApiError>;

    /// Changes a model's price.
    async fn price_model(&self, name: &str, request: PriceModel) -> Result<Publication, ApiError>;

    /// Gives the network a new key, named by the one in force.
    async fn rotate_network_key(&self, request: RotateNetworkKey) -> Result<NetworkKeyRotated, ApiError>;
}
