//! `/v1/jobs`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::jobs::{Feedback, JobRequest, JobsApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;

use super::{Keyed, encode};
use crate::http::problem::Problem;
use crate::http::{body, options, query};

/// A job's id, or that of the answer that it made, which is all that an SDK shows. What is no id names nothing.
fn job_id(text: &str) -> Result<JobId, ApiError> {
    let missing = |_| {
        ApiError::new(
            ErrorCode::NotFound,
            "there is no such job: an id looks like those of GET /v1/jobs",
        )
    };
    JobId::of_answer(text).map_or_else(|| text.parse().map_err(missing), Ok)
}

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: JobRequest = body::json(&headers, body).await?;
    if options::is_dry_run(&headers)? {
        return Ok(encode(&session.quote(request).await?));
    }
    let reply = session.create_job(request).await?;
    Ok((StatusCode::ACCEPTED, encode(&reply)).into_response())
}

pub(in crate::http) async fn list(Keyed(session): Keyed, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.jobs(query::read(&uri)?).await?))
}

pub(in crate::http) async fn retrieve(Keyed(session): Keyed, Path(job): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.job(job_id(&job)?).await?))
}

pub(in crate::http) async fn cancel(Keyed(session): Keyed, Path(job): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.cancel_job(job_id(&job)?).await?))
}

pub(in crate::http) async fn receipt(Keyed(session): Keyed, Path(job): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.receipt(job_id(&job)?).await?))
}

pub(in crate::http) async fn feedback(
    Keyed(session): Keyed,
    Path(job): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let feedback: Feedback = body::json(&headers, body).await?;
    Ok(encode(&session.feedback(job_id(&job)?, feedback).await?))
}
