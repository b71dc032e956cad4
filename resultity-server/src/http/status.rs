//! The Status API: `/status/v1`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use resultity_core::api::cloud::Streamed;
use resultity_core::api::status::StatusApi;
use serde::Serialize;

use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{App, query, sse};
use crate::session::{Part, Picture};

/// All routes.
pub(super) fn routes(table: Table) -> Table {
    table
        .get("/status/v1/network", network)
        .get("/status/v1/models", models)
        .get("/status/v1/regions", regions)
        .get("/status/v1/versions", versions)
        .get("/status/v1/pricing", pricing)
        .get("/status/v1/config", config)
        .get("/status/v1/epochs", epochs)
        .get("/status/v1/events", events)
}

type Shared = State<Arc<App>>;

/// A part of the picture, or 304 where it still says the same.
async fn part<T>(app: &App, uri: &Uri, headers: &HeaderMap, of: fn(&Picture) -> &Part<T>) -> Result<Response, Problem>
where
    T: Serialize + Clone,
{
    let picture = app.status.picture(query::read(uri)?).await?;
    let part = of(&picture);
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim() == part.tag() || tag.trim() == "*");
    let told = [
        (ETAG, part.tag().to_owned()),
        (CACHE_CONTROL, "public, max-age=1, stale-while-revalidate=10".to_owned()),
    ];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, told).into_response());
    }
    let body = part.text(picture.age());
    Ok((told, [(CONTENT_TYPE, "application/json")], body).into_response())
}

async fn network(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.network).await
}

async fn models(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.models).await
}

async fn regions(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.regions).await
}

async fn versions(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.versions).await
}

async fn pricing(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.pricing).await
}

async fn config(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.config).await
}

async fn epochs(State(app): Shared, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    part(&app, &uri, &headers, |picture| &picture.epochs).await
}

async fn events(State(app): Shared, uri: Uri) -> Result<Response, Problem> {
    let events = app.status.events(query::read(&uri)?).await?;
    let stop = app.stop_links.clone();
    // Its connection must not hold a stop up.
    let meta = events.meta().clone();
    let events = events.take_until(async move { stop.cancelled().await });
    Ok(sse::response(Streamed::new(meta, events.boxed())))
}
