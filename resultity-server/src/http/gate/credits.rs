//! `/gate/v1/credits`, `/gate/v1/transfers`, `/gate/v1/faucet`, and what a namespace's credits did.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{CreditsApi, NewTransfer};

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, options, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/credits", credits)
        .get("/gate/v1/namespaces/{namespace}/ledger", ledger)
        .get("/gate/v1/namespaces/{namespace}/holds", holds)
        .post("/gate/v1/namespaces/{namespace}/alert", alert)
        .post("/gate/v1/transfers", transfer)
        .post("/gate/v1/faucet", faucet)
}

async fn credits(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.credits(query::read(&uri)?).await?))
}

async fn ledger(Gated(session): Gated, Path(namespace): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let namespace = named(&namespace, "namespace")?;
    Ok(encode(&session.ledger(namespace, query::read(&uri)?).await?))
}

async fn holds(Gated(session): Gated, Path(namespace): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let namespace = named(&namespace, "namespace")?;
    Ok(encode(&session.holds(namespace, query::read(&uri)?).await?))
}

async fn alert(
    Gated(session): Gated,
    Path(namespace): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let namespace = named(&namespace, "namespace")?;
    let request = body::json(&headers, body).await?;
    let set = session.set_credit_alert(namespace, query::read(&uri)?, request).await?;
    Ok(encode(&set))
}

async fn transfer(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let mut request: NewTransfer = body::json(&headers, body).await?;
    request.idempotency_key = options::idempotency_key(&headers, request.idempotency_key.take())?;
    Ok(encode(&session.transfer_credits(request).await?))
}

async fn faucet(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.ask_faucet(request).await?))
}
