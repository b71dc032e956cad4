//! Nodes of an account: binding, what they say of themselves, what their owner asks of them.

use std::fmt;

use alloy_primitives::B256;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::checks::NodeReputation;
use super::logs::{NodeLog, NodeLogsQuery};
use super::work::{NodeEarnings, NodeJob, NodeJobsQuery, NodePaidOut, NodeWorkQuery, PayOutNode};
use super::{AppealPenalty, NodeAction, NodeFlag, Penalty};
use crate::api::gate::InEnvironment;
use crate::api::page::{Order, Page};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{NodeId, PenaltyId};
use crate::model::ModelState;
use crate::wire::{Readiness, Reason};

/// What the receipts of a week call a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodePseudonym {
    /// The number of the week; see `GET /status/v1/epochs`.
    pub epoch: u64,
    /// When it began: seconds since the Unix epoch.
    pub begins_at: i64,
    /// As it is in `node` of a receipt.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub pseudonym: B256,
}

/// `POST /gate/v1/nodes/codes`: a code for a node to join with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateJoinCode {
    /// Where the node is to work; where the session looks if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What the node is to be called: at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl CreateJoinCode {
    /// For a node of this environment.
    pub fn new(environment: Environment) -> Self {
        Self {
            environment: Some(environment),
            ..Self::default()
        }
    }

    /// What the node is to be called.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// A code that binds one node to the account: `resultity-node join CODE`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinCode {
    /// Always `node.join_code`.
    pub object: String,
    /// The code, shown this once: eight letters and digits with a line in the middle.
    pub code: String,
    /// Where the node will work.
    pub environment: Environment,
    /// What it will be called.
    pub name: Option<String>,
    /// Until when it counts: seconds since the Unix epoch.
    pub expires_at: i64,
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinCode")
            .field("environment", &self.environment)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `POST /gate/v1/nodes/bind/challenge`: a message that a wallet of the account signs to bind a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AskBinding {
    /// Which node: one that has been connected to the network.
    pub node: NodeId,
    /// Where; where the session looks if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What it is to be called: at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl AskBinding {
    /// This node, in this environment.
    pub const fn new(node: NodeId, environment: Environment) -> Self {
        Self {
            node,
            environment: Some(environment),
            name: None,
        }
    }
}

/// What a wallet of the account is to sign (EIP-191, `personal_sign`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BindChallenge {
    /// To be signed as it is.
    pub message: String,
    /// Until when it counts: seconds since the Unix epoch.
    pub expires_at: i64,
}

/// `POST /gate/v1/nodes/bind`: what a wallet of the account has signed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BindNode {
    /// The message of the challenge.
    pub message: String,
    /// The signature: `0x` and 130 hexadecimal digits.
    pub signature: String,
}

impl BindNode {
    /// With this message and its signature.
    pub fn new(message: impl Into<String>, signature: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            signature: signature.into(),
        }
    }
}

impl fmt::Debug for BindNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindNode([hidden])")
    }
}

/// A node, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// Names it: the address of its key.
    pub id: NodeId,
    /// Always `node`.
    pub object: String,
    /// Where.
    pub environment: Environment,
    /// What its owner calls it.
    pub name: String,
    /// In a word: `active`, `idle` (bound to nobody), `paused`, `frozen` or `excluded`.
    pub state: String,
    /// Whether its link is up.
    pub connected: bool,
    /// Whether it gets jobs.
    pub in_rotation: bool,
    /// Whether its owner has it paused.
    pub paused: bool,
    /// What administrators put on it.
    pub flags: Vec<NodeFlagged>,
    /// How honest the network thinks it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reputation: Option<NodeReputation>,
    /// How busy it is; missing while it is not connected.
    pub load: Option<NodeLoad>,
    /// Its models.
    pub models: Vec<ModelOnNode>,
    /// What it runs on.
    pub hardware: Option<NodeHardware>,
    /// Its Agent's version.
    pub agent_version: Option<String>,
    /// What makes its answers.
    pub runtime: Option<NodeRuntime>,
    /// Where it says it is.
    pub region: Option<String>,
    /// The configuration that it works by: SHA-256 with `0x`.
    pub config_digest: Option<String>,
    /// Whether that is the one in force.
    pub config_current: Option<bool>,
    /// When it was heard of last: seconds since the Unix epoch.
    pub last_seen_at: Option<i64>,
    /// What receipts call it, the newest week first: since it was bound, and for a quarter of a year. Only of a node that is
    /// asked for by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pseudonyms: Vec<NodePseudonym>,
    /// When it was bound: seconds since the Unix epoch.
    pub bound_at: Option<i64>,
    /// When it came to the network first: seconds since the Unix epoch.
    pub created_at: i64,
}

