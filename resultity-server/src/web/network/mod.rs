//! The Network Dashboard: nodes, from joining to what they earn.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::kit::page::Section;
use crate::http::App;

mod join;
mod node;
mod nodes;
mod orders;
mod penalties;
mod work;

/// Its sections.
pub(super) const SECTIONS: &[Section] = &[("/network", "Nodes"), ("/network/join", "Join a node")];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/network", get(nodes::show))
        .route("/network/join", get(join::show).post(join::create))
        .route("/network/nodes/{node}", get(node::show))
        .route("/network/nodes/{node}/name", post(orders::rename))
        .route("/network/nodes/{node}/order", post(orders::order))
        .route("/network/nodes/{node}/unbind", post(orders::unbind))
        .route("/network/nodes/{node}/jobs", get(work::jobs))
        .route("/network/nodes/{node}/logs", get(work::logs))
        .route(
            "/network/nodes/{node}/earnings",
            get(work::earnings).post(work::pay_out),
        )
        .route("/network/nodes/{node}/penalties", get(penalties::show))
        .route("/network/nodes/{node}/penalties/{penalty}", post(penalties::appeal))
}
