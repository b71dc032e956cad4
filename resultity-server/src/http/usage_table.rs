//! Reports of usage as tables.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use resultity_core::api::usage::UsageReport;
use resultity_core::error::{ApiError, ErrorCode};
use serde::Deserialize;

use crate::http::query;

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

/// Whether `format=csv` is asked for.
pub(super) fn is_asked(uri: &Uri) -> Result<bool, ApiError> {
    Ok(query::read::<Written>(uri)?.format == Some(Format::Csv))
}

/// The report as a table.
pub(super) fn written(report: &UsageReport) -> Result<Response, ApiError> {
    let mut response = csv(report)
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
fn csv(report: &UsageReport) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "day",
        "model",
        "endpoint",
        "key",
        "key_label",
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
            cell(row.model.as_deref()),
            row.endpoint.clone().unwrap_or_default(),
            row.key.map(|key| key.to_string()).unwrap_or_default(),
            cell(row.key_label.as_deref()),
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

/// A text that people gave: a spreadsheet must not take it for a formula.
pub(super) fn cell(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(cell(Some(text)), format!("'{text}"));
        }
        assert_eq!((cell(Some("a=b")), cell(None)), ("a=b".into(), String::new()));
    }
}
