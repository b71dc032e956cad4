//! What the scheduler is told, and what it answers.

use std::collections::HashSet;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::Priority;

use super::wanted::Wanted;
#[cfg(doc)]
use super::work;

/// A job that wants a node.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Who pays.
    pub namespace: NamespaceId,
    /// The share of its namespace against that of others: from 1.
    pub weight: u32,
    /// The model's name in the snapshot.
    pub model: String,
    /// How urgent it is.
    pub priority: Priority,
    /// How much it may be, see [`work`].
    pub work: u64,
    /// Since when it is asked for.
    pub since: Timestamp,
    /// Which nodes may take it.
    pub wanted: Wanted,
    /// Whether it waits also while no node serves its model.
    pub is_patient: bool,
    /// Nodes that tried it already.
    pub excluded: HashSet<NodeId>,
}

/// What comes of a node that is in rotation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readied {
    /// The jobs that it was given.
    pub assigned: Vec<Assignment>,
    /// Jobs that no node could take any more, since this one takes less than before.
    pub stranded: Vec<JobId>,
}

/// What the scheduler says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The node's slot is taken for it.
    Assigned(NodeId),
    /// All that could take it are busy: it waits.
    Waits,
    /// No node that is online could ever take it.
    NoNode,
    /// As many different wishes wait as may.
    TooPicky,
}

/// A waiting job got a node; the node's slot is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// Its node.
    pub node: NodeId,
}

/// How an attempt went, for the node's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A verified result.
    Success,
    /// The node's fault.
    Failure,
    /// It sent the job back as busy, though it had said that it is free: now and then that is nobody's fault.
    Busy,
    /// Nobody's fault: cancelled.
    Neutral,
}

/// How an attempt ended: for the score of its node, and for what its namespace is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How it went.
    pub outcome: Outcome,
    /// The work that was done for the namespace, see [`work`]. None: as much as it might have been.
    pub work: Option<u64>,
    /// How long it took, if that says something about the node.
    pub took: Option<Duration>,
}

impl Ended {
    /// With a verified result of so much work.
    pub const fn done(work: u64, took: Duration) -> Self {
        Self {
            outcome: Outcome::Success,
            work: Some(work),
            took: Some(took),
        }
    }

    /// Without one, through the node's fault: it costs the namespace nothing.
    pub const fn failed() -> Self {
        Self {
            outcome: Outcome::Failure,
            work: Some(0),
            took: None,
        }
    }

    /// Before it began: it costs the namespace nothing.
    pub const fn unused() -> Self {
        Self {
            outcome: Outcome::Neutral,
            work: Some(0),
            took: None,
        }
    }

    /// By whoever asked.
    pub const fn cut() -> Self {
        Self {
            outcome: Outcome::Neutral,
            work: None,
            took: None,
        }
    }

    /// Without a result.
    pub const fn without_result(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure => Self::failed(),
            outcome => Self {
                outcome,
                ..Self::unused()
            },
        }
    }
}
