//! Which browsers may call the Cloud API, and what they may send and read.

use std::time::Duration;

use axum::http::header::{ALLOW, CONTENT_DISPOSITION, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use resultity_core::limits::RateLimits;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::cloud::{COST, JOB_ID, REPLAYED};

/// Any page may call: a key is needed all the same, and no cookie counts here.
///
/// Headers are allowed by name, since `*` leaves out `authorization`: those that the preflight asks for, because the
/// SDKs' own (`x-stainless-*`) differ from one to the next, and none means anything that a page should not say.
pub(super) fn layer() -> CorsLayer {
    let exposed = [
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("openai-processing-ms"),
        HeaderName::from_static("x-should-retry"),
        ALLOW,
        CONTENT_DISPOSITION,
        RETRY_AFTER,
        JOB_ID,
        COST,
        REPLAYED,
    ];
    let rate_limits = RateLimits::HEADERS.map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.into_iter().chain(rate_limits).collect::<Vec<_>>())
        .max_age(Duration::from_hours(1))
}
