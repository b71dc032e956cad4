//! The Cloud API: `/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use resultity_core::api::cloud::{ChatApi, ModelsApi, Reply, ReplyMeta};
use resultity_core::openai::chat::ChatRequest;
use serde::Serialize;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::problem::Problem;
use crate::http::{App, auth, body, sse};
use crate::session::CloudSession;

const JOB_ID: HeaderName = HeaderName::from_static("x-resultity-job-id");
const COST: HeaderName = HeaderName::from_static("x-resultity-cost");

async fn session(app: &Arc<App>, headers: &HeaderMap) -> Result<CloudSession, Problem> {
    let principal = auth::principal(app, headers).await?;
    Ok(CloudSession::new(Arc::clone(&app.flow), principal))
}

pub(super) async fn chat_completions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    let request: ChatRequest = body::json(&headers, body).await?;
    if request.is_stream() {
        let stream = session.chat_stream(request).await?;
        let meta = stream.meta().clone();
        let mut response = sse::response(stream);
        describe(&mut response, &meta);
        return Ok(response);
    }
    Ok(encode(&session.chat(request).await?))
}

pub(super) async fn models(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    Ok(encode(&session(&app, &headers).await?.models().await?))
}

pub(super) async fn model(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(encode(&session(&app, &headers).await?.model(&id).await?))
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
