//! `/gate/v1/admin/accounts`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{AdminAccountsApi, PlansApi};

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/admin/accounts", list)
        .get("/gate/v1/admin/accounts/{account}", retrieve)
        .post("/gate/v1/admin/accounts/{account}", change)
        .post("/gate/v1/admin/accounts/{account}/plan", give_plan)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.accounts(query::read(&uri)?).await?))
}

async fn retrieve(Gated(session): Gated, Path(account): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.account_of(named(&account, "account")?).await?))
}

async fn change(
    Gated(session): Gated,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    let account = named(&account, "account")?;
    Ok(encode(&session.change_account(account, request).await?))
}

async fn give_plan(
    Gated(session): Gated,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    let account = named(&account, "account")?;
    Ok(encode(&session.give_plan(account, request).await?))
}
