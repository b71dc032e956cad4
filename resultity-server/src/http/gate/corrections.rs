//! `/gate/v1/admin/corrections`, and the ledger of any namespace.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{CorrectionsApi, NewCorrection};

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, options, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .post("/gate/v1/admin/corrections", correct)
        .get("/gate/v1/admin/namespaces/{namespace}/ledger", ledger)
}

async fn correct(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: NewCorrection = body::json(&headers, body).await?;
    request.idempotency_key = options::idempotency_key(&headers, request.idempotency_key.take())?;
    Ok(encode(&session.correct(request).await?))
}

async fn ledger(Gated(session): Gated, Path(namespace): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let namespace = named(&namespace, "namespace")?;
    Ok(encode(&session.ledger_of(namespace, query::read(&uri)?).await?))
}
