//! `/gate/v1/admin/credits`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::gate::{CreditGrant, GrantApi};

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, options};

pub(super) fn routes(table: Table) -> Table {
    table.post("/gate/v1/admin/credits", grant)
}

async fn grant(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut grant: CreditGrant = body::json(&headers, body).await?;
    grant.idempotency_key = options::idempotency_key(&headers, grant.idempotency_key.take())?;
    Ok(encode(&session.grant_credits(grant).await?))
}
