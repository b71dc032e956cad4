//! The IO API: `/io/v1`, for nodes.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::InEnvironment;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::InvalidId;
use resultity_core::signing::Signature;
use resultity_core::wire::{ISSUED_AT_HEADER, MAX_FRAME_BYTES, Ping, SIGNATURE_HEADER, SUBPROTOCOL};

use crate::flow::Flow;
use crate::http::gate::Door;
use crate::http::problem::Problem;
use crate::http::{App, Peer, body, client_address, query};
use crate::link::{self, Allowance, Entering};

/// How much is read from a link at once: bytes. Each link keeps as much, and most frames are far shorter.
const READ_BUFFER: usize = 8 * 1024;

/// The flow of the environment that the query names; the server's first if it names none.
pub(super) fn flow_of<'a>(app: &'a App, uri: &Uri) -> Result<&'a Arc<Flow>, ApiError> {
    let asked: InEnvironment = query::read(uri)?;
    let Some(environment) = asked.environment else {
        return Ok(app.flow());
    };
    app.flows.get(environment).ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, format!("{environment} is not served here")).with_param("environment")
    })
}

/// Somebody wants to say hello. Through a proxy it is the address that the proxy names; if that is unknown, it is counted in
/// all alone.
pub(super) fn enter(app: &App, peer: Peer, headers: &HeaderMap, allowance: Allowance) -> Result<Entering, ApiError> {
    let address = client_address::known(app, peer, headers);
    let is_counted = |address: &IpAddr| {
        let uncounted = [&app.connections.exempt, &app.trusted_proxies];
        !uncounted.iter().any(|networks| networks.contain(*address))
    };
    app.entrance.enter(address.filter(is_counted), allowance)
}

/// `GET /io/v1/ws`: the link of a node.
pub(super) async fn websocket(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(allowance): Extension<Allowance>,
    uri: Uri,
    headers: HeaderMap,
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
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_write_buffer_size(4 * MAX_FRAME_BYTES);
    let flow = Arc::clone(flow_of(&app, &uri)?);
    let entering = enter(&app, Peer(peer), &headers, allowance)?;
    let (policy, fallback, stop) = (
        app.link_policy.clone(),
        Arc::clone(&app.fallback),
        app.stop_links.clone(),
    );
    Ok(upgrade.on_upgrade(move |socket| {
        let background = flow.background.clone();
        async move {
            // Tracked, so that a stop waits until every link has said goodbye.
            let served = background
                .spawn(link::serve(flow, policy, fallback, socket, (peer, entering), stop))
                .await;
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

/// `GET /io/v1/keys`: the chain of the network's keys, each signed by the one before.
pub(super) async fn keys(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    Ok(axum::Json(flow.current().keys.chain(flow.environment)).into_response())
}

/// `GET /io/v1/ping`: the server's time in milliseconds since the Unix epoch, and whose network it is.
pub(super) async fn ping(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    let answer = Ping {
        server_time: flow.clock.now(),
        environment: flow.environment,
        network_key: flow.network_key().address(),
        genesis: flow.genesis,
    };
    Ok(axum::Json(answer).into_response())
}

/// `POST /io/v1/join`: a node agrees to belong to whoever made the code.
pub(super) async fn join(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(axum::Json(door.join(request).await?).into_response())
}

/// `GET /io/v1/nodes/{id}`: how a node stands, for the node itself.
pub(super) async fn node(
    Door(door): Door,
    Path(node): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked: InEnvironment = query::read(&uri)?;
    let node = node
        .parse()
        .map_err(|error: InvalidId| ApiError::new(ErrorCode::InvalidValue, error.to_string()))?;
    let issued_at = Timestamp::from_millis(signed_header(&headers, ISSUED_AT_HEADER)?);
    let signature: Signature = signed_header(&headers, SIGNATURE_HEADER)?;
    let status = door.node_status(node, asked.environment, issued_at, &signature);
    Ok(axum::Json(status.await?).into_response())
}

/// A header of a request that a node signs.
pub(super) fn signed_header<T: FromStr>(headers: &HeaderMap, name: &'static str) -> Result<T, ApiError> {
    let text = headers.get(name).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        let message = format!("the node signs this request: the header {name} is missing or damaged");
        ApiError::new(ErrorCode::PermissionDenied, message)
    })
}
