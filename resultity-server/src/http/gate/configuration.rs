//! `/gate/v1/config`, `/gate/v1/admin/snapshots`, `/gate/v1/admin/models`, `/gate/v1/admin/network-key`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{
    ApproveModel, ConfigurationApi, DeprecateModel, DiffSnapshots, PriceModel, PublishSnapshot, RollBackSnapshot,
};
use resultity_core::error::{ApiError, ErrorCode};

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/config", config)
        .get("/gate/v1/admin/snapshots", list)
        .post("/gate/v1/admin/snapshots", publish)
        .post("/gate/v1/admin/snapshots/diff", diff)
        .post("/gate/v1/admin/snapshots/rollback", roll_back)
        .get("/gate/v1/admin/snapshots/{version}", retrieve)
        .post("/gate/v1/admin/models", approve)
        .post("/gate/v1/admin/models/{model}/deprecate", deprecate)
        .post("/gate/v1/admin/models/{model}/price", price)
        .post("/gate/v1/admin/network-key/rotate", rotate)
}

async fn config(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.config(query::read(&uri)?).await?))
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.snapshots(query::read(&uri)?).await?))
}

async fn retrieve(Gated(session): Gated, Path(version): Path<String>, uri: Uri) -> Result<Response, Problem> {
    // What is no number is no version either.
    let version = version.parse();
    let version = version.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such version"))?;
    Ok(encode(&session.snapshot(version, query::read(&uri)?).await?))
}

async fn publish(Gated(session): Gated, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: PublishSnapshot = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.publish_snapshot(request).await?))
}

async fn diff(Gated(session): Gated, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: DiffSnapshots = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.diff_snapshots(request).await?))
}

async fn roll_back(Gated(session): Gated, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: RollBackSnapshot = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.roll_back_snapshot(request).await?))
}

async fn approve(Gated(session): Gated, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: ApproveModel = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.approve_model(request).await?))
}

async fn deprecate(
    Gated(session): Gated,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut request: DeprecateModel = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.deprecate_model(&model, request).await?))
}

async fn price(
    Gated(session): Gated,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut request: PriceModel = body::json(&headers, body).await?;
    request.environment = query::environment(&uri, request.environment)?;
    Ok(encode(&session.price_model(&model, request).await?))
}

async fn rotate(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.rotate_network_key(request).await?))
}
