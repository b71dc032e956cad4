//! `/v1/models`.

use axum::extract::Path;
use axum::response::Response;
use resultity_core::api::cloud::ModelsApi;

use super::{Keyed, encode};
use crate::http::problem::Problem;

pub(in crate::http) async fn list(Keyed(session): Keyed) -> Result<Response, Problem> {
    Ok(encode(&session.models().await?))
}

pub(in crate::http) async fn retrieve(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.model(&id).await?))
}