/// What an administrator put on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeFlagged {
    /// What.
    pub flag: NodeFlag,
    /// Why.
    pub reason: String,
    /// Since when: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it ends by itself: seconds since the Unix epoch.
    pub until: Option<i64>,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeLoad {
    /// Jobs that it works on.
    pub running: u32,
    /// Jobs that it accepted and has not begun.
    pub queued: u32,
    /// Jobs that it takes at once.
    pub slots: u32,
}

/// A model on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelOnNode {
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Where the node says that it stands.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: ModelState,
    /// How far the network is with it; missing while the node is not connected.
    pub readiness: Option<Readiness>,
    /// What was wrong when it was last tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a node runs on, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeHardware {
    /// The processor's name.
    pub cpu: String,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory in use.
    pub memory_used: u64,
    /// Its GPUs.
    pub gpus: Vec<NodeGpu>,
}

/// A GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeGpu {
    /// Its name.
    pub name: String,
    /// Bytes of its memory.
    pub memory: u64,
}

/// What makes the answers on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeRuntime {
    /// In a word, such as `openai` or `embedded`.
    pub kind: String,
    /// The engine's version.
    pub version: String,
    /// Whether it can work.
    pub healthy: bool,
}

/// Which nodes, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NodesQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
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

/// `POST /gate/v1/nodes/{id}`: what is named is changed, the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateNode {
    /// What it is called: at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl UpdateNode {
    /// Another name.
    pub fn name(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
        }
    }
}

/// That a node is nobody's any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeUnbound {
    /// Which.
    pub id: NodeId,
    /// Where.
    pub environment: Environment,
    /// Always `node.unbound`.
    pub object: String,
    /// Always true.
    pub unbound: bool,
}

/// `POST /gate/v1/nodes/{id}/control`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ControlNode {
    /// What it is to do.
    pub action: NodeAction,
}

impl ControlNode {
    /// To do this.
    pub const fn new(action: NodeAction) -> Self {
        Self { action }
    }
}

/// Why a node gets no work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeWhy {
    /// Which.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Always `node.why`.
    pub object: String,
    /// Whether it gets jobs.
    pub in_rotation: bool,
    /// What is in the way, the most important first. None: it has work.
    pub reasons: Vec<Reason>,
}

/// Which part of the penalties of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct PenaltiesQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
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

/// Nodes of the caller's account. A node of somebody else, or of an environment that the caller does not see, is not
/// found. A node is one object for each environment that it is in.
#[async_trait]
pub trait NodesApi: Send + Sync {
    /// Makes a code that binds one node to the account; it is in this answer alone.
    async fn create_join_code(&self, request: CreateJoinCode) -> Result<JoinCode, ApiError>;

    /// Gives a message that binds this node to the account once a wallet of the account has signed it.
    async fn ask_binding(&self, request: AskBinding) -> Result<BindChallenge, ApiError>;

    /// Binds a node by what a wallet of the account signed. One that somebody else has is refused.
    async fn bind_node(&self, request: BindNode) -> Result<Node, ApiError>;

    /// A page of the account's nodes.
    async fn nodes(&self, query: NodesQuery) -> Result<Page<Node>, ApiError>;

    /// One of them.
    async fn node(&self, id: NodeId, place: InEnvironment) -> Result<Node, ApiError>;

    /// Changes one.
    async fn update_node(&self, id: NodeId, place: InEnvironment, request: UpdateNode) -> Result<Node, ApiError>;

    /// Gives one up, once its earnings are paid out. Somebody else may bind it then.
    async fn unbind_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeUnbound, ApiError>;

    /// Has a node do something.
    async fn control_node(&self, id: NodeId, place: InEnvironment, request: ControlNode) -> Result<Node, ApiError>;

    /// Why a node gets no work, and what helps.
    async fn why_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeWhy, ApiError>;

    /// A page of what a node did since the account has it. Nothing in it tells who asked or what.
    async fn node_jobs(&self, id: NodeId, query: NodeJobsQuery) -> Result<Page<NodeJob>, ApiError>;

    /// A page of what a node told of itself since the account has it.
    async fn node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError>;

    /// What a node earned since the account has it.
    async fn node_earnings(&self, id: NodeId, query: NodeWorkQuery) -> Result<NodeEarnings, ApiError>;

    /// Moves what a node has earned to a namespace of the account.
    async fn pay_out_node(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PayOutNode,
    ) -> Result<NodePaidOut, ApiError>;

    /// A page of the penalties of a node.
    async fn node_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError>;

    /// Says why a penalty is wrong, once. An administrator decides.
    async fn appeal_penalty(
        &self,
        id: NodeId,
        penalty: PenaltyId,
        place: InEnvironment,
        request: AppealPenalty,
    ) -> Result<Penalty, ApiError>;
}
