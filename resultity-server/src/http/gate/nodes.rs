//! `/gate/v1/nodes`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::NodesApi;
use resultity_core::error::ApiError;
use resultity_core::id::{NodeId, PenaltyId};

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .post("/gate/v1/nodes/codes", create_code)
        .post("/gate/v1/nodes/bind/challenge", ask_binding)
        .post("/gate/v1/nodes/bind", bind)
        .get("/gate/v1/nodes", list)
        .get("/gate/v1/nodes/{node}", retrieve)
        .post("/gate/v1/nodes/{node}", update)
        .delete("/gate/v1/nodes/{node}", unbind)
        .post("/gate/v1/nodes/{node}/control", control)
        .get("/gate/v1/nodes/{node}/why", why)
        .get("/gate/v1/nodes/{node}/jobs", jobs)
        .get("/gate/v1/nodes/{node}/logs", logs)
        .get("/gate/v1/nodes/{node}/earnings", earnings)
        .post("/gate/v1/nodes/{node}/payout", pay_out)
        .get("/gate/v1/nodes/{node}/penalties", penalties)
        .post("/gate/v1/nodes/{node}/penalties/{penalty}/appeal", appeal)
}

/// What is no id of a node is no node.
pub(super) fn node_id(text: &str) -> Result<NodeId, ApiError> {
    named(text, "node")
}

pub(super) fn penalty_id(text: &str) -> Result<PenaltyId, ApiError> {
    named(text, "penalty")
}

async fn create_code(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json_or_default(&headers, body).await?;
    Ok(encode(&session.create_join_code(request).await?))
}

async fn ask_binding(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.ask_binding(request).await?))
}

async fn bind(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.bind_node(request).await?))
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.nodes(query::read(&uri)?).await?))
}

async fn retrieve(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.node(node_id(&node)?, query::read(&uri)?).await?))
}

async fn update(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.update_node(node, place, request).await?))
}

async fn unbind(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.unbind_node(node_id(&node)?, query::read(&uri)?).await?))
}

async fn control(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.control_node(node, place, request).await?))
}

async fn why(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.why_node(node_id(&node)?, query::read(&uri)?).await?))
}

async fn jobs(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.node_jobs(node_id(&node)?, query::read(&uri)?).await?))
}

async fn logs(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.node_logs(node_id(&node)?, query::read(&uri)?).await?))
}

async fn earnings(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let (node, query) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.node_earnings(node, query).await?))
}

async fn pay_out(
    Gated(session): Gated,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, place) = (node_id(&node)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.pay_out_node(node, place, request).await?))
}

async fn penalties(Gated(session): Gated, Path(node): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let (node, query) = (node_id(&node)?, query::read(&uri)?);
    Ok(encode(&session.node_penalties(node, query).await?))
}

async fn appeal(
    Gated(session): Gated,
    Path((node, penalty)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (node, penalty, place) = (node_id(&node)?, penalty_id(&penalty)?, query::read(&uri)?);
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.appeal_penalty(node, penalty, place, request).await?))
}
