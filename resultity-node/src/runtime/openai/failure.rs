//! What an engine's refusals mean. Its own words may name hosts, paths and prompts, so they never go on.

use reqwest::StatusCode;
use resultity_core::wire::Failed;
use serde_json::Value;

use super::{RuntimeError, is_absent};

/// Of a connection that failed; `began` if the engine had begun to answer.
pub(super) fn transport(error: &reqwest::Error, began: bool) -> RuntimeError {
    if error.is_connect() {
        RuntimeError::Unavailable("no connection".to_owned())
    } else if error.is_timeout() {
        RuntimeError::Failed("it sent nothing for too long".to_owned())
    } else if began {
        RuntimeError::Failed("the connection was cut".to_owned())
    } else {
        RuntimeError::Unavailable("the connection was cut".to_owned())
    }
}

/// Of a list of models.
pub(super) fn of_list(status: StatusCode) -> RuntimeError {
    match status.as_u16() {
        401 | 403 => RuntimeError::Unavailable("it refused the key".to_owned()),
        code if is_absent(status) => RuntimeError::Unavailable(format!("it answered with status {code}")),
        _ => RuntimeError::Failed("it has no list of models".to_owned()),
    }
}

/// Of a request that was answered with an error status.
pub(super) fn of_status(status: StatusCode, body: &[u8], model: &str) -> RuntimeError {
    let body = serde_json::from_slice(body).unwrap_or(Value::Null);
    let error = body.get("error").unwrap_or(&body);
    of_error(status.as_u16(), error, model)
}

/// Of a refusal whose body is not all there, or whose error was taken out of it already.
#[cfg(feature = "infernet")]
pub(crate) fn of_text(status: u16, text: &str, model: &str) -> RuntimeError {
    let body = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    of_error(status, body.get("error").unwrap_or(&body), model)
}

/// Of an error object inside a stream.
pub(super) fn of_event(error: &Value, model: &str) -> RuntimeError {
    let status = error
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    of_error(status.unwrap_or(500), error, model)
}

fn of_error(status: u16, error: &Value, model: &str) -> RuntimeError {
    if is_context(error) && status != 404 {
        return RuntimeError::ContextLengthExceeded("prompt and answer are longer than the model's context".to_owned());
    }
    match status {
        401 | 403 => RuntimeError::Unavailable("it refused the key".to_owned()),
        404 => RuntimeError::ModelMissing(model.to_owned()),
        408 | 425 | 429 | 502..=504 => RuntimeError::Unavailable("it is busy or not ready".to_owned()),
        413 => RuntimeError::invalid("it is too large"),
        400..=499 => match param(error) {
            Some(param) => RuntimeError::invalid_field(param, "it does not accept the value"),
            None => RuntimeError::invalid("it does not accept one of the values"),
        },
        status => RuntimeError::Failed(format!("it answered with status {status}")),
    }
}

/// Whether an error says that the prompt is too long. There is a code for it, and there are engines without it.
fn is_context(error: &Value) -> bool {
    let field = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("code") == "context_length_exceeded" || field("type") == "exceed_context_size_error" {
        return true;
    }
    let text = error.as_str().unwrap_or_else(|| field("message")).to_lowercase();
    [
        "context length",
        "context size",
        "context window",
        "maximum model length",
        "max_model_len",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// The field that is wrong, where the engine names one and it looks like one.
fn param(error: &Value) -> Option<&str> {
    error.get("param")?.as_str().filter(|param| Failed::is_param(param))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[cfg(feature = "infernet")]
    #[rstest]
    #[case(400, "the context length is 8 tokens, secret-host", "context")]
    #[case(400, "secret-host", "one of the values")]
    #[case(422, r#"{"error":{"param":"top_p"}}"#, "top_p")]
    fn texts_are_refusals_too(#[case] status: u16, #[case] text: &str, #[case] says: &str) {
        let error = of_text(status, text, "m").to_string();
        assert!(error.contains(says) && !error.contains("secret-host"), "{error}");
    }

    #[rstest]
    #[case(
        400,
        r#"{"error":{"message":"This model's maximum context length is 8 tokens","code":400}}"#,
        "context"
    )]
    #[case(400, r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#, "context")]
    #[case(
        400,
        r#"{"error":{"type":"exceed_context_size_error","code":400,"n_ctx":512}}"#,
        "context"
    )]
    #[case(
        500,
        r#"{"error":{"message":"the request exceeds the available context size"}}"#,
        "context"
    )]
    #[case(400, r#"{"object":"error","message":"context window is full"}"#, "context")]
    #[case(400, r#"{"error":"context size exceeded"}"#, "context")]
    #[case(
        400,
        r#"{"error":{"message":"secret-host","param":"temperature"}}"#,
        "temperature: it does not accept"
    )]
    #[case(422, r#"{"detail":"secret-host"}"#, "one of the values")]
    #[case(400, r#"{"error":{"param":"secret-host: x"}}"#, "one of the values")]
    #[case(404, r#"{"error":{"message":"secret-host"}}"#, "\"m\"")]
    #[case(503, "secret-host is loading", "not ready")]
    #[case(429, "", "busy")]
    #[case(500, "secret-host", "status 500")]
    #[case(401, "secret-host", "key")]
    #[case(302, "", "status 302")]
    fn refusals_are_put_into_our_words(#[case] status: u16, #[case] body: &str, #[case] says: &str) {
        let error = of_status(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "m").to_string();
        assert!(error.contains(says) && !error.contains("secret-host"), "{error}");
    }
}
