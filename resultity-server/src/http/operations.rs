//! For whoever runs the server: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::flow::Flow;
use crate::flow::schedule::NodeLoad;
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
    for flow in app.flows.iter() {
        measure(flow);
        // One that can't be read now is as it was.
        if let Ok(issued) = flow.store.credits_issued(flow.environment).await {
            let credits = issued.micros() as f64 / 1e6;
            metrics::gauge!("resultity_credits_issued", "environment" => flow.environment.as_str()).set(credits);
        }
    }
    let text = app
        .metrics
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render)
        .unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// What is known of an environment when somebody looks: nothing of it is counted on the way of a job.
fn measure(flow: &Flow) {
    let environment = flow.environment.as_str();
    let loads = flow.loads();
    // Those that nobody waits for any more, too.
    for model in &flow.snapshot().models {
        let waiting = loads.waiting.get(&model.name).copied().unwrap_or_default();
        metrics::gauge!("resultity_queue_waiting", "environment" => environment, "model" => model.name.clone())
            .set(waiting as f64);
    }
    let in_rotation = || loads.nodes.values().filter(|node| !node.models.is_empty());
    let sum = |of: fn(&NodeLoad) -> u32| in_rotation().map(|node| f64::from(of(node))).sum::<f64>();
    for (name, value) in [
        ("resultity_nodes_in_rotation", in_rotation().count() as f64),
        ("resultity_slots", sum(|node| node.slots)),
        ("resultity_slots_taken", sum(|node| node.taken)),
        (
            "resultity_intake_stopped",
            f64::from(u8::from(flow.intake_stop().is_some())),
        ),
    ] {
        metrics::gauge!(name, "environment" => environment).set(value);
    }
    let ends = flow.tally.totals();
    for (outcome, count) in [
        ("succeeded", ends.succeeded),
        ("failed", ends.failed),
        ("expired", ends.expired),
        ("cancelled", ends.cancelled),
    ] {
        metrics::counter!("resultity_jobs_ended_total", "environment" => environment, "outcome" => outcome)
            .absolute(count);
    }
    metrics::counter!("resultity_tokens_total", "environment" => environment).absolute(ends.tokens);
}
