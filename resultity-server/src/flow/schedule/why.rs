//! Why a job went to a node, or to none: what was decided lately, in memory, for administrators. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NodeId};

/// So many decisions are remembered, over all jobs.
pub const REMEMBERED: usize = 16_384;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was given to a node at once.
    Given,
    /// It waits: there are nodes, but none is free.
    Waits,
    /// It had waited, and was given to a node that became free.
    GivenLater,
    /// No node that is online could ever take it.
    NoNode,
}

impl Verdict {
    /// The name, as administrators see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Waits => "waits",
            Self::GivenLater => "given_later",
            Self::NoNode => "no_node",
        }
    }
}

/// How the nodes stood that serve a job's model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that serve the model.
    pub serving: u32,
    /// Those of them that are not what the job wants: of another Subcloud, of another region, without such a GPU.
    pub unfit: u32,
    /// Those that tried this job already.
    pub tried: u32,
    /// Those that are left out for a while after failures.
    pub left_out: u32,
    /// Those whose slots are all taken.
    pub busy: u32,
    /// Those with a free slot.
    pub free: u32,
}

/// One decision about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// What was decided.
    pub verdict: Verdict,
    /// Its node.
    pub node: Option<NodeId>,
    /// The node that the chosen one was compared with.
    pub over: Option<NodeId>,
    /// The scores of the two: higher is better.
    pub scores: (u64, u64),
    /// Whether the node was given it to show what it can do.
    pub is_trial: bool,
    /// How long it had waited.
    pub waited: Duration,
    /// How the nodes stood.
    pub counts: Counts,
}

/// The last decisions.
#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<Why>);

impl Decisions {
    pub(super) fn add(&mut self, why: Why) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(why);
    }

    /// Those about one job, the oldest first. Looks through all: for people who ask, not for every job.
    pub(super) fn of(&self, job: JobId) -> Vec<Why> {
        self.0.iter().filter(|why| why.job == job).copied().collect()
    }
}

/// Where a job is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It waits; so many are served before it, and so the nodes stand.
    Waiting(u64, Counts),
    /// A slot of this node is taken for it.
    Working(NodeId),
    /// The scheduler does not have it.
    Elsewhere,
}

/// All that is known of why a job is where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Where it is.
    pub now: Now,
    /// What was decided, the oldest first. Empty: nothing lately.
    pub decisions: Vec<Why>,
}
