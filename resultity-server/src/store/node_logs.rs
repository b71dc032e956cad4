//! What nodes tell of themselves, for their owners: a bounded number of lines of each.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, NodeId};
use resultity_core::wire::{LogLevel, LogLine};

use crate::store::StoreError;
use crate::store::webhooks::PageOf;

/// Lines that came from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNodeLogs {
    /// The node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Who has it: only they see the lines.
    pub account: AccountId,
    /// The lines, the oldest first.
    pub lines: Vec<LogLine>,
    /// The most lines that are kept of the node; older ones go.
    pub most: u32,
    /// When they came.
    pub now: Timestamp,
}

/// A line that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLogRecord {
    /// Rises with every line of the node.
    pub number: i64,
    /// The line.
    pub line: LogLine,
    /// When it came.
    pub received: Timestamp,
}

/// Which lines to list.
#[derive(Debug, Clone)]
pub struct NodeLogFilter {
    /// Of which node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Those alone that came while this account had it; none: all.
    pub account: Option<AccountId>,
    /// Those alone that matter at least so much.
    pub level: Option<LogLevel>,
    /// Those of this job alone.
    pub job: Option<JobId>,
    /// Which part, by their numbers.
    pub page: PageOf<i64>,
}

/// What nodes tell of themselves.
#[async_trait]
pub trait NodeLogStore: Send + Sync {
    /// Keeps lines of a node, and no more of it than `most` in all.
    async fn keep_node_logs(&self, logs: NewNodeLogs) -> Result<(), StoreError>;

    /// Lines of a node.
    async fn node_logs(&self, filter: NodeLogFilter) -> Result<Vec<NodeLogRecord>, StoreError>;

    /// Forgets at most so many lines that came before then, of any node in any environment. How many.
    async fn forget_node_logs(&self, before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
