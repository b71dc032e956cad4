//! The listener: HTTP/1.1 with WebSocket upgrades, one task a connection.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::Peer;

/// How long a client may take to send the head of a request; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait when the system has no more file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; then idle connections close, and those at work may finish until `cut`.
pub async fn run(listener: TcpListener, router: Router, stop: CancellationToken, cut: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let connection = connection(socket, Peer(peer), &router, &graceful, cut.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = cut.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
}

fn connection(
    socket: TcpStream,
    peer: Peer,
    router: &Router,
    graceful: &GracefulShutdown,
    cut: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    // Small writes go out at once; without this a streamed token waits for the acknowledgement of the one before.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = TowerToHyperService::new(router.clone().layer(axum::Extension(peer)));
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(socket), service)
        .into_owned();
    let connection = graceful.watch(connection);
    async move {
        tokio::select! {
            // How a client's connection ends is its own affair.
            _ = connection => {}
            () = cut.cancelled() => {}
        }
    }
}
