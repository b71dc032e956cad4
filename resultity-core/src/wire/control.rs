//! What the network tells a node to do, and what it tells the node's owner.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{NodeId, SessionId};
use crate::signing::{ControlData, Signature};

/// An order, signed by the network: a node does nothing on a word that is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Who is meant.
    pub node_id: NodeId,
    /// In which session: it counts in no other.
    pub session_id: SessionId,
    /// What to do.
    pub action: ControlAction,
    /// Counts once.
    pub nonce: B256,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// Over [`ControlData`].
    pub signature: Signature,
}

impl Control {
    /// What is signed of it.
    pub fn signed_data(&self) -> ControlData {
        ControlData {
            nodeId: self.node_id.address(),
            sessionId: self.session_id.to_string(),
            action: self.action.as_str().to_owned(),
            nonce: self.nonce,
            expiresAt: u64::try_from(self.expires_at.as_millis()).unwrap_or_default(),
        }
    }
}

/// What a node can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlAction {
    /// Take no more jobs until it is resumed, over restarts too. Running ones go on.
    Pause,
    /// Take jobs again.
    Resume,
    /// Like a pause; the link is closed once nothing is under way, and comes back some time later.
    Drain,
    /// Finish what runs, start the Runtime anew, take jobs again.
    RestartRuntime,
    /// Finish what runs and end the program.
    Shutdown,
}

impl ControlAction {
    /// Its name on the wire: what is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
            Self::RestartRuntime => "restart_runtime",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Something that the node's operator should know. It changes nothing by itself, so it is not signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// For programs: `penalty`, or `state` where the node stands differently from now on.
    pub code: String,
    /// For people.
    pub message: String,
    /// Where the node stands now, such as `active`, `idle`, `paused` or `frozen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Until when, if it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
