//! `/gate/v1/vouchers` and `/gate/v1/admin/vouchers`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::VouchersApi;

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .post("/gate/v1/vouchers/redeem", redeem)
        .get("/gate/v1/admin/vouchers", list)
        .post("/gate/v1/admin/vouchers", create)
        .delete("/gate/v1/admin/vouchers/{voucher}", revoke)
}

async fn redeem(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.redeem_voucher(request).await?))
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.vouchers(query::read(&uri)?).await?))
}

async fn create(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_voucher(request).await?))
}

async fn revoke(Gated(session): Gated, Path(voucher): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let voucher = named(&voucher, "voucher")?;
    Ok(encode(&session.revoke_voucher(voucher, query::read(&uri)?).await?))
}
