//! What a caller says beside a request, in headers.

use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderMap;
use resultity_core::api::cloud::CallOptions;
use resultity_core::api::gate::is_subcloud_name;
use resultity_core::error::{ApiError, ErrorCode};

/// The longest time that a caller may give a job: a day.
const MAX_TTL_SECONDS: u64 = 24 * 60 * 60;

/// Whose nodes are asked.
const SUBCLOUD: &str = "x-resultity-subcloud";

/// The options of a request.
pub(super) fn read(headers: &HeaderMap) -> Result<CallOptions, ApiError> {
    let region = "x-resultity-region";
    if headers.contains_key(region) {
        let message = format!("{region} is not supported yet: jobs go to any node that serves the model");
        return Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(region));
    }
    let mut options = CallOptions::default();
    options.idempotency_key = text(headers, "idempotency-key")?.map(str::to_owned);
    if let Some(seconds) = parsed::<u64>(headers, "x-resultity-ttl", "whole seconds from 1 to 86400")? {
        if !(1..=MAX_TTL_SECONDS).contains(&seconds) {
            return Err(wrong("x-resultity-ttl", "whole seconds from 1 to 86400"));
        }
        options.ttl = Some(Duration::from_secs(seconds));
    }
    if let Some(priority) = parsed(headers, "x-resultity-priority", "normal or bulk")? {
        options.priority = priority;
    }
    if let Some(subcloud) = text(headers, SUBCLOUD)? {
        if !is_subcloud_name(subcloud) {
            return Err(wrong(
                SUBCLOUD,
                "the name of a Subcloud: 1 to 40 of a to z, 0 to 9 and -",
            ));
        }
        options.subcloud = Some(subcloud.to_owned());
    }
    Ok(options)
}

/// The idempotency key of a request that may name it in its body as well: one of the two, or the same in both.
pub(super) fn idempotency_key(headers: &HeaderMap, in_body: Option<String>) -> Result<Option<String>, ApiError> {
    let in_header = text(headers, "idempotency-key")?.map(str::to_owned);
    match (in_header, in_body) {
        (Some(header), Some(body)) if header != body => {
            let message = "the header Idempotency-Key and idempotency_key differ: send one of them";
            Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("idempotency_key"))
        }
        (header, body) => Ok(header.or(body)),
    }
}

/// Whether the caller only wants to know what the request would cost.
pub(super) fn is_dry_run(headers: &HeaderMap) -> Result<bool, ApiError> {
    Ok(parsed(headers, "x-resultity-dry-run", "true or false")?.unwrap_or(false))
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
    let Some(text) = text(headers, name)? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| wrong(name, expected))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(name, "to be there once"));
    }
    let text = value.to_str().map_err(|_| wrong(name, "printable ASCII characters"))?;
    Ok(Some(text.trim()))
}

fn wrong(name: &str, expected: &str) -> ApiError {
    let message = format!("the header {name} is wrong: expected {expected}");
    ApiError::new(ErrorCode::InvalidValue, message).with_param(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;
    use resultity_core::job::Priority;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn options_are_read() {
        let headers = headers(&[
            ("idempotency-key", "a b"),
            ("x-resultity-ttl", "30"),
            ("x-resultity-priority", "bulk"),
            ("x-resultity-dry-run", "true"),
            ("x-resultity-subcloud", "my-farm-1"),
        ]);
        let options = read(&headers).unwrap();
        assert_eq!(options.idempotency_key.as_deref(), Some("a b"));
        assert_eq!(
            (options.ttl, options.priority),
            (Some(Duration::from_secs(30)), Priority::Bulk)
        );
        assert_eq!(options.subcloud.as_deref(), Some("my-farm-1"));
        assert!(is_dry_run(&headers).unwrap());
        assert_eq!(read(&HeaderMap::new()).unwrap(), CallOptions::default());
    }

    #[rstest]
    #[case("x-resultity-ttl", "0")]
    #[case("x-resultity-ttl", "1.5")]
    #[case("x-resultity-ttl", "86401")]
    #[case("x-resultity-priority", "urgent")]
    #[case("x-resultity-region", "EU")]
    #[case("x-resultity-subcloud", "")]
    #[case("x-resultity-subcloud", "Mine")]
    #[case("x-resultity-subcloud", "a'; DROP TABLE subclouds; --")]
    fn what_is_wrong_is_named(#[case] name: &'static str, #[case] value: &str) {
        let error = read(&headers(&[(name, value)])).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(name));
    }
}
