//! Batches: many requests in a file, their answers in another one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::file::ExpiresAfter;
use crate::id::{BatchId, FileId};
use crate::job::Endpoint;

/// The only completion window there is.
pub const COMPLETION_WINDOW: &str = "24h";

/// `POST /v1/batches`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BatchRequest {
    /// A file with purpose `batch`.
    pub input_file_id: FileId,
    /// Where all its requests go.
    pub endpoint: Endpoint,
    /// How long it may take: `24h`.
    pub completion_window: String,
    /// Up to 16 texts of up to 512 characters, with keys of up to 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// When the files that it writes are to go; else after 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_expires_after: Option<ExpiresAfter>,
    /// All fields that this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl BatchRequest {
    /// The requests of this file.
    pub fn new(input_file_id: FileId, endpoint: Endpoint) -> Self {
        Self {
            input_file_id,
            endpoint,
            completion_window: COMPLETION_WINDOW.into(),
            metadata: None,
            output_expires_after: None,
            extra: Map::new(),
        }
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Sets when the files that it writes are to go.
    #[must_use]
    pub fn output_expires_after(mut self, seconds: u64) -> Self {
        self.output_expires_after = Some(ExpiresAfter::seconds(seconds));
        self
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Always `batch`.
    pub object: String,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The model that they ask, once the file was looked at.
    #[serde(default)]
    pub model: Option<String>,
    /// What is wrong with the file.
    #[serde(default)]
    pub errors: Option<BatchErrors>,
    /// The file with the requests.
    pub input_file_id: FileId,
    /// How long it may take.
    pub completion_window: String,
    /// Where it stands.
    pub status: BatchStatus,
    /// The file with the answers, once it has ended; none if there are none.
    #[serde(default)]
    pub output_file_id: Option<FileId>,
    /// The file with the requests that failed or did not run, once it has ended; none if there are none.
    #[serde(default)]
    pub error_file_id: Option<FileId>,
    /// When it was made: seconds since the Unix epoch, as all that follow.
    pub created_at: i64,
    /// When its requests began to run.
    #[serde(default)]
    pub in_progress_at: Option<i64>,
    /// When its window ends.
    #[serde(default)]
    pub expires_at: Option<i64>,
    /// When its files began to be written.
    #[serde(default)]
    pub finalizing_at: Option<i64>,
    /// When it ended as `completed`.
    #[serde(default)]
    pub completed_at: Option<i64>,
    /// When it ended as `failed`.
    #[serde(default)]
    pub failed_at: Option<i64>,
    /// When it ended as `expired`.
    #[serde(default)]
    pub expired_at: Option<i64>,
    /// When it was asked to stop.
    #[serde(default)]
    pub cancelling_at: Option<i64>,
    /// When it ended as `cancelled`.
    #[serde(default)]
    pub cancelled_at: Option<i64>,
    /// How far it is.
    pub request_counts: RequestCounts,
    /// The tokens that were paid for; none before the requests run.
    #[serde(default)]
    pub usage: Option<BatchUsage>,
    /// What its owner noted.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Where a batch stands.
///
/// ```text
/// validating ─▶ in_progress ─▶ finalizing ─▶ completed | expired
///      │ └──────────┬─┘
///      ▼            ▼
///    failed    cancelling ─▶ cancelled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its file is looked at.
    Validating,
    /// Its file can't be run; nothing was.
    Failed,
    /// Its requests run.
    InProgress,
    /// All have run; the files are written.
    Finalizing,
    /// Every request ran.
    Completed,
    /// The window ended before every request had run.
    Expired,
    /// It was asked to stop.
    Cancelling,
    /// It was stopped; what was done until then is in the files.
    Cancelled,
}

impl BatchStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Validating,
        Self::Failed,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Completed | Self::Expired | Self::Cancelled)
    }
}

impl fmt::Display for BatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no status of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a status of a batch")]
pub struct UnknownBatchStatus;

