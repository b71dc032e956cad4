//! Versions that nodes need, the configuration and its history, and the weeks in which points are earned.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::status::{ConfigStatus, Epochs, StatusApi, VersionCount, Versions};
use resultity_core::clock::Timestamp;

use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, panel, table};
use super::super::kit::visitor::Visitor;

/// `GET /status/config`.
pub(super) async fn show(visitor: Visitor) -> Response {
    let (board, within) = (visitor.status(), visitor.within());
    let read = async {
        let (versions, config) = (board.versions(within).await?, board.config(within).await?);
        Ok((versions.body, config.body, board.epochs(within).await?.body))
    };
    let (versions, config, epochs) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(&visitor, &error, html! {}),
    };
    let body = html! {
        (current(&config, visitor.now))
        (needed(&versions))
        (history(&config, visitor.now))
        (weeks(&epochs, visitor.now))
    };
    Page::new(&visitor, App::Status, "Configuration", body)
        .lead("What every node of the network works by: signed by the network's key, the same for all.")
        .into_response()
}

fn current(config: &ConfigStatus, now: Timestamp) -> Markup {
    let digest = format!("{:#x}", config.digest);
    panel(
        "In force",
        html! {
            dl.facts {
                dt { "Version" } dd { (show::count(config.version)) ", " (show::time(config.issued_at, now)) }
                dt { "Digest" } dd { code { (digest) } }
                dt { "Network's key" } dd { code { (config.network_key) } }
                dt { "First key" } dd { code { (config.genesis) } }
            }
        },
    )
}

fn needed(versions: &Versions) -> Markup {
    let counted = |counts: &[VersionCount]| {
        html! {
            @if counts.is_empty() { span.faint { "none yet" } }
            @for (place, count) in counts.iter().enumerate() {
                @if place > 0 { ", " } code { (count.version) } " on " (show::of(count.nodes, "node", "nodes"))
            }
        }
    };
    panel(
        "Versions",
        html! {
            dl.facts {
                dt { "Oldest Agent that may serve" } dd { code { (versions.required_agent) } }
                dt { "Newest Agent" } dd { code { (versions.current_agent) } }
                dt { "Server" } dd { code { (versions.server) } }
                @for (runtime, version) in &versions.required_runtimes {
                    dt { "Oldest " (runtime) } dd { code { (version) } }
                }
                dt { "Agents" } dd { (counted(&versions.agents)) }
                dt { "Runtimes" } dd { (counted(&versions.runtimes)) }
            }
        },
    )
}

fn history(config: &ConfigStatus, now: Timestamp) -> Markup {
    let rows = html! {
        @for change in &config.history {
            tr {
                td.number { (change.version) }
                td { (show::time(change.issued_at, now)) }
                td { @if let Some(version) = change.rolls_back { "back to version " (version) } @else { "published" } }
                td.number { (change.models) }
                td { code { (change.min_agent_version) } }
                td { (show::short(&format!("{:#x}", change.digest))) }
            }
        }
    };
    panel(
        "History",
        table(
            "History of the configuration",
            &["Version", "When", "What", "Models", "Oldest Agent", "Digest"],
            rows,
        ),
    )
}

fn weeks(epochs: &Epochs, now: Timestamp) -> Markup {
    let rows = html! {
        @for epoch in &epochs.epochs {
            tr {
                td.number { (epoch.number) }
                td { (show::time(epoch.starts_at, now)) }
                td { @if epoch.closed { (badge("closed", "")) } @else { (badge("open", "good")) } }
                td.number { (show::count(epoch.points)) }
                td.number { (show::count(epoch.nodes)) }
                td { @if let Some(root) = epoch.root { (show::short(&format!("{root:#x}"))) } @else { span.faint { "when it closes" } } }
            }
        }
    };
    panel(
        "Weeks of contribution",
        table("Weeks", &["Week", "Began", "State", "Points", "Nodes", "Root"], rows),
    )
}
