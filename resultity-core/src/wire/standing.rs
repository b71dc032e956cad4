//! What a node and its owner ask of the network over HTTP: to be bound, and how it stands.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::NodeId;
use crate::signing::{BindConsentData, Signature, StatusRequestData};

/// The header with the time of a signed request: milliseconds since the Unix epoch.
pub const ISSUED_AT_HEADER: &str = "x-resultity-issued-at";

/// The header with the node's signature of a request.
pub const SIGNATURE_HEADER: &str = "x-resultity-signature";

/// How far ahead a [`JoinRequest`] may expire: milliseconds.
pub const MAX_JOIN_LIFETIME_MS: u64 = 600_000;

/// `POST /io/v1/join`: the node agrees to belong to the account that made the code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeId,
    /// The code that the account was shown.
    pub code: String,
    /// Where it is to be bound.
    pub environment: Environment,
    /// Makes every consent another one.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub nonce: B256,
    /// Until when it counts; at most [`MAX_JOIN_LIFETIME_MS`] ahead.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub expires_at: Timestamp,
    /// By the node's key, over [`BindConsentData`].
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub signature: Signature,
}

impl JoinRequest {
    /// What is signed of it.
    pub fn signed_data(&self) -> BindConsentData {
        BindConsentData {
            nodeId: self.node_id.address(),
            code: self.code.clone(),
            environment: self.environment.as_str().to_owned(),
            nonce: self.nonce,
            expiresAt: u64::try_from(self.expires_at.as_millis()).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("node_id", &self.node_id)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`JoinRequest`]: the node is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinAnswer {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeId,
    /// Where.
    pub environment: Environment,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What `GET /io/v1/nodes/{id}` is signed over, by the node's key.
pub fn status_request(node: NodeId, environment: Environment, issued_at: Timestamp) -> StatusRequestData {
    StatusRequestData {
        nodeId: node.address(),
        environment: environment.as_str().to_owned(),
        issuedAt: u64::try_from(issued_at.as_millis()).unwrap_or_default(),
    }
}

/// `GET /io/v1/ping`: what anybody may know of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ping {
    /// The server's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub server_time: Timestamp,
    /// Which network.
    pub environment: Environment,
    /// The address of the network's key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub network_key: Address,
    /// The address of its first key: part of every signature's domain.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub genesis: Address,
}

/// How a node stands with the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeStatus {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeId,
    /// Where.
    pub environment: Environment,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether an account has bound it.
    pub bound: bool,
    /// `active`, `idle` (bound to nobody), `paused`, `frozen` or `excluded`.
    pub state: String,
    /// Whether its link is up.
    pub connected: bool,
    /// Whether it gets jobs.
    pub in_rotation: bool,
    /// When it was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>))]
    pub last_heartbeat: Option<Timestamp>,
    /// Jobs that it works on.
    pub running: u32,
    /// Jobs that it takes at once.
    pub slots: u32,
    /// Its models.
    #[serde(default)]
    pub models: Vec<ModelStanding>,
    /// Why it gets no work, the most important first. Empty: it has work.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// How a node stands with one of its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelStanding {
    /// The model's name.
    pub id: String,
    /// How far it is.
    pub readiness: Readiness,
    /// What was wrong when it was last tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a node is with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// The network's configuration does not have it.
    NotListed,
    /// The node has it and cannot work with it now.
    Inactive,
    /// What makes the node's answers with it is older than the network lets work.
    RuntimeTooOld,
    /// It is to be tested, or being tested.
    Testing,
    /// It did not pass its test; it is tested again later.
    Failed,
    /// It passed.
    Ready,
}

/// One reason why a node gets no work, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// For programs.
    pub code: ReasonCode,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// Which model it is about; all of them if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Why a node gets no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasonCode {
    /// No account has bound it.
    Unbound,
    /// Frozen by an administrator.
    Frozen,
    /// Excluded by a penalty.
    Excluded,
    /// Paused by an administrator.
    PausedByNetwork,
    /// Paused by its owner.
    PausedByOwner,
    /// Its Agent is older than the network lets in.
    VersionTooOld,
    /// What makes its answers with a model is older than the network lets work.
    RuntimeTooOld,
    /// The network did not let it in.
    Refused,
    /// Its link is down.
    NotConnected,
    /// Its heartbeats are missing.
    HeartbeatsMissing,
    /// Its Runtime does not work.
    RuntimeUnhealthy,
    /// It works by an old configuration.
    OldConfiguration,
    /// It has no model of the network's.
    NoModels,
    /// It has a model that the network does not list.
    ModelNotListed,
    /// It cannot work with a model now.
    ModelInactive,
    /// A model is being tested.
    ModelTesting,
    /// A model did not pass its test.
    ModelFailed,
    /// It takes no jobs: it drains, or offers no slots.
    NoSlots,
    /// It is ready, and nobody asks.
    NoDemand,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}
