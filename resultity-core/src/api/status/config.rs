//! What the network has its nodes do: versions, snapshots, epochs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::B256;

/// `GET /status/v1/versions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Versions {
    /// The oldest Agent that may connect.
    pub required_agent: String,
    /// The oldest Runtimes that get work: by name, the version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub required_runtimes: BTreeMap<String, String>,
    /// The Agent that came with this server.
    pub current_agent: String,
    /// The server's own version.
    pub server: String,
    /// How many connected nodes run which Agent.
    pub agents: Vec<VersionCount>,
    /// How many connected nodes run which Runtime.
    pub runtimes: Vec<VersionCount>,
}

/// How many nodes run something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionCount {
    /// What they run: a version, or a kind and a version such as `embedded 0.1.0`.
    pub version: String,
    /// How many.
    pub nodes: u64,
}

/// `GET /status/v1/config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigStatus {
    /// The digest of the snapshot in force, which is at `/io/v1/config`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: B256,
    /// Its version.
    pub version: u64,
    /// When it was published: seconds since the Unix epoch.
    pub issued_at: i64,
    /// The address of the network's key.
    pub network_key: String,
    /// The address of its first key, which is part of what every signature is over.
    pub genesis: String,
    /// The last snapshots, newest first; at most 50.
    pub history: Vec<ConfigChange>,
}

/// That a snapshot was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigChange {
    /// Its version.
    pub version: u64,
    /// Its digest.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: B256,
    /// When it was published: seconds since the Unix epoch.
    pub issued_at: i64,
    /// The version that it went back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<u64>,
    /// How many models it has.
    pub models: u64,
    /// The oldest Agent that it lets in.
    pub min_agent_version: String,
}

/// `GET /status/v1/epochs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Epochs {
    /// The open one first, then those that are closed, newest first; at most 53.
    pub epochs: Vec<Epoch>,
}

/// A week of contributions: from Monday 00:00 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Epoch {
    /// Its number: weeks since Monday, 5 January 1970.
    pub number: u64,
    /// When it began: seconds since the Unix epoch.
    pub starts_at: i64,
    /// When it ends.
    pub ends_at: i64,
    /// Whether its points are fixed: some time after its end, once every job of it must have ended.
    pub closed: bool,
    /// The contribution points of all nodes.
    pub points: u64,
    /// How many nodes earned some.
    pub nodes: u64,
    /// What fixes a closed epoch: SHA-256 over a line `<node id> <points>` for each node, in the order of the ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub root: Option<B256>,
}
