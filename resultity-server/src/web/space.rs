//! The Space Portal: its door.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::html;

use super::kit::page::{App as Application, Page};
use super::kit::table::panel;
use super::kit::visitor::Visitor;
use crate::http::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/space", get(show))
}

/// `GET /space`.
async fn show(visitor: Visitor) -> Response {
    let planned = [
        ("Agents", "programs that keep asking until a task is done"),
        (
            "Templates and prompt chains",
            "requests that build on one another, saved and shared",
        ),
        ("Vector stores", "your texts, found by what they mean"),
        ("Automation flows", "what starts by itself, by a clock or by an event"),
        ("Marketplace", "all of that from others, for credits"),
    ];
    let body = html! {
        (panel("What is there today", html! {
            p { "The network itself: models for text, embeddings and containers, asked through an API that OpenAI's SDKs speak." }
            p.acts-row { a.button href="/cloud" { "To your keys" } a.button.quiet href="/status/models" { "See the models" } }
        }))
        (panel("What is not there yet", html! {
            p { "Nothing of this is built, and there is no date for it:" }
            ul { @for (name, what) in planned { li { strong { (name) } ": " (what) } } }
        }))
    };
    Page::new(&visitor, Application::Space, "Space", body)
        .lead("What is to be built on top of the network. This is its door; behind it there is not much yet.")
        .into_response()
}
