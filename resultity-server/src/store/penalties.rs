//! Penalties of nodes, and appeals against them.

use resultity_core::api::gate::AppealDecision;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId, PenaltyId};

use crate::store::AuditEntry;
use crate::store::fleet::OwnerNotice;

/// A penalty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PenaltyRecord {
    /// Names it.
    pub id: PenaltyId,
    /// Which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Who owned the node then.
    pub account: Option<AccountId>,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Since when.
    pub created: Timestamp,
    /// When it was lifted.
    pub lifted: Option<Timestamp>,
    /// What the owner says to it.
    pub appeal: Option<AppealRecord>,
}

impl PenaltyRecord {
    /// Whether it keeps the node from work.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.lifted.is_none() && self.until.is_none_or(|until| until > now)
    }
}

/// What the owner of a node says to a penalty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppealRecord {
    /// In the owner's words.
    pub text: String,
    /// When.
    pub created: Timestamp,
    /// What was decided, why and when.
    pub decision: Option<(AppealDecision, String, Timestamp)>,
}

/// A penalty to be given.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPenalty {
    /// Names it.
    pub id: PenaltyId,
    /// Which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// For the audit log.
    pub audit: AuditEntry,
    /// What the owner is told.
    pub notice: Option<OwnerNotice>,
}

/// What became of an appeal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appealed {
    /// It will be decided.
    Filed(Box<PenaltyRecord>),
    /// There is one already.
    Already,
    /// The penalty is over.
    Over,
    /// No such penalty of a node of this account.
    UnknownPenalty,
}

/// What becomes of an appeal.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Which penalty.
    pub penalty: PenaltyId,
    /// What.
    pub decision: AppealDecision,
    /// Why.
    pub reason: String,
    /// For the audit log; subject, environment and `before` are filled in.
    pub audit: AuditEntry,
    /// What the owner is told.
    pub notice: OwnerNotice,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It holds.
    Done(Box<PenaltyRecord>),
    /// Nobody appealed.
    NoAppeal,
    /// It was decided before.
    Already,
    /// No such penalty.
    UnknownPenalty,
}
