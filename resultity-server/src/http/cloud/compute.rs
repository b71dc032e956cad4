//! `/v1/compute`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::compute::ComputeApi;
use resultity_core::compute::ComputeRequest;
use resultity_core::job::Endpoint;

use super::{Keyed, encode, quoted};
use crate::http::body;
use crate::http::problem::Problem;

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: ComputeRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Compute, &request).await? {
        return Ok(quote);
    }
    Ok(encode(&session.compute(request).await?))
}
