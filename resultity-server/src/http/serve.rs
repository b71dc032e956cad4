//! The listener: HTTP/1.1 with WebSocket upgrades, one task a connection, and no more connections than there may be.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use resultity_core::networks::Networks;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::http::Peer;
use crate::http::connection::Connection;
use crate::link::{Allowance, ConnectionLimits, Place, Places};

/// How long to wait when the system has no more file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who may connect.
#[derive(Debug, Clone)]
pub struct Gatekeeper {
    places: Arc<Places>,
    /// Those whose connections are not counted by their address: that of a proxy is everybody's.
    uncounted: [Networks; 2],
}

impl Gatekeeper {
    /// Of a listener of this name, behind these proxies.
    pub fn new(listener: &'static str, limits: &ConnectionLimits, proxies: &Networks) -> Self {
        Self {
            places: Places::new(listener, limits.total, limits.per_address),
            uncounted: [limits.exempt.clone(), proxies.clone()],
        }
    }

    fn let_in(&self, peer: IpAddr) -> Option<Place> {
        let is_counted = !self.uncounted.iter().any(|networks| networks.contain(peer));
        self.places.take(is_counted.then_some(peer)).ok()
    }
}

/// Serves until `stop`; then idle connections close, and those at work may finish until `cut`. A connection that sends no
/// complete head of a request within `head` is closed; one that there is no place for, at once.
pub async fn run(
    listener: TcpListener,
    router: Router,
    gatekeeper: Gatekeeper,
    head: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                // Before anything is read, so there is nothing to answer.
                let Some(place) = gatekeeper.let_in(peer.ip()) else {
                    continue;
                };
                let seated = (socket, place);
                let connection = connection(seated, Peer(peer), &router, head, stop.clone(), cut.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn connection(
    (socket, place): (TcpStream, Place),
    peer: Peer,
    router: &Router,
    head: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    // Small writes go out at once; without this a streamed token waits for the acknowledgement of the one before.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let allowance = Allowance::default();
    let socket = Connection::new(socket, allowance.clone(), place);
    let service = router.clone().map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(allowance.clone());
        request
    });
    let service = TowerToHyperService::new(service);
    // Not the builder that finds out the version: with upgrades it speaks HTTP/2 too, where `head` is no bound.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    let connection = builder.serve_connection(TokioIo::new(socket), service).with_upgrades();
    async move {
        tokio::pin!(connection);
        // How a client's connection ends is its own affair.
        tokio::select! {
            _ = &mut connection => return,
            () = cut.cancelled() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = cut.cancelled() => {}
        }
    }
}
