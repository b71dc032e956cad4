//! What keeps a node from work by somebody's decision, and what its owner may ask of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ErrorCode};

/// What an administrator puts on a node. Each keeps it from new jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeFlag {
    /// For a while, and nobody's fault.
    Pause,
    /// For what it did.
    Freeze,
    /// While something is looked into. Its owner does not see it; it ends within 72 hours.
    Shadow,
    /// The network asks it whether other nodes are honest. Keeps it from no work.
    Trusted,
}

impl NodeFlag {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pause, Self::Freeze, Self::Shadow, Self::Trusted];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Freeze => "freeze",
            Self::Shadow => "shadow",
            Self::Trusted => "trusted",
        }
    }

    /// Whether a node with it gets no jobs.
    pub const fn keeps_from_work(self) -> bool {
        !matches!(self, Self::Trusted)
    }

    /// Whether the node's owner is told of it.
    pub const fn is_shown(self) -> bool {
        !matches!(self, Self::Shadow)
    }
}

impl fmt::Display for NodeFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NodeFlag {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.into_iter().find(|flag| flag.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            ApiError::new(ErrorCode::InvalidValue, format!("expected a flag: {names}")).with_param("flag")
        })
    }
}

/// What the owner of a node may ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeAction {
    /// No new jobs until it is resumed, over restarts too.
    Pause,
    /// New jobs again.
    Resume,
    /// Finish what it works on, then leave the network.
    Drain,
    /// Start its Runtime anew.
    Restart,
}

impl NodeAction {
    /// The name, as on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for NodeAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
