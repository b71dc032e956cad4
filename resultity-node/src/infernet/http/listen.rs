//! The listener: HTTP/1.1, one task a connection, so many and no more.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wire::{self, Wire};
use super::{Api, Sessions};

/// Connections at once. A process often has 1,024 file descriptors; containers and the store want some too.
pub(super) const MAX_CONNECTIONS: usize = 768;

/// Connections beyond them that are told so at once; more are just closed.
const MAX_REFUSALS: usize = 64;

/// How long the head of a request may take to arrive, and how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The largest head: bytes. What stands in its first line may have 65,534 of them, about 1,600 ids.
pub(super) const MAX_HEAD: usize = 96 * 1024;

/// How long answers may take to leave once the last job has ended or was cut off.
const LEAVE: Duration = Duration::from_secs(5);

/// How long to wait when the system has no more file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; then idle connections close, and those at work may finish for a while.
pub(super) async fn run<S: Sessions>(
    listener: TcpListener,
    api: Arc<Api<S>>,
    stop: CancellationToken,
    drain: Duration,
) {
    let connections = TaskTracker::new();
    let (places, refusals) = (slots(MAX_CONNECTIONS), slots(MAX_REFUSALS));
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let api = Arc::clone(&api);
                    connections.spawn(connection(socket, peer.ip(), api, stop.clone(), cut.clone(), place));
                } else if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(refuse(socket, place));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain + LEAVE, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut off");
        cut.cancel();
        connections.wait().await;
    }
}

fn slots(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count))
}

async fn refuse(socket: TcpStream, _place: OwnedSemaphorePermit) {
    let text = wire::error(503, "The node has too many connections");
    // It need not be listening.
    let _ = wire::say_and_close(socket, &text).await;
}

async fn connection<S: Sessions>(
    socket: TcpStream,
    peer: IpAddr,
    api: Arc<Api<S>>,
    stop: CancellationToken,
    cut: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Small writes go out at once; without this a streamed token waits for the acknowledgement of the one before.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = service_fn(|request| {
        let api = Arc::clone(&api);
        // What a connection needs between two requests stays small.
        Box::pin(async move { Ok::<_, Infallible>(api.answer(peer, request).await) })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD);
    let mut connection = builder.serve_connection(TokioIo::new(Wire::new(socket)), service);
    let mut stopping = pin!(stop.cancelled());
    let mut is_stopping = false;
    loop {
        tokio::select! {
            () = cut.cancelled() => return,
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            // How a client's connection ends is its own affair.
            _ = poll_fn(|context| connection.poll_without_shutdown(context)) => break,
        }
    }
    let socket = connection.into_parts().io.into_inner().into_socket();
    tokio::select! {
        () = cut.cancelled() => {}
        _ = wire::close(socket) => {}
    }
}
