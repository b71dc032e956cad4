//! For whoever runs the server: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::flow::Flow;
use crate::http::App;

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// It takes work: it is not about to stop, and the database can be written to.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.stop_intake.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "about to stop\n").into_response();
    }
    match app.flow().store.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be written to\n").into_response()
        }
    }
}

/// Counters, in Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let sum = |of: fn(&Flow) -> usize| app.flows.iter().map(|flow| of(flow)).sum::<usize>() as f64;
    metrics::gauge!("resultity_jobs_waiting").set(sum(Flow::waiting));
    metrics::gauge!("resultity_jobs_under_way").set(sum(|flow| flow.tasks.len()));
    let text = app
        .metrics
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render)
        .unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
