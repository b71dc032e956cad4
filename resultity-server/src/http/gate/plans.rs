//! `/gate/v1/plans`, `/account/plan`, `/admin/plans`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::PlansApi;

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/plans", list)
        .get("/gate/v1/account/plan", current)
        .post("/gate/v1/account/plan", choose)
        .post("/gate/v1/admin/plans", put)
        .delete("/gate/v1/admin/plans/{plan}", delete)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.plans(query::read(&uri)?).await?))
}

async fn current(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.account_plan(query::read(&uri)?).await?))
}

async fn choose(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.choose_plan(request).await?))
}

async fn put(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.put_plan(request).await?))
}

async fn delete(Gated(session): Gated, Path(plan): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.delete_plan(&plan, query::read(&uri)?).await?))
}
