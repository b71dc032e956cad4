//! `/v1/embeddings`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::embeddings::EmbeddingsApi;
use resultity_core::job::Endpoint;
use resultity_core::openai::embedding::EmbeddingRequest;

use super::{encode, quoted, session};
use crate::http::problem::Problem;
use crate::http::{App, body};

pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    let request: EmbeddingRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Embeddings, &request).await? {
        return Ok(quote);
    }
    Ok(encode(&session.embed(request).await?))
}
