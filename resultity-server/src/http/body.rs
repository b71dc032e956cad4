//! Bodies: size, then JSON, then fields; what is wrong is named.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use resultity_core::error::{ApiError, ErrorCode};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest body that is read: 16 MiB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads a body of JSON.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
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
    parse(&read(headers, body).await?)
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the body is larger than {MAX_BODY_BYTES} bytes"),
        )
    };
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            "the body ended before it was complete",
        )),
        Err(_) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            "the body took too long to arrive",
        )),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(error) if error.is_data() => {
            Err(wrong_field::<T>(body).unwrap_or_else(|| ApiError::new(ErrorCode::InvalidValue, sentence(&error))))
        }
        Err(error) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            format!("the body is not JSON: {error}"),
        )),
    }
}

/// Reads the body once more, slower, to find out where it is wrong.
fn wrong_field<T: DeserializeOwned>(body: &[u8]) -> Option<ApiError> {
    let deserializer = &mut serde_json::Deserializer::from_slice(body);
    let error = serde_path_to_error::deserialize::<_, T>(deserializer).err()?;
    let path = error.path().to_string();
    let message = sentence(error.inner());
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        let path = if path == "." {
            field.to_owned()
        } else {
            format!("{path}.{field}")
        };
        let message = format!("{path} is missing");
        return Some(ApiError::new(ErrorCode::MissingField, message).with_param(path));
    }
    if path == "." {
        return Some(ApiError::new(ErrorCode::InvalidValue, message));
    }
    Some(ApiError::new(ErrorCode::InvalidValue, format!("{path}: {message}")).with_param(path))
}

/// What is wrong, without the place in the text, which says less than the path.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(sentence, _)| sentence.to_owned())
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
}
