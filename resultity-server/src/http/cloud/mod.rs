//! The Cloud API: `/v1`. One file a noun; here is what they share.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use resultity_core::api::cloud::{Reply, ReplyMeta};
use serde::Serialize;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::problem::Problem;
use crate::http::{App, auth};
use crate::session::CloudSession;

pub(super) mod chat;
pub(super) mod models;

const JOB_ID: HeaderName = HeaderName::from_static("x-resultity-job-id");
const COST: HeaderName = HeaderName::from_static("x-resultity-cost");

/// A session of the holder of the key that came with the request.
async fn session(app: &Arc<App>, headers: &HeaderMap) -> Result<CloudSession, Problem> {
    let principal = auth::principal(app, headers).await?;
    Ok(CloudSession::new(Arc::clone(&app.flow), principal))
}

fn encode<T: Serialize>(reply: &Reply<T>) -> Response {
    let mut response = axum::Json(&reply.body).into_response();
    describe(&mut response, &reply.meta);
    response
}

/// What is said beside the answer.
fn describe(response: &mut Response, meta: &ReplyMeta) {
    let mut set = |name, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(job) = meta.job_id {
        set(JOB_ID, job.to_string());
    }
    if let Some(cost) = meta.cost {
        set(COST, cost.to_string());
    }
}

/// Browsers may call from anywhere: a key is needed all the same, and no cookie counts here.
pub(super) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::GET, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static("x-request-id"), JOB_ID, COST])
        .max_age(Duration::from_hours(1))
}
