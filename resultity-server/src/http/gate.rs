//! The Gate API: `/gate/v1`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use resultity_core::api::gate::{CreditGrant, CreditGranted, GrantApi};

use crate::http::problem::Problem;
use crate::http::{App, auth, body};
use crate::session::AdminSession;

pub(super) async fn grant_credits(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CreditGranted>, Problem> {
    auth::administrator(&app, &headers)?;
    let grant: CreditGrant = body::json(&headers, body).await?;
    let session = AdminSession::new(Arc::clone(&app.flow), app.keys.clone());
    Ok(Json(session.grant_credits(grant).await?))
}
