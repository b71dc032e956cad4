//! One node: how it is, what it has, why it gets no work.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{Node, NodeWhy, NodesApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NodeId;
use resultity_core::model::ModelState;
use resultity_core::wire::Readiness;

use super::super::kit::form::{Field, Filled, csrf};
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, card, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use super::nodes::{HERE, name, state};

pub(super) fn id_of(text: &str) -> Result<NodeId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such node"))
}

/// Where a node is.
pub(super) fn place(node: &str) -> String {
    format!("{HERE}/nodes/{node}")
}

/// `GET /network/nodes/{node}`.
pub(super) async fn show(inside: Inside, Path(node): Path<String>) -> Response {
    page(&inside, &node, &Filled::default()).await
}

pub(super) async fn page(inside: &Inside, node: &str, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, id_of(node)?);
        Ok((
            session.node(id, visitor.within()).await?,
            session.why_node(id, visitor.within()).await?,
        ))
    };
    let (node, why) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let body = html! {
        (ways(&node))
        (numbers(&node))
        @if !why.in_rotation { (reasons(&why)) }
        (facts(visitor, &node))
        (panel("Models", models(&node)))
        (orders(visitor, &node, filled))
    };
    Page::new(visitor, App::Network, name(&node), body)
        .after(filled)
        .into_response()
}

/// The other pages of a node.
pub(super) fn ways(node: &Node) -> Markup {
    let place = place(&node.id.to_string());
    html! {
        nav.ways aria-label="Of this node" {
            a href=(place) { "Overview" }
            a href={ (place) "/jobs" } { "Jobs" }
            a href={ (place) "/earnings" } { "Earnings" }
            a href={ (place) "/penalties" } { "Penalties" }
            a href={ (place) "/logs" } { "Logs" }
        }
    }
}

fn numbers(node: &Node) -> Markup {
    html! {
        div.cards {
            (card("State", state(node), html! {}))
            @if let Some(load) = &node.load {
                (card("Slots in use", html! { (load.running) " of " (load.slots) }, html! { (load.queued) " waiting on it" }))
            }
            @if let Some(reputation) = &node.reputation {
                (card("Reputation", html! { (reputation.score) }, html! { "after " (show::of(reputation.checks, "check", "checks")) }))
            }
        }
    }
}

fn reasons(why: &NodeWhy) -> Markup {
    panel(
        "Why it gets no work",
        html! {
            @if why.reasons.is_empty() { p { "Nothing is wrong: it is between two states. Look again in a moment." } }
            ul.why {
                @for reason in &why.reasons {
                    li {
                        strong { (reason.message) } @if let Some(model) = &reason.model { " (" (model) ")" }
                        br; (reason.advice)
                    }
                }
            }
        },
    )
}

fn facts(visitor: &Visitor, node: &Node) -> Markup {
    let nothing = || html! { span.faint { "not said" } };
    panel(
        "What it is",
        html! {
            dl.facts {
                dt { "Id" } dd { code { (node.id.to_string()) } }
                dt { "Last heard" } dd { (show::time_if_any(node.last_seen_at, visitor.now)) }
                dt { "Agent" } dd { @if let Some(version) = &node.agent_version { (version) } @else { (nothing()) } }
                dt { "Runtime" } dd {
                    @if let Some(runtime) = &node.runtime {
                        (runtime.kind) " " (runtime.version) " "
                        @if runtime.healthy { (badge("well", "good")) } @else { (badge("not well", "bad")) }
                    } @else { (nothing()) }
                }
                dt { "Region" } dd { @if let Some(region) = &node.region { (region) } @else { (nothing()) } }
                dt { "Hardware" } dd {
                    @if let Some(hardware) = &node.hardware {
                        (hardware.cpu) ", " (hardware.cpu_cores) " cores, " (show::bytes(hardware.memory_used)) " of " (show::bytes(hardware.memory))
                        @for gpu in &hardware.gpus { br; (gpu.name) ", " (show::bytes(gpu.memory)) }
                    } @else { (nothing()) }
                }
                dt { "Configuration" } dd {
                    @if let Some(digest) = &node.config_digest {
                        (show::short(digest)) " "
                        @if node.config_current == Some(true) { (badge("current", "good")) } @else { (badge("not current", "wait")) }
                    } @else { (nothing()) }
                }
                @for flagged in &node.flags {
                    dt { "Flag" } dd {
                        (badge(flagged.flag.as_str(), "bad")) " " (flagged.reason)
                        @if let Some(until) = flagged.until { ", until " (show::time(until, visitor.now)) }
                    }
                }
                dt { "Bound" } dd { (show::time_if_any(node.bound_at, visitor.now)) }
            }
        },
    )
}

fn models(node: &Node) -> Markup {
    let word = |state: ModelState| match state {
        ModelState::Active => badge("active", "good"),
        ModelState::Pending => badge("being fetched", "wait"),
        ModelState::Failed => badge("failed", "bad"),
        ModelState::Inactive => badge("not served", ""),
        ModelState::Archived => badge("no longer wanted", ""),
        _ => badge("unknown", ""),
    };
    let tested = |readiness: Readiness| match readiness {
        Readiness::Ready => "passed its test",
        Readiness::Testing => "is being tested",
        Readiness::Failed => "failed its test; it is tested again later",
        Readiness::RuntimeTooOld => "its Runtime is too old",
        Readiness::Inactive => "cannot be served now",
        Readiness::NotListed => "is not in the network's configuration",
    };
    let rows = html! {
        @for model in &node.models {
            tr {
                td { code { (model.id) } }
                td { (show::short(&model.version)) }
                td { (word(model.state)) }
                td { @if let Some(readiness) = model.readiness { (tested(readiness)) } }
                td { @if let Some(error) = &model.error { (error) } }
            }
        }
    };
    html! {
        @if node.models.is_empty() { p.faint { "It has offered none yet." } }
        @else { (table("Models", &["Model", "Version", "On the node", "For the network", "What is wrong"], rows)) }
    }
}

fn orders(visitor: &Visitor, node: &Node, filled: &Filled) -> Markup {
    let place = place(&node.id.to_string());
    let order = |action: &str, label: &str, kind: &str| {
        html! { button class={ "button " (kind) } type="submit" name="action" value=(action) { (label) } }
    };
    html! {
        div.pair {
            (panel("Orders", html! {
                (filled.general(&["name"]))
                form method="post" action={ (place) "/order" } {
                    (csrf(visitor))
                    p.acts-row {
                        @if node.paused { (order("resume", "Resume", "")) } @else { (order("pause", "Pause", "quiet")) }
                        (order("drain", "Finish its work, then leave", "quiet"))
                        (order("restart", "Restart", "quiet"))
                    }
                }
            }))
            (panel("Name", html! {
                form method="post" action={ (place) "/name" } {
                    (csrf(visitor))
                    (Field::text("name", "What it is called").value(&node.name).show(filled))
                    button.button.quiet type="submit" { "Save" }
                }
            }))
            (panel("Let it go", html! {
                p { "It belongs to nobody then, and gets no work. What it earned stays with it until you are paid out." }
                form method="post" action={ (place) "/unbind" } data-ask="Unbind this node from your account?" {
                    (csrf(visitor))
                    button.button.danger type="submit" { "Unbind" }
                }
            }))
        }
    }
}
