//! Errors of the node's REST API.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of every error: `{"error": …, "params": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeErrorResponse))]
pub struct ErrorResponse {
    /// What is wrong, for people; refusals by rule have the original node's words.
    pub error: String,
    /// What it is about, such as `{"container": "…"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
}

/// What kind of error it is: decides the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// The request cannot be read: 400.
    Invalid,
    /// The caller may not do this: 403.
    Unauthorized,
    /// Nothing is there: 404.
    NotFound,
    /// A rule of the node refuses the job, or the method does not exist: 405, as in the original.
    Refused,
    /// The body took too long to come: 408.
    Slow,
    /// The body is larger than allowed: 413.
    TooLarge,
    /// The body is of another content type: 415.
    ContentType,
    /// Too many requests for now: 429.
    RateLimited,
    /// The headers are larger than allowed: 431.
    HeadersTooLarge,
    /// A fault of the node: 500.
    Internal,
    /// The node's queue is full, or it stops: 503.
    Busy,
    /// Client side: the node could not be reached.
    Connection,
    /// Client side: no answer in time.
    Timeout,
    /// Client side: the answer is not what the API promises.
    InvalidAnswer,
}

impl NodeErrorKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Unauthorized,
        Self::NotFound,
        Self::Refused,
        Self::Slow,
        Self::TooLarge,
        Self::ContentType,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Busy,
        Self::Connection,
        Self::Timeout,
        Self::InvalidAnswer,
    ];

    /// The HTTP status; none for what only a client meets.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Invalid => Some(400),
            Self::Unauthorized => Some(403),
            Self::NotFound => Some(404),
            Self::Refused => Some(405),
            Self::Slow => Some(408),
            Self::TooLarge => Some(413),
            Self::ContentType => Some(415),
            Self::RateLimited => Some(429),
            Self::HeadersTooLarge => Some(431),
            Self::Internal => Some(500),
            Self::Busy => Some(503),
            Self::Connection | Self::Timeout | Self::InvalidAnswer => None,
        }
    }

    /// What an HTTP status means.
    pub fn from_status(status: u16) -> Self {
        let known = Self::ALL.into_iter().find(|kind| kind.status() == Some(status));
        known.unwrap_or(if status >= 500 { Self::Internal } else { Self::Invalid })
    }
}

/// An error of the node's REST API.
///
/// ```
/// use resultity_core::infernet::{NodeError, NodeErrorKind};
/// let error = NodeError::refused("Container not supported").with("container", "no-such");
/// assert_eq!(error.kind().status(), Some(405));
/// assert_eq!(
///     serde_json::to_string(&error.to_response()).unwrap(),
///     r#"{"error":"Container not supported","params":{"container":"no-such"}}"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", shown(.params.as_deref()))]
pub struct NodeError {
    kind: NodeErrorKind,
    message: String,
    params: Option<Box<Map<String, Value>>>,
    retry_after: Option<Duration>,
}

fn shown(params: Option<&Map<String, Value>>) -> String {
    let Some(params) = params.filter(|params| !params.is_empty()) else {
        return String::new();
    };
    let pairs = params.iter().map(|(name, value)| format!("{name}: {value}"));
    format!(" ({})", pairs.collect::<Vec<_>>().join(", "))
}

impl NodeError {
    /// An error of this kind, without `params`.
    pub fn new(kind: NodeErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            params: None,
            retry_after: None,
        }
    }

    /// A request that cannot be read. The message names the field and what was expected.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(NodeErrorKind::Invalid, message)
    }

    /// A refusal by rule, with empty `params`.
    pub fn refused(message: impl Into<String>) -> Self {
        let mut error = Self::new(NodeErrorKind::Refused, message);
        error.params = Some(Box::default());
        error
    }

    /// Adds an entry to `params`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params
            .get_or_insert_default()
            .insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What kind it is.
    pub const fn kind(&self) -> NodeErrorKind {
        self.kind
    }

    /// What is wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it is about.
    pub fn params(&self) -> Option<&Map<String, Value>> {
        self.params.as_deref()
    }

    /// When to try again, where that is known.
    pub const fn when_to_retry(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The body of the answer.
    pub fn to_response(&self) -> ErrorResponse {
        ErrorResponse {
            error: self.message.clone(),
            params: self.params.as_deref().cloned(),
        }
    }

    /// The error that a body of this kind tells of.
    pub fn from_response(kind: NodeErrorKind, response: ErrorResponse) -> Self {
        Self {
            kind,
            message: response.error,
            params: response.params.map(Box::new),
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_means_one_kind() {
        for kind in NodeErrorKind::ALL {
            if let Some(status) = kind.status() {
                assert_eq!(NodeErrorKind::from_status(status), kind);
            }
        }
        assert_eq!(NodeErrorKind::from_status(502), NodeErrorKind::Internal);
        assert_eq!(NodeErrorKind::from_status(422), NodeErrorKind::Invalid);
    }

    #[test]
    fn params_are_there_for_refusals_only() {
        let body = |error: NodeError| serde_json::to_string(&error.to_response()).unwrap();
        assert_eq!(
            body(NodeError::refused("Chain not enabled")),
            r#"{"error":"Chain not enabled","params":{}}"#
        );
        assert_eq!(
            body(NodeError::invalid("Expected a list")),
            r#"{"error":"Expected a list"}"#
        );
    }
}
