//! `/gate/v1/admin/intake`, `/queue`, `/jobs/{job}/why`, `/overview` and `/dead-letters`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::gate::{DeadLetterAction, DeadLettersApi, InEnvironment, IntakeApi, OverviewApi, QueueApi};

use super::{Gated, encode, named};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{body, query};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/admin/intake", intake)
        .post("/gate/v1/admin/intake", set_intake)
        .get("/gate/v1/admin/queue", queue)
        .get("/gate/v1/admin/jobs/{job}/why", why)
        .get("/gate/v1/admin/overview", overview)
        .get("/gate/v1/admin/dead-letters", dead_letters)
        .post("/gate/v1/admin/dead-letters/{job}/requeue", requeue)
        .delete("/gate/v1/admin/dead-letters/{job}", drop_letter)
}

async fn intake(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.intake(query::read(&uri)?).await?))
}

async fn set_intake(Gated(session): Gated, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.set_intake(request).await?))
}

async fn queue(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.queue_health(query::read(&uri)?).await?))
}

async fn why(Gated(session): Gated, Path(job): Path<String>, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.job_why(named(&job, "job")?, query::read(&uri)?).await?))
}

async fn overview(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.overview(query::read(&uri)?).await?))
}

async fn dead_letters(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.dead_letters(query::read(&uri)?).await?))
}

async fn requeue(
    Gated(session): Gated,
    Path(job): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: InEnvironment = query::read(&uri)?;
    let mut action: DeadLetterAction = body::json_or_default(&headers, body).await?;
    action.environment = action.environment.or(asked.environment);
    Ok(encode(
        &session.requeue_dead_letter(named(&job, "dead letter")?, action).await?,
    ))
}

async fn drop_letter(Gated(session): Gated, Path(job): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let action = query::read(&uri)?;
    Ok(encode(
        &session.drop_dead_letter(named(&job, "dead letter")?, action).await?,
    ))
}
