//! Errors that cross an API: the codes, and the one table of HTTP statuses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::RateLimits;
use crate::openai::error::{ErrorBody, ErrorDetail};
use crate::openai::response::ResponseFailure;

/// What went wrong, in a form a program can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The body is not JSON, or not of the content type that was promised.
    InvalidJson,
    /// A field has a value it cannot have.
    InvalidValue,
    /// A field is missing.
    MissingField,
    /// A field whose meaning would be silently broken.
    UnsupportedParameter,
    /// The prompt and the answer do not fit into the model's context.
    ContextLengthExceeded,
    /// The response to go on from is not there.
    PreviousResponseNotFound,
    /// No key, or not one of ours.
    InvalidApiKey,
    /// Not signed in, or with what does not count (any more).
    NotSignedIn,
    /// Name and secret do not fit together; which of them is wrong is not said.
    InvalidCredentials,
    /// The password or signature is right, and the second factor is due.
    SecondFactorRequired,
    /// Not enough credits, or the key's own spending cap is reached.
    InsufficientQuota,
    /// The caller is known, but may not do this.
    PermissionDenied,
    /// The account is suspended: nothing that belongs to it counts until it is restored.
    AccountSuspended,
    /// No model of this name.
    ModelNotFound,
    /// Nothing of this name.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// It clashes with an earlier request.
    Conflict,
    /// The body is larger than allowed.
    PayloadTooLarge,
    /// Too many requests or tokens for now.
    RateLimitExceeded,
    /// A fault of ours.
    Internal,
    /// Specified, but not built yet.
    NotImplemented,
    /// Every node that tried it failed.
    NodeFailed,
    /// No node can take it now.
    NoCapacity,
    /// It took longer than it may.
    DeadlineExceeded,
    /// The job was cancelled.
    Cancelled,
    /// Client side: the server could not be reached.
    Connection,
    /// Client side: no answer in time.
    Timeout,
    /// Client side: a stream ended before it was complete.
    StreamCut,
    /// Client side: an answer that is not what the API promises.
    InvalidResponse,
}

impl ErrorCode {
    /// Code on the wire, HTTP status (0: never on the wire) and OpenAI error type: the whole table.
    const fn row(self) -> (&'static str, u16, &'static str) {
        const REQUEST: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        const CLIENT: &str = "client_error";
        match self {
            Self::InvalidJson => ("invalid_json", 400, REQUEST),
            Self::InvalidValue => ("invalid_value", 400, REQUEST),
            Self::MissingField => ("missing_required_parameter", 400, REQUEST),
            Self::UnsupportedParameter => ("unsupported_parameter", 400, REQUEST),
            Self::ContextLengthExceeded => ("context_length_exceeded", 400, REQUEST),
            Self::PreviousResponseNotFound => ("previous_response_not_found", 400, REQUEST),
            Self::InvalidApiKey => ("invalid_api_key", 401, "authentication_error"),
            Self::NotSignedIn => ("not_signed_in", 401, "authentication_error"),
            Self::InvalidCredentials => ("invalid_credentials", 401, "authentication_error"),
            Self::SecondFactorRequired => ("second_factor_required", 401, "authentication_error"),
            Self::InsufficientQuota => ("insufficient_quota", 402, "insufficient_quota"),
            Self::PermissionDenied => ("permission_denied", 403, "permission_error"),
            Self::AccountSuspended => ("account_suspended", 403, "permission_error"),
            Self::ModelNotFound => ("model_not_found", 404, REQUEST),
            Self::NotFound => ("not_found", 404, REQUEST),
            Self::MethodNotAllowed => ("method_not_allowed", 405, REQUEST),
            Self::Conflict => ("conflict", 409, REQUEST),
            Self::PayloadTooLarge => ("payload_too_large", 413, REQUEST),
            Self::RateLimitExceeded => ("rate_limit_exceeded", 429, "rate_limit_error"),
            Self::Internal => ("internal_error", 500, SERVER),
            Self::NotImplemented => ("not_implemented", 501, REQUEST),
            Self::NodeFailed => ("node_failed", 502, SERVER),
            Self::NoCapacity => ("no_capacity", 503, SERVER),
            Self::DeadlineExceeded => ("deadline_exceeded", 504, SERVER),
            Self::Cancelled => ("cancelled", 499, REQUEST),
            Self::Connection => ("connection_error", 0, CLIENT),
            Self::Timeout => ("timeout", 0, CLIENT),
            Self::StreamCut => ("stream_cut", 0, CLIENT),
            Self::InvalidResponse => ("invalid_response", 0, CLIENT),
        }
    }

