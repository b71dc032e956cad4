//! `/v1/models`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::cloud::ModelsApi;

use super::{encode, session};
use crate::http::App;
use crate::http::problem::Problem;

pub(in crate::http) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    Ok(encode(&session(&app, &headers).await?.models().await?))
}

pub(in crate::http) async fn retrieve(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(encode(&session(&app, &headers).await?.model(&id).await?))
}
