//! `/gate/v1/admin/nodes` and `/gate/v1/admin/appeals`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{AdminNodesApi, NodeFlag};

use super::nodes::{node_id, penalty_id};
use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/admin/nodes", list)
        .get("/gate/v1/admin/nodes/{node}", retrieve)
        .post("/gate/v1/admin/nodes/{node}/flags", flag)
        .delete("/gate/v1/admin/nodes/{node}/flags/{flag}", unflag)
        .get("/gate/v1/admin/nodes/{node}/logs", logs)
        .get("/gate/v1/admin/nodes/{node}/checks", checks)
        .get("/gate/v1/admin/nodes/{node}/penalties", penalties)
        .post("/gate/v1/admin/nodes/{node}/penalties", penalise)
        .post("/gate/v1/admin/pseudonyms", resolve)
        .get("/gate/v1/admin/appeals", appeals)
        .post("/gate/v1/admin/appeals/{penalty}", decide)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.admin_nodes(query::read(&uri)?).await?))
}

async fn retrieve(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.admin_node(node_id(&node)?, query::read(&uri)?).await?))
}

async fn flag(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.flag_node(node, place, request).await?))
}

async fn unflag(
    Gated(session): Gated,
    Path((node, flag)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let flag: NodeFlag = named(&flag, "flag")?;
    let (node, query) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.unflag_node(node, flag, query).await?))
}

async fn logs(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(
        &session.admin_node_logs(node_id(&node)?, query::read(&uri)?).await?,
    ))
}

async fn checks(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let (node, query) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.node_checks(node, query).await?))
}

async fn penalties(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let (node, query) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.admin_penalties(node, query).await?))
}

async fn penalise(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.penalise_node(node, place, request).await?))
}

async fn resolve(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.resolve_pseudonym(request).await?))
}

async fn appeals(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.appeals(query::read(&uri)?).await?))
}

async fn decide(
    Gated(session): Gated,
    Path(penalty): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let penalty = penalty_id(&penalty)?;
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.decide_appeal(penalty, request).await?))
}
