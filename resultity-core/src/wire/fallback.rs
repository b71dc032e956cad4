//! What a node says over HTTP while it has no socket: the same frames with the same signatures.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{NodeId, SessionId};
use crate::signing::DeliveryData;
use crate::wire::{Ack, Challenge, Welcome};

/// The header that names the node of a signed request.
pub const NODE_HEADER: &str = "x-resultity-node";

/// The header with SHA-256 of a signed request's body, as `0x` and hexadecimal digits.
pub const BODY_HASH_HEADER: &str = "x-resultity-body-hash";

/// `POST /io/v1/nodes`. Without anything in it, it asks for a challenge; with a hello that answers one, it begins a session.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterNode {
    /// The session of the challenge that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub session_id: Option<SessionId>,
    /// The nonce of that challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub nonce: Option<B256>,
    /// The `hello` frame, as it would be sent over the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub hello: Option<Box<RawValue>>,
}

/// What a node gets for a [`RegisterNode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnockAnswer {
    /// To be answered within a minute.
    Challenge(Challenge),
    /// The session has begun. Of a node that no account has bound nothing is kept: it has none.
    Welcome(Welcome),
}

/// `POST /io/v1/heartbeat`: the node is alive, and goes on with what it names.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReportHeartbeat {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeId,
    /// The session that it began over HTTP.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_id: SessionId,
    /// The `heartbeat` frame, as it would be sent over the socket.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub heartbeat: Box<RawValue>,
}

/// `POST /io/v1/results`: ends of jobs that the node could not send over its socket. The request is signed in its headers.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeliverResults {
    /// `result` and `failed` frames, each after all `chunk` frames of its attempt, if it was a stream.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub frames: Vec<Box<RawValue>>,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveredResults {
    /// Those that were dealt with: the node may forget them. Others are to be sent again.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub acks: Vec<Ack>,
}

/// What the headers of `POST /io/v1/results` are signed over, by the node's key.
pub fn delivery_request(node: NodeId, environment: Environment, issued_at: Timestamp, body_hash: B256) -> DeliveryData {
    DeliveryData {
        nodeId: node.address(),
        environment: environment.as_str().to_owned(),
        issuedAt: u64::try_from(issued_at.as_millis()).unwrap_or_default(),
        bodyHash: body_hash,
    }
}
