//! The headers of answers.

use resultity_core::limits::RateLimits;
use utoipa::openapi::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};

/// The headers of answers.
pub(super) fn all() -> Vec<(&'static str, utoipa::openapi::Header)> {
    let whole = "What may be asked for at once when nothing was for a while.";
    let left = "What is left of it.";
    let reset = "When all of it is there again, such as `1s`, `6m0s`, `20ms`.";
    let [
        limit_requests,
        remaining_requests,
        reset_requests,
        limit_tokens,
        remaining_tokens,
        reset_tokens,
    ] = RateLimits::HEADERS;
    [
        (
            "x-request-id",
            Type::String,
            "Names the request in logs and to support.",
        ),
        ("openai-processing-ms", Type::Integer, "How long it took: milliseconds."),
        ("x-resultity-job-id", Type::String, "The job that made the answer."),
        (
            "x-resultity-cost",
            Type::String,
            "What it cost, in credits. Not known yet when a stream begins.",
        ),
        (
            "x-resultity-replayed",
            Type::Boolean,
            "There if this is the first outcome of the idempotency key, given again: nothing was run or charged.",
        ),
        (
            "retry-after",
            Type::Integer,
            "When a repeat may succeed: whole seconds.",
        ),
        (limit_requests, Type::Integer, whole),
        (remaining_requests, Type::Integer, left),
        (reset_requests, Type::String, reset),
        (limit_tokens, Type::Integer, whole),
        (remaining_tokens, Type::Integer, left),
        (reset_tokens, Type::String, reset),
    ]
    .into_iter()
    .map(|(name, kind, description)| {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind)))
            .description(Some(description))
            .build();
        (name, header)
    })
    .collect()
}
