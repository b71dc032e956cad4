//! The configuration snapshot: what the network tells its nodes, in a form that can be signed.

mod diff;
mod offer;
mod signed;
mod validate;

pub use diff::{Change, diff};
pub use offer::Offer;
pub use signed::{SignedSnapshot, SnapshotRefused, accept};
pub use validate::InvalidSnapshot;

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::model::ModelSpec;
use crate::version::is_at_least;
use crate::wire::EngineInfo;

/// All that nodes need to know, for one environment. Without floats, so that its canonical form (RFC 8785) is exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The network it is for.
    pub environment: Environment,
    /// Rises by one with every publication.
    pub version: u64,
    /// When it was published: milliseconds since the Unix epoch.
    pub issued_at: Timestamp,
    /// The version that this one deliberately goes back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<u64>,
    /// What the network serves.
    pub models: Vec<ModelSpec>,
    /// Limits and timeouts of jobs.
    pub jobs: JobParameters,
    /// How often nodes report: milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The oldest Agent that may connect.
    pub min_agent_version: String,
    /// The oldest Runtimes that get work: by name, such as `llama-server`, the version. Others may be of any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub min_runtime_versions: BTreeMap<String, String>,
    /// Models that are served for the last time: by name, until when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retiring: BTreeMap<String, Timestamp>,
    /// The key that signs all versions after this one, announced by the one that signs this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_network_key: Option<Address>,
}

impl Snapshot {
    /// The model that a request for this name or alias means.
    pub fn model(&self, name_or_alias: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|model| model.answers_to(name_or_alias))
    }

    /// The version that this engine has to have and does not; nothing if it may work. One that does not say its version is
    /// too old where there is a least one.
    pub fn too_old(&self, engine: &EngineInfo) -> Option<&str> {
        let least = self.min_runtime_versions.get(&engine.name)?;
        (!is_at_least(&engine.version, least)).then_some(least)
    }

    /// Checks that it makes sense and does no harm: every name means one model, no price is negative, file names stay
    /// in their directory, and so on. Call it before publishing; [`SignedSnapshot::open`] does it for whoever reads.
    pub fn validate(&self) -> Result<(), InvalidSnapshot> {
        validate::validate(self)
    }
}

/// Limits and timeouts of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobParameters {
    /// How long a job may take in all: milliseconds.
    pub deadline_ms: u64,
    /// How long a job may wait for a node: milliseconds.
    pub queue_ttl_ms: u64,
    /// How long a lease lasts without a heartbeat that renews it: milliseconds.
    pub lease_ms: u64,
    /// How long a node has to accept a job: milliseconds.
    pub accept_timeout_ms: u64,
    /// How many nodes may try a job.
    pub max_attempts: u32,
    /// The node's share of what a job costs: basis points of 10 000.
    pub node_share: u16,
}

impl Default for JobParameters {
    fn default() -> Self {
        Self {
            deadline_ms: 600_000,
            queue_ttl_ms: 60_000,
            lease_ms: 60_000,
            accept_timeout_ms: 5_000,
            max_attempts: 3,
            node_share: 8_000,
        }
    }
}
