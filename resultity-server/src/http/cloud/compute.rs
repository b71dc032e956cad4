//! `/v1/compute`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::compute::ComputeApi;
use resultity_core::compute::ComputeRequest;
use resultity_core::job::Endpoint;

use super::{encode, quoted, session};
use crate::http::problem::Problem;
use crate::http::{App, body};

pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    let request: ComputeRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Compute, &request).await? {
        return Ok(quote);
    }
    Ok(encode(&session.compute(request).await?))
}
