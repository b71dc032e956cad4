//! `/gate/v1/session` and `/gate/v1/sessions`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{LoginsApi, Session};

use super::{Gated, done, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, cookie, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/session", retrieve)
        .post("/gate/v1/session", switch)
        .delete("/gate/v1/session", sign_out)
        .get("/gate/v1/sessions", list)
        .delete("/gate/v1/sessions", end_others)
        .delete("/gate/v1/sessions/{session}", end)
}

async fn retrieve(Gated(session): Gated, headers: HeaderMap) -> Result<Response, Problem> {
    Ok(shown(&headers, session.session().await?))
}

async fn switch(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(shown(&headers, session.switch_environment(request).await?))
}

async fn sign_out(Gated(session): Gated, headers: HeaderMap) -> Result<Response, Problem> {
    session.sign_out().await?;
    let mut response = done();
    if cookie::token(&headers).is_some() {
        cookie::set(&mut response, &headers, None);
    }
    Ok(response)
}

async fn list(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.logins(query::read(&uri)?).await?))
}

async fn end(Gated(session): Gated, Path(login): Path<String>) -> Result<Response, Problem> {
    session.end_login(named(&login, "session")?).await?;
    Ok(done())
}

async fn end_others(Gated(session): Gated) -> Result<Response, Problem> {
    Ok(encode(&session.end_other_logins().await?))
}

/// A page that was loaded anew asks here what it has to send.
fn shown(headers: &HeaderMap, mut session: Session) -> Response {
    if session.login.is_some() {
        session.csrf_token = cookie::csrf_of(headers);
    }
    encode(&session)
}
