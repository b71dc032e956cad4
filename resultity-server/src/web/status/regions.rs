//! Where the nodes are, as they say themselves.

use axum::response::{IntoResponse, Response};
use maud::html;
use resultity_core::api::status::StatusApi;

use super::super::kit::chart::meter;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{empty, panel, table};
use super::super::kit::visitor::Visitor;
use super::map;

/// `GET /status/regions`.
pub(super) async fn show(visitor: Visitor) -> Response {
    let regions = match visitor.status().regions(visitor.within()).await {
        Ok(seen) => seen.body.regions,
        Err(error) => return failure(&visitor, &error, html! {}),
    };
    let rows = html! {
        @for region in &regions {
            tr {
                td { @if let Some(name) = &region.region { (name) } @else { span.faint { "not said" } } }
                td.number { (show::count(region.in_rotation)) " of " (show::count(region.nodes)) }
                td.number { (show::count(region.gpus)) }
                td {
                    (meter(region.slots_in_use, region.slots, "Slots in use"))
                    (show::count(region.slots_in_use)) " of " (show::count(region.slots))
                }
                td { (region.models.join(", ")) }
            }
        }
    };
    let body = html! {
        @if regions.is_empty() {
            (empty("No node is connected", html! {
                p { "Anybody can run one." } p { a.button href="/network" { "Join with a node" } }
            }))
        }
        section.panel { (map::draw(&regions)) }
        @if !regions.is_empty() {
            (panel("Regions", table("Regions", &["Region", "Nodes ready", "GPUs", "Slots in use", "Models"], rows)))
        }
    };
    Page::new(&visitor, App::Status, "Regions", body)
        .lead("A node says where it is, or not. What it says is not checked.")
        .into_response()
}
