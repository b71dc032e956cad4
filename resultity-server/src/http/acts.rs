//! What changes something goes to its end, also when whoever asked hangs up in the middle: many acts have several steps
//! (a key of the network that is made, named and taken up; a key of an account that is revoked and then forgotten), and
//! none may stop between two.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use resultity_core::error::{ApiError, ErrorCode};
use tracing::Instrument;

use crate::http::App;
use crate::http::problem::Problem;

/// Runs whatever is no mere look in a task of its own, for which the stop of the server waits. Whoever asks waits too.
pub(super) async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let act = app.gate.acts.spawn(next.run(request).in_current_span());
    act.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an act was not finished");
        let error = ApiError::new(ErrorCode::Internal, "the server could not do it; see its log");
        Problem::from(error).into_response()
    })
}
