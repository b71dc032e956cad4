//! `/gate/v1/subclouds` and `/gate/v1/nodes/{node}/subclouds`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::SubcloudsApi;

use super::nodes::node_id;
use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/subclouds", list)
        .post("/gate/v1/subclouds", create)
        .get("/gate/v1/subclouds/{subcloud}", retrieve)
        .post("/gate/v1/subclouds/{subcloud}", update)
        .delete("/gate/v1/subclouds/{subcloud}", delete)
        .post("/gate/v1/subclouds/{subcloud}/token", rotate)
        .get("/gate/v1/subclouds/{subcloud}/nodes", nodes)
        .delete("/gate/v1/subclouds/{subcloud}/nodes/{node}", remove)
        .get("/gate/v1/nodes/{node}/subclouds", of_node)
        .post("/gate/v1/nodes/{node}/subclouds", join)
        .delete("/gate/v1/nodes/{node}/subclouds/{subcloud}", leave)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.subclouds(query::read(&uri)?).await?))
}

async fn create(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_subcloud(request).await?))
}

async fn retrieve(Gated(session): Gated, Path(subcloud): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.subcloud(&subcloud, query::read(&uri)?).await?))
}

async fn update(
    Gated(session): Gated,
    Path(subcloud): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let place = query::read(&uri)?;
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.update_subcloud(&subcloud, place, request).await?))
}

async fn delete(Gated(session): Gated, Path(subcloud): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.delete_subcloud(&subcloud, query::read(&uri)?).await?))
}

async fn rotate(Gated(session): Gated, Path(subcloud): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let place = query::read(&uri)?;
    Ok(encode(&session.rotate_subcloud_token(&subcloud, place).await?))
}

async fn nodes(Gated(session): Gated, Path(subcloud): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.subcloud_nodes(&subcloud, query::read(&uri)?).await?))
}

async fn remove(
    Gated(session): Gated,
    Path((subcloud, node)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.remove_subcloud_node(&subcloud, node, place).await?))
}

async fn of_node(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.node_subclouds(node, place).await?))
}

async fn join(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.join_subcloud(node, place, request).await?))
}

async fn leave(
    Gated(session): Gated,
    Path((node, subcloud)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.leave_subcloud(node, &subcloud, place).await?))
}
