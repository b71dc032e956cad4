//! What a node did, said and earned.

use axum::extract::Path;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    Namespace, NamespaceQuery, NamespacesApi, NodeEarnings, NodeJob, NodeJobsQuery, NodeLog, NodeLogsQuery,
    NodeWorkQuery, NodesApi, PayOutNode,
};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::wire::LogLevel;

use super::super::kit::chart::Chart;
use super::super::kit::form::{Filled, InsideForm, choice, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, card, empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use super::node::{id_of, place, ways};
use super::nodes::name;
use crate::http::query;

/// `GET /network/nodes/{node}/jobs`.
pub(super) async fn jobs(inside: Inside, Path(node): Path<String>, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, id_of(&node)?);
        let mut asked: NodeJobsQuery = query::read(&uri)?;
        asked.environment = Some(visitor.environment);
        Ok((
            session.node(id, visitor.within()).await?,
            session.node_jobs(id, asked).await?,
        ))
    };
    let (node, jobs) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = jobs
        .last_id
        .filter(|_| jobs.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        (ways(&node))
        @if jobs.data.is_empty() { (empty("No job yet", html! { p { "Jobs stand here once they have ended." } })) }
        @else { (panel("Jobs", html! { (job_list(visitor, &jobs.data)) (more(next)) })) }
    };
    Page::new(visitor, App::Network, format!("Jobs of {}", name(&node)), body).into_response()
}

fn job_list(visitor: &Visitor, jobs: &[NodeJob]) -> Markup {
    let rows = html! {
        @for job in jobs {
            tr {
                td { (show::short(&job.id.to_string())) }
                td { code { (job.model) } }
                td { (job.endpoint) }
                td { (job.state.as_str()) @if let Some(reason) = &job.reason { br; span.faint { (reason) } } }
                td.number {
                    @if let (Some(prompt), Some(completion)) = (job.prompt_tokens, job.completion_tokens) {
                        (show::count(prompt)) " + " (show::count(completion))
                    }
                }
                td.number { (show::millis(job.duration_ms as f64)) }
                td.number { (show::credits(job.earned)) }
                td { (show::time(job.finished_at, visitor.now)) }
            }
        }
    };
    table(
        "Jobs",
        &[
            "Job", "Model", "Endpoint", "Ended as", "Tokens", "Took", "Earned", "When",
        ],
        rows,
    )
}

/// `GET /network/nodes/{node}/logs`.
pub(super) async fn logs(inside: Inside, Path(node): Path<String>, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, id_of(&node)?);
        let mut asked: NodeLogsQuery = query::read(&uri)?;
        asked.environment = Some(visitor.environment);
        Ok((
            session.node(id, visitor.within()).await?,
            session.node_logs(id, asked).await?,
        ))
    };
    let (node, logs) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = logs
        .last_id
        .filter(|_| logs.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        (ways(&node))
        @if logs.data.is_empty() { (empty("Nothing was said yet", html! { p { "A node tells of itself what it does; never what was asked." } })) }
        @else { (panel("Logs", html! { (log_list(visitor, &logs.data)) (more(next)) })) }
    };
    Page::new(visitor, App::Network, format!("Logs of {}", name(&node)), body).into_response()
}

fn log_list(visitor: &Visitor, logs: &[NodeLog]) -> Markup {
    let level = |level: LogLevel| match level {
        LogLevel::Error => badge("error", "bad"),
        LogLevel::Warn => badge("warning", "wait"),
        _ => badge("info", ""),
    };
    let rows = html! {
        @for log in logs {
            tr {
                td { (show::time(log.received_at, visitor.now)) }
                td { (level(log.line.level)) }
                td { (log.line.message) }
                td { @if let Some(job) = log.line.job_id { (show::short(&job.to_string())) } }
            }
        }
    };
    table("Logs", &["When", "Level", "What", "Job"], rows)
}

/// `GET /network/nodes/{node}/earnings`.
pub(super) async fn earnings(inside: Inside, Path(node): Path<String>) -> Response {
    earnings_page(&inside, &node, &Filled::default()).await
}

async fn earnings_page(inside: &Inside, node: &str, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, id_of(node)?);
        let asked = NodeWorkQuery {
            environment: Some(visitor.environment),
            ..NodeWorkQuery::default()
        };
        let mut namespaces = NamespaceQuery::of(visitor.environment);
        namespaces.limit = Some(100);
        let earnings = session.node_earnings(id, asked).await?;
        let node = session.node(id, visitor.within()).await?;
        Ok((node, earnings, session.namespaces(namespaces).await?.data))
    };
    let (node, earnings, namespaces) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let points: Vec<(String, f64)> = earnings
        .days
        .iter()
        .map(|day| (day.day.clone(), day.work.earned.micros() as f64 / 1e6))
        .collect();
    let body = html! {
        (ways(&node))
        div.cards {
            (card("To be paid out", show::credits(earnings.available), html! {}))
            (card("Earned", show::credits(earnings.earned), html! { "since " (show::time(earnings.from, visitor.now)) }))
        }
        (pay_form(visitor, &earnings, &namespaces, filled))
        section.panel { (Chart { title: "Credits a day", points: &points, written: show::number }.bars()) }
        (panel("By model", by_model(&earnings)))
    };
    Page::new(visitor, App::Network, format!("Earnings of {}", name(&node)), body)
        .after(filled)
        .into_response()
}

fn by_model(earnings: &NodeEarnings) -> Markup {
    let rows = html! {
        @for model in &earnings.models {
            tr {
                td { code { (model.model) } }
                td.number { (show::count(model.work.jobs)) }
                td.number { (show::count(model.work.prompt_tokens)) }
                td.number { (show::count(model.work.completion_tokens)) }
                td.number { (show::credits(model.work.earned)) }
            }
        }
    };
    table(
        "Earnings by model",
        &["Model", "Jobs", "Tokens in", "Tokens out", "Earned"],
        rows,
    )
}

fn pay_form(visitor: &Visitor, earnings: &NodeEarnings, namespaces: &[Namespace], filled: &Filled) -> Markup {
    let names: Vec<(String, &str)> = namespaces
        .iter()
        .map(|namespace| (namespace.id.to_string(), namespace.name.as_str()))
        .collect();
    let options: Vec<(&str, &str)> = names.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    panel(
        "Pay it out",
        html! {
            (filled.general(&[]))
            @if namespaces.is_empty() { p { "What it earned goes to a namespace: " a href="/cloud/namespaces" { "make one" } " first." } }
            @else if earnings.available.micros() == 0 { p.faint { "There is nothing to be paid out." } }
            @else {
                form.stack method="post" action={ (place(&earnings.node.to_string())) "/earnings" } {
                    (csrf(visitor))
                    (choice("namespace", "To the namespace", filled.fields.get("namespace"), &options))
                    button.button type="submit" { "Pay out all of it" }
                }
            }
        },
    )
}

/// `POST /network/nodes/{node}/earnings`.
pub(super) async fn pay_out(Path(node): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let paid = async {
        let namespace = fields.get("namespace").parse();
        let namespace = namespace.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such namespace"))?;
        inside
            .session()?
            .pay_out_node(id_of(&node)?, inside.visitor.within(), PayOutNode::all(namespace))
            .await
    };
    match paid.await {
        Ok(paid) => done(
            &format!("{}/earnings", place(&node)),
            &format!("{} credits are paid out.", paid.amount),
        ),
        Err(error) => earnings_page(&inside, &node, &Filled::refused(fields, error)).await,
    }
}
