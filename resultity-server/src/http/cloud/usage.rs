//! `/v1/usage` and `/v1/credits`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::usage::{UsageApi, UsageQuery, UsageReport};
use resultity_core::error::{ApiError, ErrorCode};
use serde::Deserialize;

use super::{describe, encode, session};
use crate::http::problem::Problem;
use crate::http::{App, query};

/// How the report is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

pub(in crate::http) async fn usage(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = session(&app, &headers).await?;
    let written: Written = query::read(&uri)?;
    let query: UsageQuery = query::read(&uri)?;
    let reply = session.usage(query).await?;
    if written.format != Some(Format::Csv) {
        return Ok(encode(&reply));
    }
    let mut response = csv(&reply.body)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the report could not be written").with_source(error))?
        .into_response();
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    set.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"usage.csv\""),
    );
    describe(&mut response, &reply.meta);
    Ok(response)
}

/// RFC 4180, with a line of names.
fn csv(report: &UsageReport) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "day",
        "model",
        "endpoint",
        "key",
        "requests",
        "failed",
        "prompt_tokens",
        "completion_tokens",
        "duration_ms",
        "cost",
    ])?;
    for row in &report.data {
        let counts = &row.counts;
        writer.write_record([
            row.day.clone().unwrap_or_default(),
            row.model.clone().unwrap_or_default(),
            row.endpoint.clone().unwrap_or_default(),
            row.key.map(|key| key.to_string()).unwrap_or_default(),
            counts.requests.to_string(),
            counts.failed.to_string(),
            counts.prompt_tokens.to_string(),
            counts.completion_tokens.to_string(),
            counts.duration_ms.to_string(),
            counts.cost.to_string(),
        ])?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

pub(in crate::http) async fn credits(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    Ok(encode(&session(&app, &headers).await?.credits().await?))
}
