//! What an account used, earned and did.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::Page;
use crate::api::usage::UsageCounts;
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{KeyId, NamespaceId, NodeId};

use super::{CreditQuery, InEnvironment};

/// What `GET /gate/v1/usage` should count. Days are those of UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct AccountUsageQuery {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The first day, such as `2026-11-22`; 30 days ago if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The last day; today if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// What the rows are told apart by, separated by commas: `day`, `namespace`, `key`, `model`, `endpoint`. `day,model` if
    /// nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Only this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// Only this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Only this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountUsage {
    /// Always `usage`.
    pub object: String,
    /// Where.
    pub environment: Environment,
    /// The first day.
    pub start: String,
    /// The last day.
    pub end: String,
    /// The rows, told apart as was asked.
    pub data: Vec<AccountUsageRow>,
    /// The sum of all rows.
    pub total: UsageCounts,
}

/// One row; what the report is not told apart by is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountUsageRow {
    /// The day on which the jobs ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_name: Option<String>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_label: Option<String>,
    /// The model's name in the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How much.
    #[serde(flatten)]
    pub counts: UsageCounts,
}

/// Something that happened to an account or what it owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Activity {
    /// Names it in this list.
    pub id: String,
    /// What: a kind of the ledger such as `transfer`, a kind of notification such as `credits.low`, `key.created` or
    /// `key.revoked`.
    pub kind: String,
    /// To what: the id of a namespace, key or node.
    pub subject: String,
    /// The same for people.
    pub message: String,
    /// What the namespace gained, or lost if negative, where it is about credits.
    #[serde(default, with = "credits::decimal_if_any", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub amount: Option<Credits>,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
}

/// What an account has and earned in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rewards {
    /// Always `rewards`.
    pub object: String,
    /// Where.
    pub environment: Environment,
    /// What the nodes of the account have earned so far.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// What of it was paid out to namespaces.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub paid_out: Credits,
    /// What of it can be paid out.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub payable: Credits,
    /// What all namespaces may spend.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub credits: Credits,
    /// The contribution points (RCP) of the nodes, in all. They cannot be transferred or paid out.
    pub points: u64,
    /// Each node.
    pub nodes: Vec<NodeRewards>,
}

/// What one node earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeRewards {
    /// Which.
    pub node: NodeId,
    /// What it has earned so far.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// What of it can be paid out.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub payable: Credits,
    /// Its contribution points in all.
    pub points: u64,
}

/// What an account used, earned and did.
#[async_trait]
pub trait ReportsApi: Send + Sync {
    /// What all keys of the account used.
    async fn account_usage(&self, query: AccountUsageQuery) -> Result<AccountUsage, ApiError>;

    /// A page of what happened, newest first.
    async fn activity(&self, query: CreditQuery) -> Result<Page<Activity>, ApiError>;

    /// What the account has and its nodes earned.
    async fn rewards(&self, environment: InEnvironment) -> Result<Rewards, ApiError>;
}
