//! `/gate/v1/account/totp` and `/gate/v1/account/recovery-codes`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::gate::SecondFactorApi;

use super::{Gated, encode};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/account/totp", retrieve)
        .post("/gate/v1/account/totp", set_up)
        .delete("/gate/v1/account/totp", remove)
        .post("/gate/v1/account/totp/confirm", confirm)
        .post("/gate/v1/account/recovery-codes", renew)
}

async fn retrieve(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.second_factor().await?))
}

async fn set_up(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.set_up_totp().await?))
}

async fn confirm(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.confirm_totp(request).await?))
}

async fn remove(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let proof = body::json(&headers, body).await?;
    Ok(encode(&session.remove_totp(proof).await?))
}

async fn renew(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let proof = body::json(&headers, body).await?;
    Ok(encode(&session.renew_recovery_codes(proof).await?))
}
