//! What a node tells of itself.

use serde::{Deserialize, Serialize};

use crate::api::page::Order;
use crate::environment::Environment;
use crate::id::JobId;
use crate::wire::{LogLevel, LogLine};

/// A line of a node's log. It holds nothing of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeLog {
    /// Its number: rises with every line of the node.
    pub id: String,
    /// Always `node.log`.
    pub object: String,
    /// What the node says.
    #[serde(flatten)]
    pub line: LogLine,
    /// When it came: milliseconds since the Unix epoch.
    pub received_at: i64,
}

/// Which lines of a node's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct NodeLogsQuery {
    /// `testnet` or `mainnet`; where the session looks if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Lines that matter at least so much: `debug`, `info`, `warn` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>))]
    pub level: Option<LogLevel>,
    /// Lines about this job alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>))]
    pub job: Option<JobId>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after this one: the `last_id` of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}
