//! What happened on a node, for its owner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::signing::Signature;

/// The most lines of one [`LogBatch`].
pub const MAX_LOG_LINES: usize = 200;

/// Lines of a node's log; signed over its whole body. They never hold anything of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// Rises with every batch of a session, from 1.
    pub seq: u64,
    /// The node's clock.
    pub issued_at: Timestamp,
    /// The lines, the oldest first; at most [`MAX_LOG_LINES`].
    pub lines: Vec<LogLine>,
    /// Over [`LogBatchData`](crate::signing::LogBatchData).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// When, by the node's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub time: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The job that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub job_id: Option<JobId>,
    /// What happened: one of the Agent's own sentences.
    pub message: String,
    /// Details, such as `duration_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, LogField>,
}

/// How much a line of a log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// The normal course.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something does not work.
    Error,
}

impl LogLevel {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Debug, Self::Info, Self::Warn, Self::Error];
        let found = all.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| "expected debug, info, warn or error".to_owned())
    }
}

/// A detail of a line: no floats, since the whole is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum LogField {
    /// Yes or no.
    Flag(bool),
    /// A number; within 2^53.
    Number(i64),
    /// A word or two.
    Text(String),
}

impl From<u64> for LogField {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX).min((1 << 53) - 1))
    }
}

impl From<&str> for LogField {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl std::fmt::Display for LogField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