    /// All codes.
    pub const ALL: &'static [Self] = &[
        Self::InvalidJson,
        Self::InvalidValue,
        Self::MissingField,
        Self::UnsupportedParameter,
        Self::ContextLengthExceeded,
        Self::PreviousResponseNotFound,
        Self::InvalidApiKey,
        Self::NotSignedIn,
        Self::InvalidCredentials,
        Self::SecondFactorRequired,
        Self::InsufficientQuota,
        Self::PermissionDenied,
        Self::AccountSuspended,
        Self::ModelNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::RateLimitExceeded,
        Self::Internal,
        Self::NotImplemented,
        Self::NodeFailed,
        Self::NoCapacity,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Connection,
        Self::Timeout,
        Self::StreamCut,
        Self::InvalidResponse,
    ];

    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status; none for what only happens at a client.
    pub const fn http_status(self) -> Option<u16> {
        match self.row().1 {
            0 => None,
            status => Some(status),
        }
    }

    /// OpenAI's `type`.
    pub const fn kind(self) -> &'static str {
        self.row().2
    }

    /// The code of this name on the wire.
    pub fn from_wire(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == code)
    }

    /// The nearest code for an HTTP status without a code that we know.
    pub const fn from_status(status: u16) -> Self {
        match status {
            401 => Self::InvalidApiKey,
            402 => Self::InsufficientQuota,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            409 => Self::Conflict,
            413 => Self::PayloadTooLarge,
            429 => Self::RateLimitExceeded,
            400..=499 => Self::InvalidValue,
            501 => Self::NotImplemented,
            502 => Self::NodeFailed,
            503 => Self::NoCapacity,
            504 => Self::DeadlineExceeded,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of an API trait: the same whether the API is called in-process or over HTTP.
///
/// ```
/// use resultity_core::error::{ApiError, ErrorCode};
/// let error = ApiError::new(ErrorCode::InvalidValue, "temperature must be from 0 to 2").with_param("temperature");
/// assert_eq!(error.code.http_status(), Some(400));
/// assert_eq!(error.to_string(), "temperature must be from 0 to 2 (invalid_value, temperature)");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApiError {
    /// What went wrong.
    pub code: ErrorCode,
    /// The same for people: a sentence that says what was expected or what to do.
    pub message: String,
    /// The field, as a path such as `messages[0].role`.
    pub param: Option<String>,
    /// The `x-request-id` of the answer.
    pub request_id: Option<String>,
    /// When a repeat may succeed.
    pub retry_after: Option<Duration>,
    /// What the caller may still ask for, where a rate limit was reached.
    pub rate_limits: Option<Box<RateLimits>>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// An error with this code and sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
            request_id: None,
            retry_after: None,
            rate_limits: None,
            source: None,
        }
    }

    /// Names the field.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says when a repeat may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says what the caller may still ask for.
    #[must_use]
    pub fn with_rate_limits(mut self, limits: RateLimits) -> Self {
        self.rate_limits = Some(Box::new(limits));
        self
    }

    /// Adds the id of the answer.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Adds the cause. It is for logs at the caller; it never goes onto the wire.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The body on the wire: OpenAI's shape with all four keys.
    pub fn to_body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                kind: Some(self.code.kind().to_owned()),
                param: self.param.clone(),
                code: Some(self.code.as_str().to_owned()),
            },
        }
    }

    /// The error that a body and a status stand for.
    pub fn from_body(status: u16, body: ErrorBody) -> Self {
        let code = body.error.code.as_deref().and_then(ErrorCode::from_wire);
        let mut error = Self::new(
            code.unwrap_or_else(|| ErrorCode::from_status(status)),
            body.error.message,
        );
        error.param = body.error.param;
        error
    }
}

/// Why a response has no answer, by the few names that OpenAI has for it.
impl From<&ApiError> for ResponseFailure {
    fn from(error: &ApiError) -> Self {
        let code = match error.code {
            ErrorCode::RateLimitExceeded => "rate_limit_exceeded",
            code if code.http_status() == Some(400) => "invalid_prompt",
            _ => "server_error",
        };
        Self {
            code: code.into(),
            message: error.message.clone(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, self.code)?;
        if let Some(param) = &self.param {
            write!(f, ", {param}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_the_wire_and_has_a_sensible_status() {
        for code in ErrorCode::ALL.iter().copied() {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(code));
            assert!(code.http_status().is_none_or(|status| (400..600).contains(&status)));
            let body = ApiError::new(code, "why").with_param("field").to_body();
            let read = ApiError::from_body(code.http_status().unwrap_or(500), body);
            assert_eq!((read.code, read.param.as_deref()), (code, Some("field")));
        }
    }
}
