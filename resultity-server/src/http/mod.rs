//! The HTTP surfaces: the one table of routes. Handlers extract, open the session, call it, encode what it says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use resultity_core::B256;
use resultity_core::networks::Networks;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::flow::{Flow, Flows};
use crate::http::table::Table;
use crate::link::{ConnectionLimits, Entrance, Fallback, LinkPolicy};
use crate::publish::Publisher;
use crate::session::{Gate, Keys, Limits, StatusBoard};

mod acts;
pub(crate) mod auth;
pub(crate) mod body;
mod client_address;
mod cloud;
mod connection;
pub(crate) mod cookie;
mod cors;
mod gate;
mod io;
mod io_fallback;
mod multipart;
mod openapi;
mod operations;
mod options;
mod problem;
pub(crate) mod query;
mod request_id;
pub mod serve;
mod sse;
mod status;
mod table;
mod unread;
mod usage_table;

pub(crate) use gate::Door;

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
    /// The web applications: `/cloud`, `/network`, `/account`, `/space`, `/status`.
    Web,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cloud, Self::Gate, Self::Io, Self::Status, Self::Web];
}

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// Jobs, nodes, money: one flow for each environment.
    pub flows: Flows,
    /// Who holds which key.
    pub keys: Keys,
    /// How much may be asked.
    pub limits: Arc<Limits>,
    /// What the public may see.
    pub status: StatusBoard,
    /// Accounts and all that they manage.
    pub gate: Arc<Gate>,
    /// SHA-256 of the operator's token, which may do what an administrator may; without it, accounts alone may.
    pub admin_token: Option<B256>,
    /// The proxies that are believed about where a request comes from.
    pub trusted_proxies: Networks,
    /// Rules for nodes.
    pub link_policy: LinkPolicy,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Where nodes come in.
    pub entrance: Arc<Entrance>,
    /// Where nodes come that have no socket.
    pub fallback: Arc<Fallback>,
    /// Cancelled when the links of nodes have to end.
    pub stop_links: CancellationToken,
    /// Cancelled when no more work is taken: not ready any more.
    pub stop_intake: CancellationToken,
    /// Counters, where they are kept.
    pub metrics: Option<PrometheusHandle>,
    /// How slow a client may be.
    pub patience: Patience,
}

impl App {
    /// The flow of the environment that is meant where nothing is said.
    pub fn flow(&self) -> &Arc<Flow> {
        self.flows.first()
    }

    /// What publishes the network's configuration.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.gate.publisher
    }
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

/// All routes of these roles, those of the web applications being `pages`. `/metrics` is there only if `with_metrics` says so:
/// `serve` has it on a listener of its own.
pub fn routes(app: Arc<App>, roles: &[Role], with_metrics: bool, pages: Router<Arc<App>>) -> Router {
    let mut router = operations().router;
    #[cfg(feature = "docs")]
    {
        router = router.merge(openapi::pages());
    }
    if with_metrics {
        router = router.merge(metrics().router);
    }
    if roles.contains(&Role::Web) {
        let acts = axum::middleware::from_fn_with_state(Arc::clone(&app), acts::finish);
        router = router.merge(pages.layer(acts));
    }
    for role in roles {
        let surface = match role {
            Role::Cloud => cloud(),
            Role::Gate => gate(),
            Role::Io => io(),
            Role::Status => status(),
            Role::Web => continue,
        };
        let surface = surface.router.method_not_allowed_fallback(problem::method_not_allowed);
        // Outermost, so that a preflight is answered before any method is refused.
        router = router.merge(if *role == Role::Cloud {
            surface.layer(cors::layer())
        } else {
            let acts = axum::middleware::from_fn_with_state(Arc::clone(&app), acts::finish);
            surface.layer(acts).layer(axum::middleware::from_fn(body::small))
        });
    }
    router
        .fallback(problem::not_found)
        .layer(axum::middleware::from_fn(problem::refuse_unreadable_path))
        .layer(axum::middleware::from_fn(unread::finish))
        .layer(RequestBodyTimeoutLayer::new(app.patience.body))
        .layer(axum::middleware::from_fn(request_id::add))
        .with_state(app)
}

/// The metrics alone, for a listener of their own.
pub fn metrics_routes(app: Arc<App>) -> Router {
    metrics().router.fallback(problem::not_found).with_state(app)
}

