//! The error object. All four keys are always there.

use serde::{Deserialize, Serialize};

/// The body of an error answer, and of an error event in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDetail {
    /// For people.
    pub message: String,
    /// OpenAI's class of error, such as `invalid_request_error`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// The field that is wrong.
    #[serde(default)]
    pub param: Option<String>,
    /// For programs.
    #[serde(default)]
    pub code: Option<String>,
}
