//! Every answer carries an id by which it can be found in the logs, and how long it took.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");

pub(super) async fn add(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = format!("req_{}", Uuid::now_v7().simple());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let elapsed = begun.elapsed();
    tracing::debug!(request.id = id, http.method = %method, http.path = path, http.status = response.status().as_u16(), elapsed_ms = elapsed.as_millis() as u64, "answered");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(PROCESSING_MS, HeaderValue::from(elapsed.as_millis() as u64));
    response
}
