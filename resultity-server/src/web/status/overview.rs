//! The network at a glance, live.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::status::{Models, NetworkStatus, StatusApi};

use super::super::kit::assets::LIVE;
use super::super::kit::chart::{Chart, meter};
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, card, empty, panel};
use super::super::kit::visitor::Visitor;
use crate::session::Moment;

/// `GET /status`.
pub(super) async fn show(visitor: Visitor) -> Response {
    let board = visitor.status();
    let read = async {
        let network = board.network(visitor.within()).await?;
        Ok((
            network,
            board.models(visitor.within()).await?,
            board.moments(visitor.within())?,
        ))
    };
    match read.await {
        Ok((network, models, moments)) => {
            let body = html! {
                (state(&network.body))
                (numbers(&network.body))
                (hour(&moments))
                (served(&models.body))
            };
            let lead = "What the network does right now: for everybody, and naming nobody.";
            Page::new(&visitor, App::Status, "Network status", body)
                .lead(lead)
                .script(&LIVE)
                .into_response()
        }
        Err(error) => failure(&visitor, &error, html! {}),
    }
}

fn state(network: &NetworkStatus) -> Markup {
    html! {
        p {
            @if !network.takes_jobs { (badge("Takes no new work", "bad")) }
            @else if network.nodes.in_rotation == 0 { (badge("No node is ready", "wait")) }
            @else { (badge("Answers requests", "good")) }
            " "
            span.live.off.faint data-connection="" { "As of when this page was loaded" }
        }
    }
}

/// A number that follows the network.
fn live(path: &str, kind: &str, text: &str) -> Markup {
    html! { span data-live=(path) data-as=(kind) { (text) } }
}

fn numbers(network: &NetworkStatus) -> Markup {
    let (nodes, jobs, load) = (network.nodes, network.jobs, network.load);
    html! {
        div.cards {
            (card("Nodes ready", live("nodes.in_rotation", "count", &show::count(nodes.in_rotation)), html! {
                "of " (live("nodes.connected", "count", &show::count(nodes.connected))) " connected"
            }))
            (card("Requests", html! { (live("jobs.per_second", "number", &show::number(jobs.per_second))) " " span.unit { "per second" } }, html! {
                (live("jobs.last_hour", "count", &show::count(jobs.last_hour))) " in the last hour"
            }))
            (card("Time to an answer", live("latency.p50_ms", "millis", &show::millis(network.latency.p50_ms)), html! {
                "half are faster; 95 % within " (live("latency.p95_ms", "millis", &show::millis(network.latency.p95_ms)))
            }))
            (card("Success", live("jobs.success_rate", "percent", &show::percent(jobs.success_rate)), html! { "of what ended in the last hour" }))
            (card("Waiting", live("jobs.waiting", "count", &show::count(jobs.waiting)), html! {
                (live("jobs.running", "count", &show::count(jobs.running))) " running"
            }))
            (card("Load", live("load.utilisation", "percent", &show::percent(load.utilisation)), html! {
                (meter(load.slots_in_use, load.slots, "Slots in use"))
                (live("load.slots_in_use", "count", &show::count(load.slots_in_use))) " of "
                (live("load.slots", "count", &show::count(load.slots))) " slots"
            }))
            (card("Tokens", html! { (live("jobs.tokens_per_second", "number", &show::number(jobs.tokens_per_second))) " " span.unit { "per second" } }, html! {}))
            (card("Hardware", html! { (show::count(nodes.gpus)) " " span.unit { "GPUs" } }, html! {
                (show::bytes(nodes.gpu_memory)) " of their memory, " (show::count(nodes.cpu_cores)) " CPU cores"
            }))
        }
    }
}

fn hour(moments: &[Moment]) -> Markup {
    let points = |of: fn(&Moment) -> f64| -> Vec<(String, f64)> {
        moments.iter().map(|moment| (clock(moment.at), of(moment))).collect()
    };
    let (requests, latency) = (points(|moment| moment.per_second), points(|moment| moment.p50_ms));
    let (load, waiting) = (
        points(|moment| moment.utilisation),
        points(|moment| moment.waiting as f64),
    );
    let chart = |title, points, written| html! { div.panel { (Chart { title, points, written }.line()) } };
    html! {
        h2 { "The last hour" }
        div.pair {
            (chart("Requests per second", &requests, show::number))
            (chart("Time to an answer, median", &latency, show::millis))
            (chart("Slots in use", &load, show::percent))
            (chart("Requests waiting", &waiting, show::number))
        }
    }
}

/// The time of day, UTC.
fn clock(seconds: i64) -> String {
    show::exact(seconds).get(11..16).unwrap_or_default().to_owned()
}

fn served(models: &Models) -> Markup {
    let available = models.models.iter().filter(|model| model.available);
    let names: Vec<_> = available.map(|model| model.name.as_str()).collect();
    panel(
        "Models that answer now",
        html! {
            @if names.is_empty() {
                (empty("No model is served right now", html! { p { "It will be as soon as a node that has one is ready." } }))
            } @else {
                p { @for (place, name) in names.iter().enumerate() { @if place > 0 { ", " } code { (name) } } }
                p { a href="/status/models" { "All models, with versions and prices" } }
            }
        },
    )
}
