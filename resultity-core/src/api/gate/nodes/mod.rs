//! Nodes: binding them to an account, what they do and earn, what keeps them from work.

mod admin;
mod checks;
mod code;
mod flags;
mod logs;
mod node;
mod penalties;
mod work;

pub use admin::{
    AdminNode, AdminNodesApi, AdminNodesQuery, AppealsQuery, DecideAppeal, FlagNode, PenaliseNode, PseudonymResolved,
    ResolvePseudonym, UnflagNode,
};
pub use checks::{CheckFinding, NodeCheck, NodeChecksQuery, NodeReputation};
pub use code::{join_code_hash, new_join_code};
pub use flags::{NodeAction, NodeFlag};
pub use logs::{NodeLog, NodeLogsQuery};
pub use node::{
    AskBinding, BindChallenge, BindNode, ControlNode, CreateJoinCode, JoinCode, ModelOnNode, Node, NodeFlagged,
    NodeGpu, NodeHardware, NodeLoad, NodePseudonym, NodeRuntime, NodeUnbound, NodeWhy, NodesApi, NodesQuery,
    PenaltiesQuery, UpdateNode,
};
pub use penalties::{Appeal, AppealDecision, AppealPenalty, Penalty, PenaltyState};
pub use work::{
    DayOfNode, ModelOfNode, NodeEarnings, NodeJob, NodeJobsQuery, NodePaidOut, NodeWork, NodeWorkQuery, PayOutNode,
};
