//! `/gate/v1/tokens`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::TokensApi;

use super::{Gated, done, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/tokens", list)
        .post("/gate/v1/tokens", create)
        .delete("/gate/v1/tokens/{token}", delete)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.tokens(query::read(&uri)?).await?))
}

async fn create(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_token(request).await?))
}

async fn delete(Gated(session): Gated, Path(token): Path<String>) -> Result<Response, Problem> {
    session.delete_token(named(&token, "access token")?).await?;
    Ok(done())
}
