//! The IO API: `/io/v1`, for nodes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::InEnvironment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::wire::{MAX_FRAME_BYTES, SUBPROTOCOL};

use crate::flow::Flow;
use crate::http::problem::Problem;
use crate::http::{App, Peer, query};
use crate::link;

/// The flow of the environment that the query names; the server's first if it names none.
fn flow_of<'a>(app: &'a App, uri: &Uri) -> Result<&'a Arc<Flow>, ApiError> {
    let asked: InEnvironment = query::read(uri)?;
    let Some(environment) = asked.environment else {
        return Ok(app.flow());
    };
    app.flows.get(environment).ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, format!("{environment} is not served here")).with_param("environment")
    })
}

/// `GET /io/v1/ws`: the link of a node.
pub(super) async fn websocket(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| {
        ApiError::new(
            ErrorCode::InvalidValue,
            format!("this is a WebSocket of the subprotocol {SUBPROTOCOL}"),
        )
    })?;
    if app.stop_intake.is_cancelled() {
        return Err(ApiError::new(ErrorCode::NoCapacity, "the server is about to stop").into());
    }
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_write_buffer_size(4 * MAX_FRAME_BYTES);
    let flow = Arc::clone(flow_of(&app, &uri)?);
    let (policy, stop) = (app.link_policy.clone(), app.stop_links.clone());
    Ok(upgrade.on_upgrade(move |socket| {
        let background = flow.background.clone();
        async move {
            // Tracked, so that a stop waits until every link has said goodbye.
            let served = background.spawn(link::serve(flow, policy, socket, peer, stop)).await;
            if let Err(error) = served {
                tracing::error!(%error, "the link of a node ended by a fault");
            }
        }
    }))
}

/// `GET /io/v1/config`: the snapshot in force, signed. Its ETag is its digest.
pub(super) async fn config(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let current = flow_of(&app, &uri)?.current();
    let etag = format!("\"{}\"", current.digest);
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes())
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (ETAG, etag)];
    Ok((headers, current.signed.clone()).into_response())
}

/// `GET /io/v1/ping`: the server's time in milliseconds since the Unix epoch.
pub(super) async fn ping(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    let answer = serde_json::json!({ "server_time": flow.clock.now(), "environment": flow.environment });
    Ok(axum::Json(answer).into_response())
}
