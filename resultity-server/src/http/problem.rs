//! Errors as HTTP answers: the one place where they become a status, headers and a body.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::limits::RateLimits;

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Problem(ApiError);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = error
            .code
            .http_status()
            .and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = (
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Json(error.to_body()),
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(after) = error.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(limits) = &error.rate_limits {
            describe_rate_limits(headers, limits);
        }
        // More than what is ever let through at once stays too much.
        let is_too_much = error.code == ErrorCode::RateLimitExceeded && error.retry_after.is_none();
        // OpenAI's SDKs repeat what ended in 409 or 501 too, for nothing.
        let is_final = matches!(
            error.code,
            ErrorCode::InsufficientQuota | ErrorCode::Conflict | ErrorCode::NotImplemented
        );
        if is_final || is_too_much {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if matches!(error.code, ErrorCode::InvalidApiKey | ErrorCode::NotSignedIn) {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What the caller may still ask for, as headers.
pub(super) fn describe_rate_limits(headers: &mut HeaderMap, limits: &RateLimits) {
    for (name, value) in limits.to_headers() {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

pub(super) async fn not_found(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem(ApiError::new(
        ErrorCode::NotFound,
        format!("there is nothing at {method} {path}"),
    ))
}

/// The router has put `Allow` into the answer already.
pub(super) async fn method_not_allowed(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("{path} does not know the method {method}");
    let mut response = Problem(ApiError::new(ErrorCode::MethodNotAllowed, message)).into_response();
    if let Some(allow) = headers.get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

/// A path that is no text once it is decoded names nothing; the extractors would say so in a shape of their own.
pub(super) async fn refuse_unreadable_path(request: Request, next: Next) -> Response {
    let path = percent_decode_str(request.uri().path()).decode_utf8();
    if path.is_err() {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        return not_found(method, uri).await.into_response();
    }
    next.run(request).await
}

pub(super) async fn not_built(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem(ApiError::new(
        ErrorCode::NotImplemented,
        format!("{path} is not built yet"),
    ))
}
