//! `/gate/v1/admin/credits`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::gate::GrantApi;

use super::{Gated, encode};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table.post("/gate/v1/admin/credits", grant)
}

async fn grant(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let grant = body::json(&headers, body).await?;
    Ok(encode(&session.grant_credits(grant).await?))
}