impl FromStr for BatchStatus {
    type Err = UnknownBatchStatus;
    fn from_str(text: &str) -> Result<Self, UnknownBatchStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownBatchStatus)
    }
}

/// How far a batch is. Every request is completed or failed in the end; those that did not run count as failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequestCounts {
    /// How many requests there are.
    pub total: u64,
    /// How many have an answer.
    pub completed: u64,
    /// How many have an error.
    pub failed: u64,
}

/// Tokens of all requests of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchUsage {
    /// Tokens of the prompts.
    pub input_tokens: u64,
    /// Tokens made.
    pub output_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

/// What is wrong with a batch's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchErrors {
    /// Always `list`.
    pub object: String,
    /// What is wrong, by line.
    pub data: Vec<BatchError>,
}

/// Something wrong with a batch's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchError {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The field that is wrong.
    #[serde(default)]
    pub param: Option<String>,
    /// The line that is wrong, from 1.
    #[serde(default)]
    pub line: Option<u64>,
}

/// A line of the file that a batch reads.
///
/// ```
/// use resultity_core::job::Endpoint;
/// use resultity_core::openai::batch::BatchLine;
/// use resultity_core::openai::chat::{ChatRequest, Message};
/// let line = BatchLine::new("first", Endpoint::ChatCompletions, &ChatRequest::new("m", [Message::user("Hi")]))?;
/// assert!(serde_json::to_string(&line)?.starts_with(r#"{"custom_id":"first","method":"POST","url":"/v1/chat/"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchLine {
    /// What its answer is found by: unique in the file.
    pub custom_id: String,
    /// Always `POST`.
    pub method: String,
    /// The batch's endpoint.
    pub url: String,
    /// The request, as the endpoint takes it.
    pub body: Box<RawValue>,
}

impl BatchLine {
    /// A request to this endpoint.
    pub fn new(
        custom_id: impl Into<String>,
        endpoint: Endpoint,
        request: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            custom_id: custom_id.into(),
            method: "POST".into(),
            url: endpoint.as_str().into(),
            body: serde_json::value::to_raw_value(request)?,
        })
    }
}

/// A line of the files that a batch writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchOutput {
    /// `batch_req_…`.
    pub id: String,
    /// The request's name for itself.
    pub custom_id: String,
    /// What was answered; none if the request did not run.
    pub response: Option<BatchResponse>,
    /// Why the request did not run.
    pub error: Option<BatchOutputError>,
}

/// An answer to a request of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchResponse {
    /// The HTTP status that the request would have had.
    pub status_code: u16,
    /// Names the request in logs and to support.
    pub request_id: String,
    /// The answer or error, as the endpoint gives it.
    pub body: Box<RawValue>,
}

/// Why a request of a batch did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchOutputError {
    /// `batch_expired` or `batch_cancelled`.
    pub code: String,
    /// For people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_batch_has_openais_shape() {
        let json = json!({
            "id": "batch_0190a6f6000070008000000000000001", "object": "batch", "endpoint": "/v1/embeddings",
            "model": "m",
            "errors": {"object": "list", "data": [{"code": "invalid_url", "message": "no", "param": "url", "line": 2}]},
            "input_file_id": "file-0190a6f6000070008000000000000002", "completion_window": "24h", "status": "failed",
            "output_file_id": null, "error_file_id": null, "created_at": 1, "in_progress_at": null, "expires_at": 86401,
            "finalizing_at": null, "completed_at": null, "failed_at": 2, "expired_at": null, "cancelling_at": null,
            "cancelled_at": null, "request_counts": {"total": 0, "completed": 0, "failed": 0}, "usage": null,
            "metadata": {"a": "b"},
        });
        let batch: Batch = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(batch).unwrap(), json);
    }

    #[test]
    fn an_output_line_has_openais_shape() {
        let text = r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"req_1","body":{"x":1.0}},"error":null}"#;
        let line: BatchOutput = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
    }

    #[test]
    fn every_status_reads_back() {
        for status in BatchStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), json!(status.as_str()));
        }
    }
}
