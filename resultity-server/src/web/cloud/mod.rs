//! The Cloud Dashboard: keys, credits, and what was asked with them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::kit::page::Section;
use crate::http::App;

mod credits;
mod key;
mod keys;
mod limits;
mod namespaces;
mod usage;

/// Its sections.
pub(super) const SECTIONS: &[Section] = &[
    ("/cloud", "Usage"),
    ("/cloud/keys", "API keys"),
    ("/cloud/credits", "Credits"),
    ("/cloud/namespaces", "Namespaces"),
];

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/cloud", get(usage::show))
        .route("/cloud/keys", get(keys::show).post(keys::create))
        .route("/cloud/keys/{key}", get(key::show).post(key::change))
        .route("/cloud/keys/{key}/rotate", post(key::rotate))
        .route("/cloud/keys/{key}/revoke", post(key::revoke))
        .route("/cloud/credits", get(credits::show))
        .route("/cloud/credits/faucet", post(credits::faucet))
        .route("/cloud/credits/voucher", post(credits::voucher))
        .route("/cloud/credits/move", post(credits::transfer))
        .route("/cloud/credits/{namespace}", get(credits::ledger))
        .route("/cloud/credits/{namespace}/alert", post(credits::alert))
        .route("/cloud/namespaces", get(namespaces::show).post(namespaces::create))
        .route(
            "/cloud/namespaces/{namespace}",
            get(namespaces::one).post(namespaces::change),
        )
        .route("/cloud/namespaces/{namespace}/delete", post(namespaces::delete))
}
