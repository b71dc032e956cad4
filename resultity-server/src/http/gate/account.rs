//! `/gate/v1/account`.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::AccountApi;

use super::{Gated, done, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/account", retrieve)
        .post("/gate/v1/account", update)
        .post("/gate/v1/account/password", change_password)
        .post("/gate/v1/account/email", change_email)
        .delete("/gate/v1/account/email", remove_email)
        .post("/gate/v1/account/email/confirm", confirm_email)
        .get("/gate/v1/account/sign-ins", sign_ins)
}

async fn retrieve(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.own_account().await?))
}

async fn update(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.update_account(request).await?))
}

async fn change_password(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    session.change_password(request).await?;
    Ok(done())
}

async fn change_email(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    let sent = session.change_email(request).await?;
    Ok((StatusCode::ACCEPTED, encode(&sent)).into_response())
}

async fn confirm_email(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.confirm_email(request).await?))
}

async fn remove_email(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.remove_email().await?))
}

async fn sign_ins(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.sign_ins(query::read(&uri)?).await?))
}
