//! The REST API over HTTP/1.1: from bytes to a [`NodeApi`] of one caller, and back.
//!
//! ```text
//! listen ─▶ wire ─▶ routes ─▶ forwarded ─▶ limits ─▶ body ─▶ requests ─▶ NodeApi ─▶ answer
//! (accept) (socket) (table)    (whose?)   (how often)        (parsers)
//! ```
//!
//! It speaks to hyper directly: a request of a few microseconds' work should not cost ten in layers.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use resultity_core::api::node::NodeApi;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::infernet::config::settings::Settings;
use crate::infernet::memory::Memory;
use crate::infernet::node::InfernetNode;
use crate::infernet::session::NodeSession;
use resultity_core::networks::Networks;

mod answer;
mod body;
mod forwarded;
mod limits;
mod listen;
mod openapi;
mod query;
mod requests;
mod routes;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use limits::Limits;

pub use requests::read_anything;

/// Serves a node until `stop`; then requests at work may finish within ten seconds. The node itself goes on: stop it after
/// this.
///
/// # Errors
///
/// None at present: a connection that fails concerns nobody else.
pub async fn serve(node: InfernetNode, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let settings = node.settings().clone();
    listen::run(listener, Arc::new(Api::new(node, &settings)), stop, settings.drain).await;
    Ok(())
}

/// Whatever gives each caller its view of a node.
trait Sessions: Send + Sync + 'static {
    /// The view.
    type Session: NodeApi;

    /// The node as this caller sees it.
    fn session(&self, caller: IpAddr) -> Self::Session;
}

impl Sessions for InfernetNode {
    type Session = NodeSession;

    fn session(&self, caller: IpAddr) -> NodeSession {
        Self::session(self, caller)
    }
}

/// What answering needs.
struct Api<S> {
    sessions: S,
    limits: Limits,
    proxies: Networks,
    status_networks: Networks,
    max_body_bytes: usize,
    /// Where bodies are until they are jobs.
    bodies: Memory,
    /// Where answers are until they are sent.
    answers: Memory,
}

impl<S: Sessions> Api<S> {
    fn new(sessions: S, settings: &Settings) -> Self {
        Self {
            sessions,
            limits: Limits::new(settings.rate_limit),
            proxies: settings.trusted_proxies.clone(),
            status_networks: settings.status_networks.clone(),
            max_body_bytes: settings.max_body_bytes,
            bodies: Memory::new(settings.queue.max_pending_bytes),
            answers: Memory::new(settings.queue.max_pending_bytes),
        }
    }
}
