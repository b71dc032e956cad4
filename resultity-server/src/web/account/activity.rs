//! What an account did and earned: one feed, the same everywhere.

use axum::http::Uri;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{Activity, CreditQuery, ReportsApi, Rewards};
use resultity_core::error::{ApiError, ErrorCode};

use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{card, empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// The most entries that are exported.
const MOST_EXPORTED: usize = 10_000;

/// `GET /account/activity`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let session = inside.session()?;
        let mut asked: CreditQuery = query::read(&uri)?;
        asked.environment = Some(visitor.environment);
        Ok((session.activity(asked).await?, session.rewards(visitor.within()).await?))
    };
    match read.await {
        Ok((feed, rewards)) => {
            let next = feed
                .last_id
                .filter(|_| feed.has_more)
                .map(|last| visitor.place.with("after", &last));
            let body = html! {
                (earned(&rewards))
                @if feed.data.is_empty() {
                    (empty("Nothing yet", html! { p { "Keys, credits and nodes: what you do with them stands here." } }))
                } @else {
                    (panel("Activity", html! { (list(visitor, &feed.data)) (more(next)) }))
                    p { a.button.quiet href="/account/activity.csv" { "Export as CSV" } }
                }
            };
            Page::new(visitor, App::Account, "Activity and rewards", body).into_response()
        }
        Err(error) => failure(visitor, &error, html! {}),
    }
}

fn earned(rewards: &Rewards) -> Markup {
    html! {
        div.cards {
            (card("Credits", html! { (rewards.credits.to_string()) }, html! { "to spend, in all namespaces" }))
            (card("Earned", html! { (rewards.earned.to_string()) }, html! { "credits, by your nodes" }))
            (card("To be paid out", html! { (rewards.payable.to_string()) }, html! { (rewards.paid_out.to_string()) " paid out so far" }))
            (card("Points", html! { (show::count(rewards.points)) }, html! { "for contributions" }))
        }
    }
}

fn list(visitor: &Visitor, feed: &[Activity]) -> Markup {
    let rows = html! {
        @for one in feed {
            tr {
                td { (show::time(one.created_at, visitor.now)) }
                td { (one.message) }
                td { (show::short(&one.subject)) }
                td.number { @if let Some(amount) = one.amount { (show::credits(amount)) } }
            }
        }
    };
    table("Activity", &["When", "What", "About", "Amount"], rows)
}

/// `GET /account/activity.csv`.
pub(super) async fn export(inside: Inside) -> Response {
    match written(&inside).await {
        Ok(text) => (
            [
                (CONTENT_TYPE, "text/csv; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"activity.csv\""),
            ],
            text,
        )
            .into_response(),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

async fn written(inside: &Inside) -> Result<Vec<u8>, ApiError> {
    let session = inside.session()?;
    let failed = |_| ApiError::new(ErrorCode::Internal, "the export could not be written");
    let mut table = csv::Writer::from_writer(Vec::new());
    table
        .write_record(["when", "kind", "message", "subject", "credits"])
        .map_err(failed)?;
    let mut asked = CreditQuery {
        environment: Some(inside.visitor.environment),
        limit: Some(100),
        ..CreditQuery::default()
    };
    let mut count = 0;
    loop {
        let feed = session.activity(asked.clone()).await?;
        for one in &feed.data {
            let amount = one.amount.map(|amount| amount.to_string()).unwrap_or_default();
            let line = [
                show::exact(one.created_at),
                one.kind.clone(),
                one.message.clone(),
                one.subject.clone(),
                amount,
            ];
            table.write_record(line.map(|cell| plain(&cell))).map_err(failed)?;
        }
        count += feed.data.len();
        match feed.last_id.filter(|_| feed.has_more && count < MOST_EXPORTED) {
            Some(last) => asked.after = Some(last),
            None => break,
        }
    }
    table
        .into_inner()
        .map_err(|_| ApiError::new(ErrorCode::Internal, "the export could not be written"))
}

/// A cell that no program for tables takes for a formula.
fn plain(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err() {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}
