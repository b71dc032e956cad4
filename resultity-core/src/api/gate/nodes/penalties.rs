//! Penalties: what keeps a node from work for what it did, and appeals against them.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::id::{NodeId, PenaltyId};

/// What keeps a node from new jobs for what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Penalty {
    /// Names it.
    pub id: PenaltyId,
    /// Always `penalty`.
    pub object: String,
    /// Which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Why.
    pub reason: String,
    /// Where it stands.
    pub state: PenaltyState,
    /// When it was given: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it ends by itself: seconds since the Unix epoch; none: when it is lifted.
    pub until: Option<i64>,
    /// What its owner says to it.
    pub appeal: Option<Appeal>,
}

/// Where a penalty stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PenaltyState {
    /// It keeps the node from work.
    InForce,
    /// Its time is over.
    Ended,
    /// An appeal against it was right.
    Lifted,
}

/// What the owner of a node says to a penalty, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Appeal {
    /// In the owner's words.
    pub text: String,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
    /// What was decided; none so far if it is missing.
    pub decision: Option<AppealDecision>,
    /// Why.
    pub reason: Option<String>,
    /// When: seconds since the Unix epoch.
    pub decided_at: Option<i64>,
}

/// What becomes of an appeal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AppealDecision {
    /// The penalty is lifted.
    Lift,
    /// It stays.
    Uphold,
}

/// `POST /nodes/{id}/penalties/{penalty}/appeal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AppealPenalty {
    /// Why it is wrong: 1 to 2000 characters.
    pub text: String,
}

impl AppealPenalty {
    /// In these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}
