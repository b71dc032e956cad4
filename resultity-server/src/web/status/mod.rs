//! The Status Explorer: what the public may see, for everybody, signed in or not.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::kit::page::Section;
use crate::http::App;

mod config;
mod land;
mod map;
mod models;
mod overview;
mod regions;

/// Its sections.
pub(super) const SECTIONS: &[Section] = &[
    ("/status", "Overview"),
    ("/status/models", "Models"),
    ("/status/regions", "Regions"),
    ("/status/prices", "Prices"),
    ("/status/config", "Configuration"),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/status", get(overview::show))
        .route("/status/models", get(models::show))
        .route("/status/regions", get(regions::show))
        .route("/status/prices", get(models::prices))
        .route("/status/config", get(config::show))
}
