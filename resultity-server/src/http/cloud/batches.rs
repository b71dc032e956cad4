//! `/v1/batches`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::batches::BatchesApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::BatchId;

use super::{Keyed, encode};
use crate::http::problem::Problem;
use crate::http::{body, query};

/// What is no id names nothing.
fn batch_id(text: &str) -> Result<BatchId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such batch"))
}

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_batch(request).await?))
}

pub(in crate::http) async fn list(Keyed(session): Keyed, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.batches(query::read(&uri)?).await?))
}

pub(in crate::http) async fn retrieve(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.batch(batch_id(&id)?).await?))
}

pub(in crate::http) async fn cancel(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.cancel_batch(batch_id(&id)?).await?))
}
