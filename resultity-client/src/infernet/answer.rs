//! What a node's answers mean, good and bad.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::infernet::{ErrorResponse, NodeError, NodeErrorKind};
use serde::de::DeserializeOwned;

use crate::error;
use crate::transport::Fault;

/// How much of an answer that cannot be read is quoted: characters.
const EXCERPT: usize = 120;

impl Fault for NodeError {
    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], retry_after: Option<Duration>) -> Self {
        let kind = if status.is_client_error() || status.is_server_error() {
            NodeErrorKind::from_status(status.as_u16())
        } else {
            NodeErrorKind::InvalidAnswer
        };
        let error = match serde_json::from_slice::<ErrorResponse>(body) {
            Ok(response) if kind != NodeErrorKind::InvalidAnswer => Self::from_response(kind, response),
            // Something before the node said it, or something that is no node.
            _ => Self::new(kind, error::from_answer(status, headers, body).message),
        };
        match retry_after {
            Some(after) => error.retry_after(after),
            None => error,
        }
    }

    fn of_client(error: ApiError) -> Self {
        let kind = match error.code {
            ErrorCode::Connection | ErrorCode::StreamCut => NodeErrorKind::Connection,
            ErrorCode::Timeout => NodeErrorKind::Timeout,
            ErrorCode::InvalidResponse => NodeErrorKind::InvalidAnswer,
            ErrorCode::InvalidValue => NodeErrorKind::Invalid,
            _ => NodeErrorKind::Internal,
        };
        Self::new(kind, error.message)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.when_to_retry()
    }
}

/// The answer as what it should be.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, NodeError> {
    serde_json::from_slice(body).map_err(|why| invalid(why, body))
}

/// An answer that is not what the API promises, with its beginning.
pub(super) fn invalid(why: impl std::fmt::Display, body: &[u8]) -> NodeError {
    let error = if body.is_empty() {
        error::invalid_answer(format_args!("{why}; it is empty"))
    } else {
        error::invalid_answer(format_args!("{why}; it is {:?}", excerpt(body)))
    };
    NodeError::of_client(error)
}

fn excerpt(body: &[u8]) -> String {
    // A character has at most four bytes; one that is cut in the middle shows as a replacement at most.
    let beginning = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
    let mut text: String = beginning.chars().take(EXCERPT).collect();
    if text.len() < body.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::rule(
        405,
        r#"{"error":"Container not supported","params":{"container":"x"}}"#,
        NodeErrorKind::Refused,
        r#"Container not supported (container: "x")"#
    )]
    #[case::message(400, r#"{"error":"Expected a list"}"#, NodeErrorKind::Invalid, "Expected a list")]
    #[case::params_of_another_shape(500, r#"{"error":"why","params":[1]}"#, NodeErrorKind::Internal, "why")]
    #[case::proxy(
        502,
        "<html>",
        NodeErrorKind::Internal,
        "the server answered 502 Bad Gateway: <html>"
    )]
    #[case::empty(
        404,
        "",
        NodeErrorKind::NotFound,
        "the server answered 404 Not Found without an explanation"
    )]
    #[case::redirect(
        301,
        "",
        NodeErrorKind::InvalidAnswer,
        "the server answered 301 Moved Permanently; check the base URL"
    )]
    fn an_error_has_its_kind_from_the_status_and_its_words_from_the_body(
        #[case] status: u16,
        #[case] body: &str,
        #[case] kind: NodeErrorKind,
        #[case] shown: &str,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let wait = Some(Duration::from_secs(3));
        let error = NodeError::of_answer(status, &HeaderMap::new(), body.as_bytes(), wait);
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, shown));
        assert_eq!(error.when_to_retry(), wait);
    }

    #[test]
    fn what_cannot_be_read_is_quoted_in_part() {
        for (body, quoted) in [
            ("<html>".to_owned(), "it is \"<html>\""),
            (String::new(), "it is empty"),
            ("é".repeat(1000), &format!("it is \"{}…\"", "é".repeat(EXCERPT))),
        ] {
            let error = read::<Vec<u8>>(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), NodeErrorKind::InvalidAnswer);
            assert!(error.message().ends_with(quoted), "{error}");
        }
    }
}
