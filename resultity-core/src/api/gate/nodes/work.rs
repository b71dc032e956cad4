//! What a node did, and what it earned.

use serde::{Deserialize, Serialize};

use crate::api::page::Order;
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::id::{JobId, NamespaceId, NodeId, TransferId};
use crate::job::JobState;

/// One attempt of a job on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeJob {
    /// The job.
    pub id: JobId,
    /// Always `node.job`.
    pub object: String,
    /// Which try of the job it was, from 1. Some tries are other nodes'.
    pub attempt: u32,
    /// What was asked: the path of an endpoint.
    pub endpoint: String,
    /// The model.
    pub model: String,
    /// How it ended: `succeeded`, `cancelled` (the asker went away; what was made was paid) or `failed`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: JobState,
    /// Why the node gave no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The tokens of the request, if it was paid for.
    pub prompt_tokens: Option<u64>,
    /// The tokens of the answer, if it was paid for.
    pub completion_tokens: Option<u64>,
    /// From when the network took the job to the end of this attempt.
    pub duration_ms: u64,
    /// What the node got for it, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// When the network took the job: seconds since the Unix epoch.
    pub created_at: i64,
    /// When this attempt ended: seconds since the Unix epoch.
    pub finished_at: i64,
}

/// Which part of the history of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NodeJobsQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after this one: the `last_id` of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// Which time is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NodeWorkQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// From then on: seconds since the Unix epoch; 30 days before `to` if nothing is said, at most 92.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Until before then: seconds since the Unix epoch; now if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

/// What a node earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeEarnings {
    /// Which.
    pub node: NodeId,
    /// Always `node.earnings`.
    pub object: String,
    /// Where.
    pub environment: Environment,
    /// What can be paid out now, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// From then on: seconds since the Unix epoch.
    pub from: i64,
    /// Until before then: seconds since the Unix epoch.
    pub to: i64,
    /// What it earned in this time, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// The same by day (UTC), the first day first. Days without work are left out.
    pub days: Vec<DayOfNode>,
    /// The same by model.
    pub models: Vec<ModelOfNode>,
}

/// What a node earned in a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayOfNode {
    /// The day in UTC, such as `2026-11-22`.
    pub day: String,
    /// What it did.
    #[serde(flatten)]
    pub work: NodeWork,
}

/// What a node earned with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelOfNode {
    /// The model's name.
    pub model: String,
    /// What it did.
    #[serde(flatten)]
    pub work: NodeWork,
}

/// What a node did and got for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeWork {
    /// Jobs that were paid.
    pub jobs: u64,
    /// The tokens of their requests.
    pub prompt_tokens: u64,
    /// The tokens of their answers.
    pub completion_tokens: u64,
    /// What the node got for them, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
}

/// `POST /gate/v1/nodes/{id}/payout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PayOutNode {
    /// To which namespace of the account, in the node's environment.
    pub namespace: NamespaceId,
    /// How much, in credits; all that is there if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub amount: Option<Credits>,
    /// Makes a repeat harmless: a payout of this id is made once. Any text of 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl PayOutNode {
    /// All that is there.
    pub const fn all(namespace: NamespaceId) -> Self {
        Self {
            namespace,
            amount: None,
            idempotency_key: None,
        }
    }

    /// So much.
    pub const fn amount(namespace: NamespaceId, amount: Credits) -> Self {
        Self {
            namespace,
            amount: Some(amount),
            idempotency_key: None,
        }
    }

    /// Once, whatever happens to the answer.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// What was paid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodePaidOut {
    /// Names it.
    pub id: TransferId,
    /// Always `node.payout`.
    pub object: String,
    /// From which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// To which namespace.
    pub namespace: NamespaceId,
    /// How much, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
    /// What the node has left, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub remaining: Credits,
}
