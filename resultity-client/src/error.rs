//! Failures: of a client's configuration, and of a request in all the ways an answer can be bad.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::limits::RateLimits;
use resultity_core::openai::error::{ErrorBody, ErrorDetail};
use serde_json::Value;

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The base URL cannot be used.
    #[error("the base URL {url:?} cannot be used: {reason}")]
    BaseUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key holds characters that no key has. The key itself is not in here.
    #[error("the API key holds characters that cannot be sent; check that it was copied whole, without line breaks")]
    ApiKey,
    /// The user agent holds characters that cannot be sent.
    #[error("the user agent holds characters that cannot be sent")]
    UserAgent,
    /// The environment names no server and key.
    #[error(
        "no API key in the environment: set RESULTITY_API_KEY (and RESULTITY_BASE_URL), or OPENAI_API_KEY together with OPENAI_BASE_URL"
    )]
    NoKeyInEnvironment,
    /// An `https` base URL needs certificates to trust, and the system offers none.
    #[error("the system offers no certificates to check an https server with; install its ca-certificates package")]
    Certificates(#[source] rustls::Error),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[source] reqwest::Error),
}

/// How much of an error answer is read.
pub(crate) const LARGEST_ERROR_BODY: usize = 64 * 1024;

/// The error that an answer of this status and body stands for, whoever made it: the server, or a proxy before it.
pub(crate) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let mut error = match read_body(body) {
        Some(body) => ApiError::from_body(status.as_u16(), body),
        None => without_explanation(status, headers, body),
    };
    error.request_id = request_id(headers);
    error.rate_limits = rate_limits(headers).map(Box::new);
    error
}

/// The `x-ratelimit-*` headers of an answer.
pub(crate) fn rate_limits(headers: &HeaderMap) -> Option<RateLimits> {
    RateLimits::from_headers(|name| headers.get(name)?.to_str().ok())
}

/// The `x-request-id` of an answer.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// OpenAI's error object, or what other servers make of it: `{"error": "why"}`, `{"message": …}`, problem details.
pub(crate) fn read_body(body: &[u8]) -> Option<ErrorBody> {
    if let Ok(body) = serde_json::from_slice(body) {
        return Some(body);
    }
    let Value::Object(top) = serde_json::from_slice(body).ok()? else {
        return None;
    };
    let detail = match top.get("error") {
        Some(Value::Object(detail)) => detail,
        Some(Value::String(message)) => {
            return Some(ErrorBody {
                error: ErrorDetail {
                    message: message.clone(),
                    kind: None,
                    param: None,
                    code: None,
                },
            });
        }
        _ => &top,
    };
    let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(ErrorBody {
        error: ErrorDetail {
            message: text("message").or_else(|| text("detail")).or_else(|| text("title"))?,
            kind: text("type"),
            param: text("param"),
            code: text("code"),
        },
    })
}

fn without_explanation(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    if !status.is_client_error() && !status.is_server_error() {
        let place = headers
            .get(http::header::LOCATION)
            .and_then(|place| place.to_str().ok());
        let hint = place.map_or_else(String::new, |place| format!(" and points to {place}"));
        let message = format!("the server answered {status}{hint}; check the base URL");
        return ApiError::new(ErrorCode::InvalidResponse, message);
    }
    let mut message = format!("the server answered {status} without an explanation");
    let is_text = headers
        .get(http::header::CONTENT_TYPE)
        .is_none_or(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/plain")));
    // A proxy's own page says nothing that its status doesn't; a line of plain text may.
    if is_text && let Some(line) = std::str::from_utf8(body).ok().and_then(|text| text.lines().next()) {
        let line: String = line
            .trim()
            .chars()
            .filter(|symbol| !symbol.is_control())
            .take(200)
            .collect();
        if !line.is_empty() {
            message = format!("the server answered {status}: {line}");
        }
    }
    ApiError::new(ErrorCode::from_status(status.as_u16()), message)
}

/// The server could not be reached, or the connection broke.
pub(crate) fn from_transport(error: reqwest::Error, place: &str) -> ApiError {
    if let Some(own) = of_content(&error) {
        return own;
    }
    let reason = root_cause(&error);
    let message = if error.is_connect() && error.is_timeout() {
        format!("could not connect to {place}: it did not answer in time")
    } else if error.is_connect() {
        format!("could not connect to {place}: {reason}")
    } else {
        format!("the connection to {place} broke before the answer was complete: {reason}")
    };
    ApiError::new(ErrorCode::Connection, message).with_source(error.without_url())
}

/// Why the caller's own content of a request could not be read, if that is what went wrong.
fn of_content(error: &reqwest::Error) -> Option<ApiError> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<ApiError>() {
            return Some(own.clone());
        }
        cause = inner.source();
    }
    None
}

pub(crate) fn timed_out(timeout: Duration) -> ApiError {
    ApiError::new(ErrorCode::Timeout, format!("no answer within {}", shown(timeout)))
}

pub(crate) fn invalid_answer(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidResponse,
        format!("the server's answer is not what the API promises: {why}"),
    )
}

pub(crate) fn shown(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{duration:?}")
    }
}

/// The innermost cause says the most: the layers above it only say that something went wrong.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::openai(
        r#"{"error":{"message":"why","type":"t","param":"p","code":"model_not_found"}}"#,
        ErrorCode::ModelNotFound,
        "why"
    )]
    #[case::unknown_code(r#"{"error":{"message":"why","code":"strange"}}"#, ErrorCode::NotFound, "why")]
    #[case::numeric_code(r#"{"error":{"message":"why","code":404}}"#, ErrorCode::NotFound, "why")]
    #[case::bare_text(r#"{"error":"why"}"#, ErrorCode::NotFound, "why")]
    #[case::message(r#"{"object":"error","message":"why"}"#, ErrorCode::NotFound, "why")]
    #[case::problem(
        r#"{"title":"t","detail":"why","status":404,"code":"not_found"}"#,
        ErrorCode::NotFound,
        "why"
    )]
    #[case::html("<html>", ErrorCode::NotFound, "the server answered 404 Not Found: <html>")]
    #[case::other_json("[1]", ErrorCode::NotFound, "the server answered 404 Not Found: [1]")]
    #[case::empty("", ErrorCode::NotFound, "the server answered 404 Not Found without an explanation")]
    fn bodies_of_many_makers_are_understood(#[case] body: &str, #[case] code: ErrorCode, #[case] message: &str) {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-request-id"), "r1".parse().unwrap())]);
        let error = from_answer(StatusCode::NOT_FOUND, &headers, body.as_bytes());
        assert_eq!((error.code, error.message.as_str()), (code, message));
        assert_eq!(error.request_id.as_deref(), Some("r1"));
    }

    #[test]
    fn a_page_of_a_proxy_is_not_quoted() {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, "text/html".parse().unwrap())]);
        let error = from_answer(StatusCode::SERVICE_UNAVAILABLE, &headers, b"<html>secret</html>");
        assert_eq!(error.code, ErrorCode::NoCapacity);
        assert!(!error.message.contains("html"), "{error}");
    }

    #[test]
    fn a_redirect_is_an_invalid_answer_that_names_the_place() {
        let headers = HeaderMap::from_iter([(http::header::LOCATION, "https://other/v1".parse().unwrap())]);
        let error = from_answer(StatusCode::MOVED_PERMANENTLY, &headers, b"");
        assert_eq!(error.code, ErrorCode::InvalidResponse);
        assert!(error.message.contains("https://other/v1"), "{error}");
    }
}
