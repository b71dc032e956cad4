//! Webhooks.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::api::webhooks::{
    CreateWebhook, RotateWebhookSecret, TestWebhook, UpdateWebhook, Webhook, WebhookDeleted, WebhookDelivery,
    WebhookWithSecret, WebhooksApi,
};
use resultity_core::error::ApiError;
use resultity_core::id::{DeliveryId, WebhookId};

use crate::cloud::CloudClient;
use crate::pages::{Entries, pages};

#[async_trait]
impl WebhooksApi for CloudClient {
    async fn create_webhook(&self, request: CreateWebhook) -> Result<Reply<WebhookWithSecret>, ApiError> {
        let call = self.transport.post(&["webhooks"], &request)?;
        self.transport.json(call).await
    }

    async fn webhooks(&self, query: PageQuery) -> Result<Reply<Page<Webhook>>, ApiError> {
        let call = self.transport.get(&["webhooks"]).with_query(&query)?;
        self.transport.json(call).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Reply<Webhook>, ApiError> {
        let call = self.transport.get(&["webhooks", &id.to_string()]);
        self.transport.json(call).await
    }

    async fn update_webhook(&self, id: WebhookId, request: UpdateWebhook) -> Result<Reply<Webhook>, ApiError> {
        let call = self.transport.post(&["webhooks", &id.to_string()], &request)?;
        // It says how the webhook is to be, not what to add.
        self.transport.json(call.repeatable()).await
    }

    async fn delete_webhook(&self, id: WebhookId) -> Result<Reply<WebhookDeleted>, ApiError> {
        let call = self.transport.delete(&["webhooks", &id.to_string()]);
        self.transport.json(call).await
    }

    async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        request: RotateWebhookSecret,
    ) -> Result<Reply<WebhookWithSecret>, ApiError> {
        let call = self
            .transport
            .post(&["webhooks", &id.to_string(), "rotate"], &request)?;
        self.transport.json(call).await
    }

    async fn test_webhook(&self, id: WebhookId, request: TestWebhook) -> Result<Reply<WebhookDelivery>, ApiError> {
        let call = self.transport.post(&["webhooks", &id.to_string(), "test"], &request)?;
        self.transport.json(call).await
    }

    async fn webhook_deliveries(
        &self,
        id: WebhookId,
        query: PageQuery,
    ) -> Result<Reply<Page<WebhookDelivery>>, ApiError> {
        let call = self.transport.get(&["webhooks", &id.to_string(), "deliveries"]);
        self.transport.json(call.with_query(&query)?).await
    }

    async fn webhook_delivery(&self, id: WebhookId, delivery: DeliveryId) -> Result<Reply<WebhookDelivery>, ApiError> {
        let call = self
            .transport
            .get(&["webhooks", &id.to_string(), "deliveries", &delivery.to_string()]);
        self.transport.json(call).await
    }

    async fn replay_webhook_delivery(
        &self,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Reply<WebhookDelivery>, ApiError> {
        let (id, delivery) = (id.to_string(), delivery.to_string());
        let call = self
            .transport
            .post_nothing(&["webhooks", &id, "deliveries", &delivery, "replay"]);
        self.transport.json(call).await
    }
}

impl CloudClient {
    /// The webhooks of all pages.
    pub fn webhooks_stream(&self, query: PageQuery) -> Entries<Webhook> {
        let client = self.clone();
        pages(query.after.clone(), move |after| {
            let (client, query) = (client.clone(), PageQuery { after, ..query.clone() });
            async move { client.webhooks(query).await }
        })
    }

    /// What was and is to be sent to a webhook, over all pages.
    pub fn webhook_deliveries_stream(&self, id: WebhookId, query: PageQuery) -> Entries<WebhookDelivery> {
        let client = self.clone();
        pages(query.after.clone(), move |after| {
            let (client, query) = (client.clone(), PageQuery { after, ..query.clone() });
            async move { client.webhook_deliveries(id, query).await }
        })
    }
}
