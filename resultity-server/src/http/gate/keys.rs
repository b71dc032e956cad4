//! `/gate/v1/keys`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::KeysApi;
use resultity_core::error::ApiError;
use resultity_core::id::KeyId;

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query, usage_table};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/keys", list)
        .post("/gate/v1/keys", create)
        .get("/gate/v1/keys/{key}", retrieve)
        .post("/gate/v1/keys/{key}", update)
        .delete("/gate/v1/keys/{key}", revoke)
        .post("/gate/v1/keys/{key}/rotate", rotate)
        .get("/gate/v1/keys/{key}/usage", usage)
}

fn id(text: &str) -> Result<KeyId, ApiError> {
    named(text, "key")
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.keys(query::read(&uri)?).await?))
}

async fn create(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json_or_default(&headers, body).await?;
    Ok(encode(&session.create_key(request).await?))
}

async fn retrieve(Gated(session): Gated, Path(key): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.key(id(&key)?, query::read(&uri)?).await?))
}

async fn update(
    Gated(session): Gated,
    Path(key): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let within = query::read(&uri)?;
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.update_key(id(&key)?, within, request).await?))
}

async fn revoke(Gated(session): Gated, Path(key): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.revoke_key(id(&key)?, query::read(&uri)?).await?))
}

async fn rotate(
    Gated(session): Gated,
    Path(key): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let within = query::read(&uri)?;
    let request = body::json_or_default(&headers, body).await?;
    Ok(encode(&session.rotate_key(id(&key)?, within, request).await?))
}

async fn usage(Gated(session): Gated, Path(key): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let is_table = usage_table::is_asked(&uri)?;
    let report = session
        .key_usage(id(&key)?, query::read(&uri)?, query::read(&uri)?)
        .await?;
    Ok(if is_table {
        usage_table::written(&report)?
    } else {
        encode(&report)
    })
}
