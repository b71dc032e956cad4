//! Webhooks of the caller's namespace: who is told what, and what became of it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::cloud::Reply;
use crate::api::page::{Page, PageQuery};
use crate::error::ApiError;
use crate::id::{DeliveryId, WebhookId};
use crate::webhook::{Event, EventType};

/// An address that events are sent to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Webhook {
    /// Names it.
    pub id: WebhookId,
    /// Always `webhook`.
    pub object: String,
    /// Where events are sent.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// Which events; none listed means all.
    pub events: Vec<EventType>,
    /// Whether events are sent. One whose receiver answers 410 is disabled by the network.
    pub enabled: bool,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
    /// Until when the secret before the current one is used too: seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_expires_at: Option<i64>,
}

/// A webhook with its secret, which is shown this once.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookWithSecret {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// What its messages are signed with: `whsec_…`, as [`Verifier`](crate::webhook::Verifier) and OpenAI's
    /// `webhooks.unwrap` take it.
    pub secret: String,
}

impl fmt::Debug for WebhookWithSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookWithSecret")
            .field("webhook", &self.webhook)
            .field("secret", &"[hidden]")
            .finish()
    }
}

/// `POST /v1/webhooks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateWebhook {
    /// Where events are to be sent: `https`, no user or password, at most 2048 characters.
    pub url: String,
    /// Which events; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventType>>,
    /// What people call it: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether events are sent; they are unless this says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

impl CreateWebhook {
    /// One for all events.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// For these events alone.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = EventType>) -> Self {
        self.events = Some(events.into_iter().collect());
        self
    }

    /// What people are to call it.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// `POST /v1/webhooks/{id}`: what is named is changed, the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateWebhook {
    /// Where events are to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events; an empty list means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventType>>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether events are sent. Those that wait when it is disabled fail, and can be sent again by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

impl UpdateWebhook {
    /// Another address.
    pub fn url(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            ..Self::default()
        }
    }

    /// On or off.
    pub fn enabled(enabled: bool) -> Self {
        Self {
            enabled: Some(enabled),
            ..Self::default()
        }
    }
}

/// `POST /v1/webhooks/{id}/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RotateWebhookSecret {
    /// How long messages are signed with the old secret too: 0 to 604800 seconds; a day if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

impl RotateWebhookSecret {
    /// With this overlap.
    pub fn overlap_seconds(seconds: u64) -> Self {
        Self {
            overlap_seconds: Some(seconds),
        }
    }
}

/// `POST /v1/webhooks/{id}/test`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TestWebhook {
    /// What the event is to look like; `webhook.test` if nothing is said. Its `data.id` begins with `test_`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventType>,
}

impl TestWebhook {
    /// An event that looks like this one.
    pub fn like(kind: EventType) -> Self {
        Self { kind: Some(kind) }
    }
}

/// That a webhook is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookDeleted {
    /// Which.
    pub id: WebhookId,
    /// Always `webhook.deleted`.
    pub object: String,
    /// Always true.
    pub deleted: bool,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Pending,
    /// The receiver answered with a 2xx.
    Delivered,
    /// It is not sent any more, unless by hand.
    Failed,
}

/// An event on its way to a webhook, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookDelivery {
    /// Names it.
    pub id: DeliveryId,
    /// Always `webhook.delivery`.
    pub object: String,
    /// To which webhook.
    pub webhook: WebhookId,
    /// What is sent.
    pub event: Event,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was sent so far.
    pub attempts: u32,
    /// What the receiver answered last: an HTTP status.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was sent last: seconds since the Unix epoch.
    pub last_attempt_at: Option<i64>,
    /// When it is sent next: seconds since the Unix epoch.
    pub next_attempt_at: Option<i64>,
    /// When it was recorded: seconds since the Unix epoch.
    pub created_at: i64,
}

/// Webhooks of the caller's namespace. Ids of others' are not found.
#[async_trait]
pub trait WebhooksApi: Send + Sync {
    /// Makes a webhook; its secret is in this answer alone.
    async fn create_webhook(&self, request: CreateWebhook) -> Result<Reply<WebhookWithSecret>, ApiError>;

    /// A page of them.
    async fn webhooks(&self, query: PageQuery) -> Result<Reply<Page<Webhook>>, ApiError>;

    /// One of them.
    async fn webhook(&self, id: WebhookId) -> Result<Reply<Webhook>, ApiError>;

    /// Changes one.
    async fn update_webhook(&self, id: WebhookId, request: UpdateWebhook) -> Result<Reply<Webhook>, ApiError>;

    /// Deletes one with its log.
    async fn delete_webhook(&self, id: WebhookId) -> Result<Reply<WebhookDeleted>, ApiError>;

    /// Gives it a new secret. Until the overlap is over, messages are signed with the old one too.
    async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        request: RotateWebhookSecret,
    ) -> Result<Reply<WebhookWithSecret>, ApiError>;

    /// Sends an event that has not happened, whatever the webhook's filter says.
    async fn test_webhook(&self, id: WebhookId, request: TestWebhook) -> Result<Reply<WebhookDelivery>, ApiError>;

    /// A page of what was and is to be sent.
    async fn webhook_deliveries(
        &self,
        id: WebhookId,
        query: PageQuery,
    ) -> Result<Reply<Page<WebhookDelivery>>, ApiError>;

    /// One delivery.
    async fn webhook_delivery(&self, id: WebhookId, delivery: DeliveryId) -> Result<Reply<WebhookDelivery>, ApiError>;

    /// Sends it again, now: the same event with the same id.
    async fn replay_webhook_delivery(
        &self,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Reply<WebhookDelivery>, ApiError>;
}
