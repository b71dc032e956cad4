//! The listener: HTTP/1.1 with WebSocket upgrades, one task a connection.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::Peer;

/// How long to wait when the system has no more file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; then idle connections close, and those at work may finish until `cut`. A connection that sends no
/// complete head of a request within `head` is closed.
pub async fn run(
    listener: TcpListener,
    router: Router,
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
                let connection = connection(socket, Peer(peer), &router, head, stop.clone(), cut.clone());
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
    socket: TcpStream,
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
    let service = TowerToHyperService::new(router.clone().layer(axum::Extension(peer)));
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
