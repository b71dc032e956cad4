//! The Gate API: `/gate/v1`. One file a resource, each with its routes; here is who calls.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{App, Peer, auth, client_address};
use crate::session::{GateDoor, GateSession};

mod grant;

/// All routes.
pub(super) fn routes(table: Table) -> Table {
    let parts = [grant::routes];
    parts.into_iter().fold(table, |table, add| add(table))
}

/// The session of whoever calls, who was checked.
pub(super) struct Gated(pub(super) GateSession);

impl FromRequestParts<Arc<App>> for Gated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = auth::caller(app, parts).await?;
        Ok(Self(GateSession::new(Arc::clone(&app.gate), caller)))
    }
}

/// The way in for whoever has not signed in.
pub(super) struct Door(pub(super) GateDoor);

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
