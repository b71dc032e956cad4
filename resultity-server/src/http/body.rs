//! Bodies: size, then JSON, then fields; what is wrong is named.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use resultity_core::error::{ApiError, ErrorCode};
use serde::de::DeserializeOwned;
use tower_http::timeout::TimeoutError;

use crate::http::io_fallback::RESULTS;
use crate::http::problem::Problem;
use crate::json::parse;

/// The largest body that is read: 16 MiB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// How long a body may take to arrive, however steadily it comes.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads a body of JSON.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    parse(&text(headers, body).await?)
}

/// The same where nothing may be said: no body is an empty object.
pub(super) async fn json_or_default<T>(headers: &HeaderMap, body: Body) -> Result<T, ApiError>
where
    T: DeserializeOwned + Default,
{
    let text = text(headers, body).await?;
    if text.is_empty() {
        return Ok(T::default());
    }
    parse(&text)
}

/// The bytes of a body that says that it is JSON.
pub(super) async fn text(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let is_json = headers.get(CONTENT_TYPE).is_none_or(|value| {
        let kind = value
            .to_str()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        let message = "the body must be JSON: send the header `Content-Type: application/json`";
        return Err(ApiError::new(ErrorCode::InvalidJson, message));
    }
    let is_plain = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !is_plain {
        let message = "the body must not be compressed: send it without the header `Content-Encoding`";
        return Err(ApiError::new(ErrorCode::InvalidJson, message));
    }
    read(headers, body).await
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    read_up_to(MAX_BODY_BYTES, headers, body).await
}

/// A body of at most so many bytes.
pub(crate) async fn read_up_to(most: usize, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the body is larger than {most} bytes"),
        )
    };
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, most).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if is_too_large(&*error) => Err(too_large()),
        Ok(Err(error)) if !is_too_slow(&*error) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            "the body ended before it was complete",
        )),
        Ok(Err(_)) | Err(_) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            "the body took too long to arrive",
        )),
    }
}

/// Whether a body broke off because it is more than what is taken, here or of the surface.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<LengthLimitError>)
}

/// The largest body of a surface where nothing large is ever said: 256 KiB. Anybody may send one, signed in or not.
const SMALL_BODY_BYTES: usize = 256 * 1024;

/// Takes no more than that of a request.
pub(super) async fn small(request: Request, next: Next) -> Response {
    if request.uri().path() == RESULTS {
        // Read once it is known who sends it, in bounds of its own.
        return next.run(request).await;
    }
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > SMALL_BODY_BYTES as u64) {
        let message = format!("the body is larger than {SMALL_BODY_BYTES} bytes");
        return Problem::from(ApiError::new(ErrorCode::PayloadTooLarge, message)).into_response();
    }
    let bounded = request.map(|body| Body::new(Limited::new(body, SMALL_BODY_BYTES)));
    next.run(bounded).await
}

/// Whether a body broke off because nothing came for too long.
fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<TimeoutError>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::openai::chat::ChatRequest;

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("{", ErrorCode::InvalidJson, None),
            ("", ErrorCode::InvalidJson, None),
            ("[]", ErrorCode::InvalidValue, None),
            ("{}", ErrorCode::MissingField, Some("model")),
            (r#"{"model":"m"}"#, ErrorCode::MissingField, Some("messages")),
            (r#"{"model":5,"messages":[]}"#, ErrorCode::InvalidValue, Some("model")),
            (
                r#"{"model":"m","messages":[{"content":"x"}]}"#,
                ErrorCode::MissingField,
                Some("messages[0].role"),
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":5}]}"#,
                ErrorCode::InvalidValue,
                Some("messages[0].content"),
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":-1}"#,
                ErrorCode::InvalidValue,
                Some("max_tokens"),
            ),
            (
                r#"{"model":"m","messages":[],"stream_options":{"include_usage":1}}"#,
                ErrorCode::InvalidValue,
                Some("stream_options.include_usage"),
            ),
        ];
        for (body, code, param) in cases {
            let error = parse::<ChatRequest>(body.as_bytes()).expect_err(body);
            assert_eq!((error.code, error.param.as_deref()), (code, param), "{body}: {error}");
        }
        let deep = format!(
            "{{\"model\":\"m\",\"messages\":[],\"x\":{}{}}}",
            "[".repeat(200),
            "]".repeat(200)
        );
        assert_eq!(
            parse::<ChatRequest>(deep.as_bytes()).unwrap_err().code,
            ErrorCode::InvalidJson
        );
        assert_eq!(
            parse::<ChatRequest>(b"{\"model\":\"\xff\"}").unwrap_err().code,
            ErrorCode::InvalidJson
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_after_a_minute() {
        let begun = tokio::time::Instant::now();
        let trickle = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
        });
        let error = json::<ChatRequest>(&HeaderMap::new(), Body::from_stream(trickle)).await;
        assert_eq!(begun.elapsed(), BODY_TIMEOUT);
        assert!(error.unwrap_err().to_string().contains("too long"));
    }
}
