//! Checks of a node's honesty, and what they come to.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::id::PenaltyId;

/// How honest the network thinks a node is. It never tells which jobs were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeReputation {
    /// From 500 (nothing is known) to 1000, by the model that it does worst with; half of that after an exclusion. It does not move with
    /// a single check.
    pub score: u16,
    /// How many of its answers were checked, over all models: roughly.
    pub checks: u64,
}

/// A check of an answer of a node. It says nothing of what was asked or answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeCheck {
    /// Its number among all checks: what to name in `after` for the next page.
    pub id: i64,
    /// Always `node.check`.
    pub object: String,
    /// What was checked: `sampled`, `blind`, `agreement` or `violation`.
    pub kind: String,
    /// The model that was asked.
    pub model: String,
    /// What it says in all, in thousandths of a nat: above 0 it speaks against the node.
    pub weight: i64,
    /// Aspect by aspect.
    pub findings: Vec<CheckFinding>,
    /// The penalty that it came to.
    pub penalty: Option<PenaltyId>,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// What one aspect of a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckFinding {
    /// What was looked at, such as `text`, `token_count` or `agreement`.
    pub aspect: String,
    /// In thousandths of a nat: above 0 it speaks against the node.
    pub weight: i64,
}

/// Which part of the checks of a node, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NodeChecksQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}
