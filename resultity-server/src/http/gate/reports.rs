//! `/gate/v1/usage`, `/gate/v1/activity`, `/gate/v1/rewards`.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::gate::{AccountUsage, ReportsApi};
use resultity_core::error::{ApiError, ErrorCode};

use super::{Gated, encode};
use crate::http::problem::Problem;
use crate::http::table::Table;
use crate::http::{query, usage_table};

pub(super) fn routes(table: Table) -> Table {
    table
        .get("/gate/v1/usage", usage)
        .get("/gate/v1/activity", activity)
        .get("/gate/v1/rewards", rewards)
}

async fn usage(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    let is_table = usage_table::is_asked(&uri)?;
    let report = session.account_usage(query::read(&uri)?).await?;
    if !is_table {
        return Ok(encode(&report));
    }
    let mut response = csv(&report)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the report could not be written").with_source(error))?
        .into_response();
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    set.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"usage.csv\""),
    );
    Ok(response)
}

/// RFC 4180, with a line of names.
fn csv(report: &AccountUsage) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "day",
        "namespace",
        "namespace_name",
        "key",
        "key_label",
        "model",
        "endpoint",
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
            row.namespace.map(|id| id.to_string()).unwrap_or_default(),
            usage_table::cell(row.namespace_name.as_deref()),
            row.key.map(|id| id.to_string()).unwrap_or_default(),
            usage_table::cell(row.key_label.as_deref()),
            usage_table::cell(row.model.as_deref()),
            row.endpoint.clone().unwrap_or_default(),
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

async fn activity(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.activity(query::read(&uri)?).await?))
}

async fn rewards(Gated(session): Gated, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.rewards(query::read(&uri)?).await?))
}
