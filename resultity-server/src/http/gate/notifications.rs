//! `/gate/v1/notifications`.

use axum::body::Body;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::NotificationsApi;

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/notifications", list)
        .get("/gate/v1/notifications/unread", unread)
        .post("/gate/v1/notifications/read", read)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.notifications(query::read(&uri)?).await?))
}

async fn unread(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.unread_notifications().await?))
}

async fn read(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.read_notifications(request).await?))
}
