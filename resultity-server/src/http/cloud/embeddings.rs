//! `/v1/embeddings`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::embeddings::EmbeddingsApi;
use resultity_core::job::Endpoint;
use resultity_core::openai::embedding::EmbeddingRequest;

use super::{Keyed, encode, quoted};
use crate::http::body;
use crate::http::problem::Problem;

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: EmbeddingRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Embeddings, &request).await? {
        return Ok(quote);
    }
    Ok(encode(&session.embed(request).await?))
}
