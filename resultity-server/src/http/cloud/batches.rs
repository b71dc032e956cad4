//! `/v1/batches`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::batches::BatchesApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::BatchId;

use super::{encode, session};
use crate::http::problem::Problem;
use crate::http::{App, body, query};

/// What is no id names nothing.
fn batch_id(text: &str) -> Result<BatchId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such batch"))
}

pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_batch(request).await?))
}

pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    Ok(encode(&session.batches(query::read(&uri)?).await?))
}

pub(in crate::http) async fn retrieve(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    Ok(encode(&session.batch(batch_id(&id)?).await?))
}

pub(in crate::http) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    Ok(encode(&session.cancel_batch(batch_id(&id)?).await?))
}
