//! `/gate/v1/admin/audit`.

use axum::http::Uri;
use axum::response::Response;
use resultity_core::api::gate::AuditApi;

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table.get("/gate/v1/admin/audit", list)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.audit_log(query::read(&uri)?).await?))
}
