//! The HTTP surfaces: the one table of routes. Handlers extract, open the session, call it, encode what it says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use resultity_core::B256;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::flow::Flow;
use crate::link::LinkPolicy;
use crate::session::{Keys, Limits};

mod auth;
mod body;
mod cloud;
mod cors;
mod gate;
mod io;
mod openapi;
mod operations;
mod options;
mod problem;
mod query;
mod request_id;
pub mod serve;
mod sse;

/// Which surfaces a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `/v1`: OpenAI's API.
    Cloud,
    /// `/gate/v1`: accounts, keys, credits.
    Gate,
    /// `/io/v1`: nodes.
    Io,
    /// `/status/v1`: what the public may see.
    Status,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cloud, Self::Gate, Self::Io, Self::Status];
}

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// Jobs, nodes, money.
    pub flow: Arc<Flow>,
    /// Who holds which key.
    pub keys: Keys,
    /// How much may be asked.
    pub limits: Arc<Limits>,
    /// SHA-256 of the administrator's token; nobody is an administrator without.
    pub admin_token: Option<B256>,
    /// Rules for nodes.
    pub link_policy: LinkPolicy,
    /// Cancelled when the links of nodes have to end.
    pub stop_links: CancellationToken,
    /// Cancelled when no more work is taken: not ready any more.
    pub stop_intake: CancellationToken,
    /// Counters, where they are kept.
    pub metrics: Option<PrometheusHandle>,
    /// How slow a client may be.
    pub patience: Patience,
}

/// How slow a client may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head: Duration,
    /// How long a body may pause.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(75),
            body: Duration::from_secs(30),
        }
    }
}

/// The address of whoever is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// All routes of these roles. `/metrics` is there only if `with_metrics` says so: `serve` has it on a listener of its own.
pub fn routes(app: Arc<App>, roles: &[Role], with_metrics: bool) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/openapi.json", get(openapi::served));
    #[cfg(feature = "docs")]
    {
        router = router.merge(openapi::pages());
    }
    if with_metrics {
        router = router.route("/metrics", get(operations::metrics));
    }
    for role in roles {
        let surface = match role {
            Role::Cloud => cloud(),
            Role::Gate => gate(),
            Role::Io => io(),
            Role::Status => status(),
        };
        let surface = surface.method_not_allowed_fallback(problem::method_not_allowed);
        // Outermost, so that a preflight is answered before any method is refused.
        router = router.merge(if *role == Role::Cloud {
            surface.layer(cors::layer())
        } else {
            surface
        });
    }
    router
        .fallback(problem::not_found)
        .layer(RequestBodyTimeoutLayer::new(app.patience.body))
        .layer(axum::middleware::from_fn(request_id::add))
        .with_state(app)
}

/// The metrics alone, for a listener of their own.
pub fn metrics_routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(operations::metrics))
        .fallback(problem::not_found)
        .with_state(app)
}

fn cloud() -> Router<Arc<App>> {
    let not_built = [
        "/v1/files",
        "/v1/files/{*rest}",
        "/v1/batches",
        "/v1/batches/{*rest}",
        "/v1/images/{*rest}",
        "/v1/audio/{*rest}",
        "/v1/moderations",
    ];
    let router = Router::new()
        .route("/v1/chat/completions", post(cloud::chat::create))
        .route("/v1/completions", post(cloud::completions::create))
        .route("/v1/embeddings", post(cloud::embeddings::create))
        .route("/v1/models", get(cloud::models::list))
        .route("/v1/models/{*id}", get(cloud::models::retrieve))
        .route("/v1/jobs", get(cloud::jobs::list).post(cloud::jobs::create))
        .route("/v1/jobs/{job}", get(cloud::jobs::retrieve).delete(cloud::jobs::cancel))
        .route("/v1/jobs/{job}/cancel", post(cloud::jobs::cancel))
        .route("/v1/jobs/{job}/receipt", get(cloud::jobs::receipt))
        .route("/v1/jobs/{job}/feedback", post(cloud::jobs::feedback))
        .route("/v1/responses", post(cloud::responses::create))
        .route(
            "/v1/responses/{response}",
            get(cloud::responses::retrieve).delete(cloud::responses::delete),
        )
        .route("/v1/responses/{response}/cancel", post(cloud::responses::cancel))
        .route("/v1/responses/{response}/input_items", get(cloud::responses::input_items))
        .route("/v1/usage", get(cloud::usage::usage))
        .route("/v1/credits", get(cloud::usage::credits))
        .route("/v1/webhooks", get(cloud::webhooks::list).post(cloud::webhooks::create))
        .route(
            "/v1/webhooks/{webhook}",
            get(cloud::webhooks::retrieve)
                .post(cloud::webhooks::update)
                .delete(cloud::webhooks::delete),
        )
        .route("/v1/webhooks/{webhook}/rotate", post(cloud::webhooks::rotate))
        .route("/v1/webhooks/{webhook}/test", post(cloud::webhooks::test))
        .route("/v1/webhooks/{webhook}/deliveries", get(cloud::webhooks::deliveries))
        .route(
            "/v1/webhooks/{webhook}/deliveries/{delivery}",
            get(cloud::webhooks::delivery),
        )
        .route(
            "/v1/webhooks/{webhook}/deliveries/{delivery}/replay",
            post(cloud::webhooks::replay),
        )
        .route("/v1/{*rest}", any(problem::not_found));
    let router = not_built
        .into_iter()
        .fold(router, |router, path| router.route(path, any(problem::not_built)));
    router.layer(cors::layer())
}

fn gate() -> Router<Arc<App>> {
    Router::new()
        .route("/gate/v1/admin/credits", post(gate::grant_credits))
        .route("/gate/v1", any(problem::not_built))
        .route("/gate/v1/{*rest}", any(problem::not_built))
}

fn io() -> Router<Arc<App>> {
    Router::new()
        .route("/io/v1/ws", get(io::websocket))
        .route("/io/v1/config", get(io::config))
        .route("/io/v1/ping", get(io::ping))
}

fn status() -> Router<Arc<App>> {
    Router::new()
        .route("/status/v1", any(problem::not_built))
        .route("/status/v1/{*rest}", any(problem::not_built))
}
