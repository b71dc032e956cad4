//! Signing up and in with e-mail and password.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::SignInApi;

use super::{Door, done, encode, signed_in};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table
        .post("/gate/v1/sign-up", sign_up)
        .post("/gate/v1/sign-up/confirm", confirm_sign_up)
        .post("/gate/v1/sign-in", sign_in)
        .post("/gate/v1/password/reset", reset)
        .post("/gate/v1/password/reset/confirm", confirm_reset)
}

async fn sign_up(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    let sent = door.sign_up(request).await?;
    Ok((StatusCode::ACCEPTED, encode(&sent)).into_response())
}

async fn confirm_sign_up(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(signed_in(&headers, door.confirm_sign_up(request).await?))
}

async fn sign_in(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(signed_in(&headers, door.sign_in(request).await?))
}

async fn reset(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    let sent = door.reset_password(request).await?;
    Ok((StatusCode::ACCEPTED, encode(&sent)).into_response())
}

async fn confirm_reset(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    door.confirm_reset(request).await?;
    Ok(done())
}
