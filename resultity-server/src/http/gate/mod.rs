//! The Gate API: `/gate/v1`. One file a resource, each with its routes; here is who calls.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::SignedIn;
use resultity_core::error::{ApiError, ErrorCode};
use serde::Serialize;

use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{App, Peer, auth, client_address, cookie};
use crate::session::{GateDoor, GateSession};

mod account;
mod admin_accounts;
mod admin_nodes;
mod audit;
mod configuration;
mod corrections;
mod credits;
mod grant;
mod keys;
mod logins;
mod namespaces;
mod nodes;
mod notifications;
mod operations;
mod payments;
mod plans;
mod reports;
mod second_factor;
mod sign_in;
mod subclouds;
mod tokens;
mod vouchers;
mod wallets;

/// All routes.
pub(super) fn routes(table: Table) -> Table {
    let parts = [
        plans::routes,
        operations::routes,
        notifications::routes,
        audit::routes,
        admin_accounts::routes,
        account::routes,
        configuration::routes,
        admin_nodes::routes,
        corrections::routes,
        credits::routes,
        payments::routes,
        reports::routes,
        vouchers::routes,
        grant::routes,
        nodes::routes,
        keys::routes,
        logins::routes,
        namespaces::routes,
        second_factor::routes,
        sign_in::routes,
        subclouds::routes,
        tokens::routes,
        wallets::routes,
    ];
    parts.into_iter().fold(table, |table, add| add(table))
}

/// Where everything is for administrators.
const ADMINISTRATION: &str = "/gate/v1/admin/";

/// The session of whoever calls, who was checked.
pub(super) struct Gated(pub(super) GateSession);

impl FromRequestParts<Arc<App>> for Gated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = auth::caller(app, parts).await?;
        let session = GateSession::new(Arc::clone(&app.gate), caller);
        if parts.uri.path().starts_with(ADMINISTRATION) {
            // Before a body is read of whoever may do nothing here. What decides is asked by the session itself, again.
            session.check_administrator()?;
        }
        Ok(Self(session))
    }
}

/// The way in for whoever has not signed in.
pub(crate) struct Door(pub(crate) GateDoor);

impl FromRequestParts<Arc<App>> for Door {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.unwrap_or_default().chars().take(200).collect();
        let address = client_address::of(app, peer(parts), &parts.headers);
        Ok(Self(GateDoor::new(Arc::clone(&app.gate), address, agent)))
    }
}

/// Who is at the other end of the connection.
pub(super) fn peer(parts: &Parts) -> Peer {
    let unknown = Peer(std::net::SocketAddr::from(([0, 0, 0, 0], 0)));
    parts.extensions.get::<Peer>().copied().unwrap_or(unknown)
}

/// An answer as JSON.
fn encode<T: Serialize>(body: &T) -> Response {
    axum::Json(body).into_response()
}

/// That it is done, when there is nothing more to say: 204.
fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Somebody has signed in: the token of a browser goes into its cookie, and nowhere else.
fn signed_in(request: &HeaderMap, mut signed: SignedIn) -> Response {
    if signed.csrf_token.is_none() {
        return encode(&signed);
    }
    let token = signed.token.take();
    let mut response = encode(&signed);
    cookie::set(&mut response, request, token.as_deref());
    response
}

/// What is no id names nothing.
fn named<I: FromStr>(text: &str, what: &str) -> Result<I, ApiError> {
    let missing = |_| ApiError::new(ErrorCode::NotFound, format!("there is no such {what}"));
    text.parse().map_err(missing)
}
