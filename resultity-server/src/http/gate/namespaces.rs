//! `/gate/v1/namespaces`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::NamespacesApi;
use resultity_core::error::ApiError;
use resultity_core::id::NamespaceId;

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/namespaces", list)
        .post("/gate/v1/namespaces", create)
        .get("/gate/v1/namespaces/{namespace}", retrieve)
        .post("/gate/v1/namespaces/{namespace}", update)
        .delete("/gate/v1/namespaces/{namespace}", delete)
}

fn id(text: &str) -> Result<NamespaceId, ApiError> {
    named(text, "namespace")
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.namespaces(query::read(&uri)?).await?))
}

async fn create(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_namespace(request).await?))
}

async fn retrieve(Gated(session): Gated, Path(namespace): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let within = query::read(&uri)?;
    Ok(encode(&session.namespace(id(&namespace)?, within).await?))
}

async fn update(
    Gated(session): Gated,
    Path(namespace): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let within = query::read(&uri)?;
    let request = body::json(&headers, body).await?;
    Ok(encode(
        &session.update_namespace(id(&namespace)?, within, request).await?,
    ))
}

async fn delete(Gated(session): Gated, Path(namespace): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let within = query::read(&uri)?;
    Ok(encode(&session.delete_namespace(id(&namespace)?, within).await?))
}
