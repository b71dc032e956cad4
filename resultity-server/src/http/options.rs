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

/// Where the node should be.
const REGION: &str = "x-resultity-region";

/// Whether it must be there.
const REGION_REQUIRED: &str = "x-resultity-region-required";

/// The node's GPU.
const GPU: &str = "x-resultity-gpu";

/// Its memory.
const GPU_MEMORY: &str = "x-resultity-gpu-memory";

/// The most memory of a GPU that can be asked for: GiB.
const MAX_GPU_MEMORY: u32 = 4096;

/// The same, for errors.
const GPU_MEMORY_RANGE: &str = "whole GiB from 1 to 4096";

/// The options of a request.
pub(super) fn read(headers: &HeaderMap) -> Result<CallOptions, ApiError> {
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
    if let Some(region) = text(headers, REGION)? {
        if !is_region(region) {
            return Err(wrong(REGION, "1 to 32 letters, digits and -, such as EU"));
        }
        options.region = Some(region.to_owned());
    }
    if let Some(is_required) = parsed(headers, REGION_REQUIRED, "true or false")? {
        if options.region.is_none() {
            return Err(wrong(REGION_REQUIRED, "x-resultity-region beside it"));
        }
        options.region_required = is_required;
    }
    if let Some(gpu) = text(headers, GPU)? {
        if !is_gpu(gpu) {
            return Err(wrong(
                GPU,
                "words of a GPU's name: 1 to 64 letters, digits, spaces and -",
            ));
        }
        options.gpu = Some(gpu.to_owned());
    }
    if let Some(memory) = parsed::<u32>(headers, GPU_MEMORY, GPU_MEMORY_RANGE)? {
        if !(1..=MAX_GPU_MEMORY).contains(&memory) {
            return Err(wrong(GPU_MEMORY, GPU_MEMORY_RANGE));
        }
        options.gpu_memory_gib = Some(memory);
    }
    Ok(options)
}

/// Whether nodes could say that they are there.
fn is_region(region: &str) -> bool {
    (1..=32).contains(&region.len()) && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_gpu(gpu: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ' || byte == b'-';
    (1..=64).contains(&gpu.len()) && gpu.bytes().all(is_good)
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
            ("x-resultity-region", "eu"),
            ("x-resultity-region-required", "true"),
            ("x-resultity-gpu", "RTX 4090"),
            ("x-resultity-gpu-memory", "24"),
        ]);
        let options = read(&headers).unwrap();
        assert_eq!(options.idempotency_key.as_deref(), Some("a b"));
        assert_eq!(
            (options.ttl, options.priority),
            (Some(Duration::from_secs(30)), Priority::Bulk)
        );
        assert_eq!(options.subcloud.as_deref(), Some("my-farm-1"));
        assert_eq!((options.region.as_deref(), options.region_required), (Some("eu"), true));
        assert_eq!(
            (options.gpu.as_deref(), options.gpu_memory_gib),
            (Some("RTX 4090"), Some(24))
        );
        assert!(is_dry_run(&headers).unwrap());
        assert_eq!(read(&HeaderMap::new()).unwrap(), CallOptions::default());
    }

    #[rstest]
    #[case("x-resultity-ttl", "0")]
    #[case("x-resultity-ttl", "1.5")]
    #[case("x-resultity-ttl", "86401")]
    #[case("x-resultity-priority", "urgent")]
    #[case("x-resultity-region", "")]
    #[case("x-resultity-region", "Europe, or so")]
    #[case("x-resultity-region-required", "true")]
    #[case("x-resultity-region-required", "perhaps")]
    #[case("x-resultity-gpu", "")]
    #[case("x-resultity-gpu", "rtx;4090")]
    #[case("x-resultity-gpu-memory", "0")]
    #[case("x-resultity-gpu-memory", "24GB")]
    #[case("x-resultity-gpu-memory", "4097")]
    #[case("x-resultity-subcloud", "")]
    #[case("x-resultity-subcloud", "Mine")]
    #[case("x-resultity-subcloud", "a'; DROP TABLE subclouds; --")]
    fn what_is_wrong_is_named(#[case] name: &'static str, #[case] value: &str) {
        let error = read(&headers(&[(name, value)])).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(name));
    }
}
