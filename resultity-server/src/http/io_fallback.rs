//! The IO API for nodes that have no socket: what they would send over it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NodeId;
use resultity_core::signing::Signature;
use resultity_core::wire::{BODY_HASH_HEADER, ISSUED_AT_HEADER, NODE_HEADER, SIGNATURE_HEADER};

use crate::http::io::{enter, flow_of, signed_header};
use crate::http::problem::Problem;
use crate::http::{App, Peer, body};
use crate::json::parse;
use crate::link::{Allowance, MAX_DELIVERY_BYTES};

/// Where results are handed in: the one route of its surface that takes large bodies, of nodes alone.
pub(super) const RESULTS: &str = "/io/v1/results";

/// `POST /io/v1/nodes`: a challenge, or a session for the hello that answers one.
pub(super) async fn knock(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    let request = body::json_or_default(&headers, body).await?;
    // The connection is not the node's alone: it has no allowance.
    let entering = enter(&app, Peer(peer), &headers, Allowance::default())?;
    let from = (peer, entering);
    let answer = app
        .fallback
        .knock(flow, &app.link_policy, request, from, &app.stop_links);
    Ok(axum::Json(answer.await?).into_response())
}

/// `POST /io/v1/heartbeat`: the node is alive.
pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    let report = body::json(&headers, body).await?;
    let entering = enter(&app, peer, &headers, Allowance::default())?;
    Ok(axum::Json(app.fallback.heartbeat(flow, &report, entering).await?).into_response())
}

/// `POST /io/v1/results`: ends of jobs. Who sends them is known before they are read.
pub(super) async fn deliver(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let flow = flow_of(&app, &uri)?;
    let entering = enter(&app, peer, &headers, Allowance::default())?;
    let node: NodeId = signed_header(&headers, NODE_HEADER)?;
    let issued_at = Timestamp::from_millis(signed_header(&headers, ISSUED_AT_HEADER)?);
    let body_hash: B256 = signed_header(&headers, BODY_HASH_HEADER)?;
    let signature: Signature = signed_header(&headers, SIGNATURE_HEADER)?;
    let signed = (body_hash, &signature);
    let may = app.fallback.may_deliver(flow, node, issued_at, signed, entering);
    let delivering = may.await?;
    let text = body::read_up_to(MAX_DELIVERY_BYTES, &headers, body).await?;
    if sha256(&text) != body_hash {
        return Err(ApiError::new(ErrorCode::PermissionDenied, "the body is not what the node signed").into());
    }
    let request = parse(&text)?;
    drop(text);
    Ok(axum::Json(app.fallback.deliver(flow, request, delivering).await?).into_response())
}
