//! `/v1/webhooks`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::webhooks::WebhooksApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{DeliveryId, WebhookId};

use super::{Keyed, encode};
use crate::http::problem::Problem;
use crate::http::{body, query};

/// What is no id names nothing.
fn id<I: std::str::FromStr>(text: &str, what: &str) -> Result<I, ApiError> {
    let missing = |_| ApiError::new(ErrorCode::NotFound, format!("there is no such {what}"));
    text.parse().map_err(missing)
}

fn webhook_id(text: &str) -> Result<WebhookId, ApiError> {
    id(text, "webhook")
}

fn delivery_id(text: &str) -> Result<DeliveryId, ApiError> {
    id(text, "delivery")
}

pub(in crate::http) async fn list(Keyed(session): Keyed, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.webhooks(query::read(&uri)?).await?))
}

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.create_webhook(request).await?))
}

pub(in crate::http) async fn retrieve(Keyed(session): Keyed, Path(webhook): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.webhook(webhook_id(&webhook)?).await?))
}

pub(in crate::http) async fn update(
    Keyed(session): Keyed,
    Path(webhook): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json(&headers, body).await?;
    Ok(encode(&session.update_webhook(webhook_id(&webhook)?, request).await?))
}

pub(in crate::http) async fn delete(Keyed(session): Keyed, Path(webhook): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.delete_webhook(webhook_id(&webhook)?).await?))
}

pub(in crate::http) async fn rotate(
    Keyed(session): Keyed,
    Path(webhook): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json_or_default(&headers, body).await?;
    let webhook = webhook_id(&webhook)?;
    Ok(encode(&session.rotate_webhook_secret(webhook, request).await?))
}

pub(in crate::http) async fn test(
    Keyed(session): Keyed,
    Path(webhook): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request = body::json_or_default(&headers, body).await?;
    Ok(encode(&session.test_webhook(webhook_id(&webhook)?, request).await?))
}

pub(in crate::http) async fn deliveries(
    Keyed(session): Keyed,
    Path(webhook): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (webhook, query) = (webhook_id(&webhook)?, query::read(&uri)?);
    Ok(encode(&session.webhook_deliveries(webhook, query).await?))
}

pub(in crate::http) async fn delivery(
    Keyed(session): Keyed,
    Path((webhook, delivery)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (webhook, delivery) = (webhook_id(&webhook)?, delivery_id(&delivery)?);
    Ok(encode(&session.webhook_delivery(webhook, delivery).await?))
}

pub(in crate::http) async fn replay(
    Keyed(session): Keyed,
    Path((webhook, delivery)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (webhook, delivery) = (webhook_id(&webhook)?, delivery_id(&delivery)?);
    Ok(encode(&session.replay_webhook_delivery(webhook, delivery).await?))
}