fn cloud() -> Table {
    Table::default()
        .post("/v1/chat/completions", cloud::chat::create)
        .post("/v1/completions", cloud::completions::create)
        .post("/v1/embeddings", cloud::embeddings::create)
        .post("/v1/compute", cloud::compute::create)
        .get("/v1/models", cloud::models::list)
        .get("/v1/models/{*id}", cloud::models::retrieve)
        .post("/v1/responses", cloud::responses::create)
        .get("/v1/responses/{response}", cloud::responses::retrieve)
        .delete("/v1/responses/{response}", cloud::responses::delete)
        .post("/v1/responses/{response}/cancel", cloud::responses::cancel)
        .get("/v1/responses/{response}/input_items", cloud::responses::input_items)
        .get("/v1/files", cloud::files::list)
        .post("/v1/files", cloud::files::upload)
        .get("/v1/files/{file}", cloud::files::retrieve)
        .delete("/v1/files/{file}", cloud::files::delete)
        .get("/v1/files/{file}/content", cloud::files::content)
        .get("/v1/batches", cloud::batches::list)
        .post("/v1/batches", cloud::batches::create)
        .get("/v1/batches/{batch}", cloud::batches::retrieve)
        .post("/v1/batches/{batch}/cancel", cloud::batches::cancel)
        .get("/v1/jobs", cloud::jobs::list)
        .post("/v1/jobs", cloud::jobs::create)
        .get("/v1/jobs/{job}", cloud::jobs::retrieve)
        .delete("/v1/jobs/{job}", cloud::jobs::cancel)
        .post("/v1/jobs/{job}/cancel", cloud::jobs::cancel)
        .get("/v1/jobs/{job}/receipt", cloud::jobs::receipt)
        .post("/v1/jobs/{job}/feedback", cloud::jobs::feedback)
        .get("/v1/usage", cloud::usage::usage)
        .get("/v1/credits", cloud::usage::credits)
        .get("/v1/webhooks", cloud::webhooks::list)
        .post("/v1/webhooks", cloud::webhooks::create)
        .get("/v1/webhooks/{webhook}", cloud::webhooks::retrieve)
        .post("/v1/webhooks/{webhook}", cloud::webhooks::update)
        .delete("/v1/webhooks/{webhook}", cloud::webhooks::delete)
        .post("/v1/webhooks/{webhook}/rotate", cloud::webhooks::rotate)
        .post("/v1/webhooks/{webhook}/test", cloud::webhooks::test)
        .get("/v1/webhooks/{webhook}/deliveries", cloud::webhooks::deliveries)
        .get(
            "/v1/webhooks/{webhook}/deliveries/{delivery}",
            cloud::webhooks::delivery,
        )
        .post(
            "/v1/webhooks/{webhook}/deliveries/{delivery}/replay",
            cloud::webhooks::replay,
        )
        .not_built("/v1/images/{*rest}")
        .not_built("/v1/audio/{*rest}")
        .not_built("/v1/moderations")
        .rest("/v1/{*rest}", problem::not_found)
}

fn gate() -> Table {
    gate::routes(Table::default())
        .rest("/gate/v1", problem::not_found)
        .rest("/gate/v1/{*rest}", problem::not_found)
}

fn io() -> Table {
    Table::default()
        .get("/io/v1/ws", io::websocket)
        .get("/io/v1/config", io::config)
        .get("/io/v1/keys", io::keys)
        .get("/io/v1/ping", io::ping)
        .post("/io/v1/join", io::join)
        .post("/io/v1/nodes", io_fallback::knock)
        .post("/io/v1/heartbeat", io_fallback::heartbeat)
        .post(io_fallback::RESULTS, io_fallback::deliver)
        .get("/io/v1/nodes/{id}", io::node)
}

fn status() -> Table {
    status::routes(Table::default())
        .rest("/status/v1", problem::not_found)
        .rest("/status/v1/{*rest}", problem::not_found)
}

fn operations() -> Table {
    Table::default()
        .get("/healthz", operations::healthz)
        .get("/readyz", operations::readyz)
        .get("/openapi.json", openapi::served)
}

fn metrics() -> Table {
    Table::default().get("/metrics", operations::metrics)
}

/// All that may be asked of a process with all roles.
#[cfg(test)]
fn listed_routes() -> Vec<(axum::http::Method, &'static str)> {
    [cloud(), gate(), io(), status(), operations(), metrics()]
        .into_iter()
        .flat_map(|table| table.listed)
        .collect()
}
