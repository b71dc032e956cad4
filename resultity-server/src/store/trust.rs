//! What checks of nodes found, and what the network thinks of them.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AuditId, JobId, NamespaceId, NodeId, NotificationId, PenaltyId};

use crate::store::StoreError;
use crate::store::penalties::PenaltyRecord;
use crate::trust::{Evidence, MilliNats, Reputation, Rules};

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckKind {
    /// A real job, drawn at random.
    Sampled,
    /// A job of the network's own.
    Blind,
    /// A job of the network's own that several nodes were asked, none of them trusted: it excludes nobody.
    Agreement,
    /// A result that broke a rule.
    Violation,
}

impl CheckKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sampled, Self::Blind, Self::Agreement, Self::Violation];

    /// The name, as in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Blind => "blind",
            Self::Agreement => "agreement",
            Self::Violation => "violation",
        }
    }
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCheck {
    /// Whose job.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// The model's name in the snapshot.
    pub model: String,
    /// The job.
    pub job: JobId,
    /// What was checked.
    pub kind: CheckKind,
    /// What was found.
    pub evidence: Evidence,
    /// When the job ended.
    pub ended: Timestamp,
    /// The parameters of the test.
    pub rules: Rules,
    /// Names the penalty, if it comes to one.
    pub penalty: PenaltyId,
    /// Names its line in the audit log.
    pub audit: AuditId,
    /// Names what the owner is told.
    pub notice: NotificationId,
    /// When.
    pub now: Timestamp,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It counts: what the network thinks of the node now, and the penalty that it came to.
    Done(Reputation, Option<Box<PenaltyRecord>>),
    /// This job was checked before, or is from before the node's last exclusion: nothing changed.
    Nothing(Reputation),
    /// No such node.
    UnknownNode,
}

/// Credits for jobs of the network's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundChecks {
    /// Which asks them. It has to be the network's.
    pub namespace: NamespaceId,
    /// Where.
    pub environment: Environment,
    /// Nothing is done while it has this much.
    pub at_least: Credits,
    /// What it is filled up to.
    pub up_to: Credits,
    /// When.
    pub now: Timestamp,
}

/// A check as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRecord {
    /// Its place among all checks.
    pub seq: i64,
    /// The model.
    pub model: String,
    /// The job.
    pub job: JobId,
    /// What was checked: see [`CheckKind::as_str`].
    pub kind: String,
    /// Above 0 it speaks against the node.
    pub weight: MilliNats,
    /// Aspect by aspect.
    pub evidence: Evidence,
    /// When.
    pub created: Timestamp,
    /// The penalty that it came to.
    pub penalty: Option<PenaltyId>,
}

/// Checks and reputations.
#[async_trait]
pub trait TrustStore {
    /// Writes a check down, with what the network thinks of the node after it and, where it comes to that, its penalty: with
    /// its line in the audit log and what the owner is told. All or nothing, and once for a job and kind.
    async fn record_check(&self, check: NewCheck) -> Result<Checked, StoreError>;

    /// What the network thinks of each node, by model.
    async fn reputations(&self, environment: Environment) -> Result<Vec<(NodeId, String, Reputation)>, StoreError>;

    /// What it thinks of one node, by model.
    async fn reputations_of(
        &self,
        node: NodeId,
        environment: Environment,
    ) -> Result<Vec<(String, Reputation)>, StoreError>;

    /// Fills up what jobs of the network's own are paid from: out of the network's fees, and in testnet out of issuance where
    /// those are not enough. What the namespace has then.
    async fn fund_checks(&self, fund: FundChecks) -> Result<Credits, StoreError>;

    /// The checks of a node before this place, or the last ones: the last first.
    async fn node_checks(
        &self,
        node: NodeId,
        environment: Environment,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<CheckRecord>, StoreError>;
}
