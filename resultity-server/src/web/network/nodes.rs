//! The nodes of an account.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{Node, NodesApi, NodesQuery, ReportsApi};

use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, card, empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// Where it is.
pub(super) const HERE: &str = "/network";

/// `GET /network`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let session = inside.session()?;
        let mut asked: NodesQuery = query::read(&uri)?;
        asked.environment = Some(visitor.environment);
        Ok((session.nodes(asked).await?, session.rewards(visitor.within()).await?))
    };
    let (nodes, rewards) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = nodes
        .last_id
        .filter(|_| nodes.has_more)
        .map(|last| visitor.place.with("after", &last));
    let ready = nodes.data.iter().filter(|node| node.in_rotation).count();
    let body = html! {
        @if nodes.data.is_empty() {
            (empty("No node yet", html! {
                p { "A machine that you run answers for models, and earns credits for each answer." }
                p { a.button href="/network/join" { "Join with a node" } }
            }))
        } @else {
            div.cards {
                (card("Nodes ready", html! { (ready) }, html! { "of " (nodes.data.len()) }))
                (card("Earned", show::credits(rewards.earned), html! {}))
                (card("To be paid out", show::credits(rewards.payable), html! {}))
                (card("Points", html! { (show::count(rewards.points)) }, html! {}))
            }
            (panel("Your nodes", html! { (list(visitor, &nodes.data)) (more(next)) }))
        }
    };
    Page::new(visitor, App::Network, "Nodes", body).into_response()
}

/// A word about a node's state.
pub(super) fn state(node: &Node) -> Markup {
    match () {
        () if node.in_rotation => badge("ready", "good"),
        () if node.paused => badge("paused", "wait"),
        () if node.connected => badge("connected, gets no work", "wait"),
        () => badge("not connected", "bad"),
    }
}

/// What a node is called.
pub(super) fn name(node: &Node) -> String {
    if node.name.is_empty() {
        node.id.to_string()
    } else {
        node.name.clone()
    }
}

fn list(visitor: &Visitor, nodes: &[Node]) -> Markup {
    let rows = html! {
        @for node in nodes {
            @let models: Vec<_> = node.models.iter().map(|model| model.id.as_str()).collect();
            tr {
                td { a href={ (HERE) "/nodes/" (node.id.to_string()) } { (name(node)) } }
                td { (state(node)) }
                td.number { @if let Some(load) = &node.load { (load.running) " of " (load.slots) } @else { span.faint { "–" } } }
                td { (models.join(", ")) }
                td { (node.region.as_deref().unwrap_or("–")) }
                td { (node.agent_version.as_deref().unwrap_or("–")) }
                td { (show::time_if_any(node.last_seen_at, visitor.now)) }
            }
        }
    };
    table(
        "Nodes",
        &[
            "Name",
            "State",
            "Slots in use",
            "Models",
            "Region",
            "Agent",
            "Last heard",
        ],
        rows,
    )
}
