//! The Cloud API: `/v1`. One file a noun; here is what they share.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;
use serde::Serialize;

use crate::http::problem::{self, Problem};
use crate::http::{App, auth, options};
use crate::session::CloudSession;

pub(super) mod batches;
pub(super) mod chat;
pub(super) mod completions;
pub(super) mod compute;
pub(super) mod embeddings;
pub(super) mod files;
pub(super) mod jobs;
pub(super) mod models;
pub(super) mod responses;
pub(super) mod usage;
pub(super) mod webhooks;

pub(super) const JOB_ID: HeaderName = HeaderName::from_static("x-resultity-job-id");
pub(super) const COST: HeaderName = HeaderName::from_static("x-resultity-cost");
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("x-resultity-replayed");

/// A session of the holder of the key that came with the request.
pub(in crate::http) struct Keyed(CloudSession);

impl FromRequestParts<Arc<App>> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let (principal, flow) = auth::principal(app, parts).await?;
        let session = CloudSession::new(Arc::clone(flow), Arc::clone(&app.limits), principal);
        Ok(Self(session.with_options(options::read(&parts.headers)?)))
    }
}

/// The answer to `x-resultity-dry-run: true`; none if the request is to be run.
async fn quoted(
    session: &CloudSession,
    headers: &HeaderMap,
    endpoint: Endpoint,
    request: &impl Serialize,
) -> Result<Option<Response>, Problem> {
    if !options::is_dry_run(headers)? {
        return Ok(None);
    }
    let request = JobRequest::new(endpoint, request)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the request could not be read").with_source(error))?;
    Ok(Some(encode(&session.quote(request).await?)))
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
    if meta.replayed {
        set(REPLAYED, "true".into());
    }
    if let Some(rate) = &meta.rate {
        problem::describe_rate_limits(response.headers_mut(), rate);
    }
}
