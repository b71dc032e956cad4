//! The models of the network, and what they cost.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::status::{ModelPrice, ModelStatus, StatusApi};

use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, empty, panel, table};
use super::super::kit::visitor::Visitor;

/// `GET /status/models`.
pub(super) async fn show(visitor: Visitor) -> Response {
    let models = match visitor.status().models(visitor.within()).await {
        Ok(seen) => seen.body.models,
        Err(error) => return failure(&visitor, &error, html! {}),
    };
    let kinds: std::collections::BTreeSet<_> = models.iter().map(|model| model.kind.clone()).collect();
    let body = html! {
        @if models.is_empty() {
            (empty("No model is approved yet", html! { p { "Whoever runs this network publishes which models there are." } }))
        }
        @for kind in &kinds {
            (panel(&heading(kind), list(models.iter().filter(|model| model.kind == *kind))))
        }
    };
    Page::new(&visitor, App::Status, "Models", body)
        .lead("What can be asked for by name, and how much of it there is.")
        .into_response()
}

fn heading(kind: &str) -> String {
    let plain = kind.replace('_', " ");
    let mut letters = plain.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}", first.unwrap_or_default(), letters.as_str())
}

fn list<'a>(models: impl Iterator<Item = &'a ModelStatus>) -> Markup {
    table(
        "Models",
        &[
            "Name", "Version", "State", "Nodes", "Slots", "Waiting", "Context", "Can",
        ],
        html! {
            @for model in models {
                tr {
                    td {
                        code { (model.name) }
                        @if !model.aliases.is_empty() { br; span.faint { "also " (model.aliases.join(", ")) } }
                    }
                    td { (show::short(&model.version)) }
                    td { @if model.available { (badge("available", "good")) } @else { (badge("no node", "wait")) } }
                    td.number { (show::count(model.nodes)) }
                    td.number { (show::count(model.slots)) }
                    td.number { (show::count(model.waiting)) }
                    td.number { (show::count(model.context_length)) " " span.unit { "tokens" } }
                    td { (model.capabilities.join(", ")) }
                }
            }
        },
    )
}

/// `GET /status/prices`.
pub(super) async fn prices(visitor: Visitor) -> Response {
    let pricing = match visitor.status().pricing(visitor.within()).await {
        Ok(seen) => seen.body,
        Err(error) => return failure(&visitor, &error, html! {}),
    };
    let share = f64::from(pricing.node_share) / 10_000.0;
    let rows = html! {
        @for line in &pricing.prices {
            tr { td { code { (line.model) } } (amounts(line.price)) }
        }
    };
    let body = html! {
        @if pricing.prices.is_empty() {
            (empty("No model has a price yet", html! { p { "Prices come with the models of the network." } }))
        } @else {
            section.panel {
                (table("Prices", &["Model", "A million tokens in", "A million tokens out", "Each request"], rows))
            }
        }
        p.faint { "Of what a request costs, " (show::percent(share)) " goes to the node that answered it." }
    };
    Page::new(&visitor, App::Status, "Prices", body)
        .lead("A request is paid for once, by the tokens that its signed answer counts. What fails costs nothing.")
        .into_response()
}

fn amounts(price: ModelPrice) -> Markup {
    html! {
        td { (show::credits(price.input_per_million)) }
        td { (show::credits(price.output_per_million)) }
        td { (show::credits(price.per_request)) }
    }
}
