//! What was asked: how much, how fast, for how much; by day, model, endpoint, key and namespace.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    AccountUsage, AccountUsageQuery, AccountUsageRow, Namespace, NamespacesApi, ReportsApi,
};
use resultity_core::api::usage::UsageCounts;
use resultity_core::error::ApiError;

use super::super::kit::chart::Chart;
use super::super::kit::form::Fields;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{card, empty, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use super::keys::in_environment;

/// By what the table can be told apart, with what that is called.
const GROUPS: [(&str, &str); 5] = [
    ("model", "Model"),
    ("endpoint", "Endpoint"),
    ("key", "API key"),
    ("namespace", "Namespace"),
    ("day", "Day"),
];

/// `GET /cloud`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let fields = Fields::of_query(&uri);
    let by = fields
        .if_any("by")
        .filter(|by| GROUPS.iter().any(|(name, _)| name == by))
        .unwrap_or("model");
    let read = async {
        let (session, asked) = (inside.session()?, query_of(&fields, visitor)?);
        let mut days = asked.clone();
        days.group_by = Some("day".into());
        let mut parts = asked;
        parts.group_by = Some(by.to_owned());
        let namespaces = session.namespaces(in_environment(visitor)).await?.data;
        Ok::<_, ApiError>((
            session.account_usage(days).await?,
            session.account_usage(parts).await?,
            namespaces,
        ))
    };
    let (days, parts, namespaces) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let body = html! {
        (filter(&fields, by, &days, &namespaces))
        @if days.total.requests == 0 {
            (empty("Nothing was asked in this time", html! {
                p { "Make an " a href="/cloud/keys" { "API key" } ", and ask one of the " a href="/status/models" { "models" } "." }
            }))
        }
        (numbers(&days.total))
        (charts(&days))
        (panel("In parts", html! {
            (breakdown(by, &parts))
            p { a.button.quiet href=(export(&fields, visitor, by)) { "Export as CSV" } }
        }))
    };
    Page::new(visitor, App::Cloud, "Usage", body)
        .lead(format!(
            "What was asked with your keys from {} to {}.",
            days.start, days.end
        ))
        .into_response()
}

fn query_of(fields: &Fields, visitor: &Visitor) -> Result<AccountUsageQuery, ApiError> {
    let text = |name| fields.if_any(name).map(str::to_owned);
    Ok(AccountUsageQuery {
        environment: Some(visitor.environment),
        start: text("start"),
        end: text("end"),
        model: text("model"),
        namespace: fields.parsed("namespace", "one of your namespaces")?,
        key: fields.parsed("key", "one of your keys")?,
        ..AccountUsageQuery::default()
    })
}

fn export(fields: &Fields, visitor: &Visitor, by: &str) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    pairs
        .append_pair("format", "csv")
        .append_pair("environment", visitor.environment.as_str());
    pairs.append_pair("group_by", if by == "day" { "day,model" } else { by });
    for name in ["start", "end", "model", "namespace", "key"] {
        if let Some(value) = fields.if_any(name) {
            pairs.append_pair(name, value);
        }
    }
    format!("/gate/v1/usage?{}", pairs.finish())
}

fn filter(fields: &Fields, by: &str, days: &AccountUsage, namespaces: &[Namespace]) -> Markup {
    let chosen = fields.get("namespace");
    html! {
        form.filter method="get" action="/cloud" {
            label { "From " input type="date" name="start" value=(days.start); }
            label { "to " input type="date" name="end" value=(days.end); }
            label { "Model " input type="text" name="model" value=(fields.get("model")) placeholder="all"; }
            label {
                "Namespace "
                select name="namespace" {
                    option value="" { "all" }
                    @for namespace in namespaces {
                        @let id = namespace.id.to_string();
                        option value=(id) selected[id == chosen] { (namespace.name) }
                    }
                }
            }
            label {
                "By "
                select name="by" { @for (name, label) in GROUPS { option value=(name) selected[name == by] { (label) } } }
            }
            button.button.quiet type="submit" { "Show" }
        }
    }
}

fn numbers(total: &UsageCounts) -> Markup {
    let tokens = total.prompt_tokens.saturating_add(total.completion_tokens);
    html! {
        div.cards {
            (card("Requests", html! { (show::count(total.requests)) }, html! { (show::count(total.failed)) " failed, which cost nothing" }))
            (card("Tokens", html! { (show::count(tokens)) }, html! {
                (show::count(total.prompt_tokens)) " in, " (show::count(total.completion_tokens)) " out"
            }))
            (card("Cost", html! { (show::credits(total.cost)) }, html! {}))
            (card("Time for one", html! { (show::millis(mean(total))) }, html! { "on average" }))
        }
    }
}

/// The mean time of a request, in milliseconds.
fn mean(counts: &UsageCounts) -> f64 {
    counts.duration_ms as f64 / counts.requests.max(1) as f64
}

fn charts(days: &AccountUsage) -> Markup {
    let points = |of: fn(&UsageCounts) -> f64| -> Vec<(String, f64)> {
        let points = days
            .data
            .iter()
            .map(|row| (row.day.clone().unwrap_or_default(), of(&row.counts)));
        points.collect()
    };
    let (requests, cost) = (
        points(|counts| counts.requests as f64),
        points(|counts| counts.cost.micros() as f64 / 1e6),
    );
    let (tokens, time) = (
        points(|counts| (counts.prompt_tokens + counts.completion_tokens) as f64),
        points(mean),
    );
    let chart = |title, points, written| html! { div.panel { (Chart { title, points, written }.bars()) } };
    html! {
        @if !days.data.is_empty() {
            div.pair {
                (chart("Requests a day", &requests, show::number))
                (chart("Credits a day", &cost, show::number))
                (chart("Tokens a day", &tokens, show::number))
                (chart("Time for a request", &time, show::millis))
            }
        }
    }
}

fn breakdown(by: &str, parts: &AccountUsage) -> Markup {
    let name = |row: &AccountUsageRow| -> String {
        let found = match by {
            "model" => row.model.clone(),
            "endpoint" => row.endpoint.clone(),
            "day" => row.day.clone(),
            "key" => row
                .key_label
                .clone()
                .filter(|label| !label.is_empty())
                .or_else(|| row.key.map(|key| key.to_string())),
            _ => row.namespace_name.clone(),
        };
        found.unwrap_or_else(|| "unknown".to_owned())
    };
    let heading = GROUPS
        .iter()
        .find(|(group, _)| *group == by)
        .map_or("", |(_, label)| label);
    let rows = html! {
        @for row in &parts.data {
            tr {
                td {
                    @if let (true, Some(key)) = (by == "key", row.key) { a href={ "/cloud/keys/" (key.to_string()) } { (name(row)) } }
                    @else { (name(row)) }
                }
                td.number { (show::count(row.counts.requests)) }
                td.number { (show::count(row.counts.failed)) }
                td.number { (show::count(row.counts.prompt_tokens)) }
                td.number { (show::count(row.counts.completion_tokens)) }
                td.number { (show::millis(mean(&row.counts))) }
                td.number { (show::credits(row.counts.cost)) }
            }
        }
    };
    table(
        "Usage in parts",
        &[
            heading,
            "Requests",
            "Failed",
            "Tokens in",
            "Tokens out",
            "Time for one",
            "Cost",
        ],
        rows,
    )
}
