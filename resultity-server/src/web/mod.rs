//! The web applications: pages from the server, one folder an application, what they share in `kit`.
//!
//! Pages call the same sessions as the HTTP surfaces, and decide nothing themselves. They work without scripts; scripts make
//! numbers live and let wallets sign.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::http::App;

mod account;
mod cloud;
mod kit;
mod network;
mod space;
mod status;

use kit::assets;
use kit::form::{Form, Way};
use kit::page::{Theme, theme_cookie};
use kit::visitor::Visitor;

/// All pages.
pub fn routes() -> Router<Arc<App>> {
    let shared = Router::new()
        .route("/", get(start))
        .route(assets::PATH, get(assets::serve))
        .route("/theme", post(theme));
    shared
        .merge(account::routes())
        .merge(cloud::routes())
        .merge(network::routes())
        .merge(space::routes())
        .merge(status::routes())
}

/// The start: whoever is signed in has an account to look at, everybody else the network.
async fn start(visitor: Visitor) -> Redirect {
    Redirect::to(if visitor.member.is_some() {
        "/account"
    } else {
        "/status"
    })
}

/// Light, dark, or what the machine wants: kept in a cookie.
async fn theme(Form { visitor, fields }: Form) -> Response {
    let back = fields.if_any("back").and_then(Way::checked);
    let mut response = Redirect::to(back.as_ref().map_or("/", Way::as_str)).into_response();
    if let Some(cookie) = theme_cookie(Theme::named(fields.get("theme"))) {
        response.headers_mut().append(axum::http::header::SET_COOKIE, cookie);
    }
    drop(visitor);
    response
}
