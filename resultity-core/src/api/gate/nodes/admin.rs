//! Nodes as administrators see them and decide about them.

use alloy_primitives::B256;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::checks::{NodeCheck, NodeChecksQuery};
use super::logs::{NodeLog, NodeLogsQuery};
use super::{AppealDecision, Node, NodeFlag, PenaltiesQuery, Penalty};
use crate::api::gate::InEnvironment;
use crate::api::page::{Order, Page};
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{AccountId, NodeId, PenaltyId};
use crate::wire::Reason;

/// A node, as administrators see it: all flags, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdminNode {
    /// The node. Its flags show a shadow too; `in_rotation` is what the scheduler does.
    #[serde(flatten)]
    pub node: Node,
    /// Who bound it.
    pub account: Option<AccountId>,
    /// What it has earned and was not paid out, in credits.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub earned: Credits,
    /// The penalties in force.
    pub penalties: Vec<Penalty>,
    /// Why it gets no work, as its owner is told.
    pub reasons: Vec<Reason>,
}

/// Which nodes, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct AdminNodesQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Only this account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Only those that nobody has bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unbound: Option<bool>,
    /// Only those with this flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<NodeFlag>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<NodeId>,
    /// Which end comes first: `desc` if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// `POST /gate/v1/admin/nodes/{id}/flags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FlagNode {
    /// What; one that is there is replaced.
    pub flag: NodeFlag,
    /// Why: 1 to 500 characters. The owner reads it, unless it is a shadow.
    pub reason: String,
    /// When it ends by itself: seconds since the Unix epoch. A shadow ends within 72 hours, which is what counts if nothing
    /// is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

impl FlagNode {
    /// This, for this reason.
    pub fn new(flag: NodeFlag, reason: impl Into<String>) -> Self {
        Self {
            flag,
            reason: reason.into(),
            until: None,
        }
    }

    /// Until then: seconds since the Unix epoch.
    #[must_use]
    pub const fn until(mut self, until: i64) -> Self {
        self.until = Some(until);
        self
    }
}

/// Where a flag is taken off, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct UnflagNode {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Why: 1 to 500 characters.
    pub reason: String,
}

impl UnflagNode {
    /// In this environment, for this reason.
    pub fn new(environment: Environment, reason: impl Into<String>) -> Self {
        Self {
            environment: Some(environment),
            reason: reason.into(),
        }
    }
}

/// `POST /gate/v1/admin/nodes/{id}/penalties`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PenaliseNode {
    /// Why: 1 to 500 characters. The owner reads it.
    pub reason: String,
    /// When it ends by itself: seconds since the Unix epoch; when it is lifted if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

impl PenaliseNode {
    /// For this reason, until it is lifted.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            until: None,
        }
    }

    /// Until then: seconds since the Unix epoch.
    #[must_use]
    pub const fn until(mut self, until: i64) -> Self {
        self.until = Some(until);
        self
    }
}

/// Which appeals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct AppealsQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Those that were decided too; those alone that were not if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<bool>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<PenaltyId>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// `POST /gate/v1/admin/appeals/{penalty}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DecideAppeal {
    /// What becomes of the penalty.
    pub decision: AppealDecision,
    /// Why: 1 to 500 characters. The owner reads it.
    pub reason: String,
}

impl DecideAppeal {
    /// This, for this reason.
    pub fn new(decision: AppealDecision, reason: impl Into<String>) -> Self {
        Self {
            decision,
            reason: reason.into(),
        }
    }
}

/// `POST /gate/v1/admin/pseudonyms`: whose pseudonym it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ResolvePseudonym {
    /// As it is in `node` of a receipt.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub pseudonym: B256,
    /// Where the receipt counts; where the session looks if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// When the job ended, as the receipt says: milliseconds since the Unix epoch. Without it the last quarter of a year is
    /// looked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<i64>,
    /// Why, for the audit log: 1 to 500 characters.
    pub reason: String,
}

impl ResolvePseudonym {
    /// Of a receipt in this environment.
    pub fn new(environment: Environment, pseudonym: B256, reason: impl Into<String>) -> Self {
        Self {
            pseudonym,
            environment: Some(environment),
            finished_at: None,
            reason: reason.into(),
        }
    }
}

/// Whose pseudonym it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PseudonymResolved {
    /// Always `node.pseudonym`.
    pub object: String,
    /// The pseudonym.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub pseudonym: B256,
    /// Where.
    pub environment: Environment,
    /// In which week.
    pub epoch: u64,
    /// The node.
    pub node: NodeId,
}

/// Nodes, for administrators.
#[async_trait]
pub trait AdminNodesApi: Send + Sync {
    /// A page of all nodes.
    async fn admin_nodes(&self, query: AdminNodesQuery) -> Result<Page<AdminNode>, ApiError>;

    /// One of them.
    async fn admin_node(&self, id: NodeId, place: InEnvironment) -> Result<AdminNode, ApiError>;

    /// Puts a flag on a node. It gets no new jobs from now on; its owner is told, but not of a shadow.
    async fn flag_node(&self, id: NodeId, place: InEnvironment, request: FlagNode) -> Result<AdminNode, ApiError>;

    /// Takes a flag off a node.
    async fn unflag_node(&self, id: NodeId, flag: NodeFlag, query: UnflagNode) -> Result<AdminNode, ApiError>;

    /// A page of what a node told of itself, whoever had it.
    async fn admin_node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError>;

    /// A page of the checks of a node: what was found, and nothing of what was asked.
    async fn node_checks(&self, id: NodeId, query: NodeChecksQuery) -> Result<Page<NodeCheck>, ApiError>;

    /// A page of all penalties of a node.
    async fn admin_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError>;

    /// Gives a node a penalty: it gets no new jobs from now on, and its owner is told.
    async fn penalise_node(&self, id: NodeId, place: InEnvironment, request: PenaliseNode)
    -> Result<Penalty, ApiError>;

    /// Says which node a receipt is of. It is written down who asked, and why.
    async fn resolve_pseudonym(&self, request: ResolvePseudonym) -> Result<PseudonymResolved, ApiError>;

    /// A page of the penalties that somebody appealed against.
    async fn appeals(&self, query: AppealsQuery) -> Result<Page<Penalty>, ApiError>;

    /// Decides an appeal, once. The owner is told.
    async fn decide_appeal(&self, penalty: PenaltyId, request: DecideAppeal) -> Result<Penalty, ApiError>;
}
