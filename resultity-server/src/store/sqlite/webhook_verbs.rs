//! The verbs of [`WebhookStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{DeliveryId, NamespaceId, WebhookId};
use tokio::sync::watch;

use super::{SqliteStore, deliveries, webhooks};
use crate::store::StoreError;
use crate::store::webhooks::{
    AttemptEnd, DeliveryRecord, DueDelivery, NewEvent, NewWebhook, PageOf, Replayed, SealedSecret, WebhookChange,
    WebhookMade, WebhookRecord, WebhookStore,
};

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn create_webhook(&self, webhook: NewWebhook, most: u32) -> Result<WebhookMade, StoreError> {
        self.writer
            .call(move |connection| webhooks::create(connection, &webhook, most))
            .await
    }

    async fn webhooks(
        &self,
        namespace: NamespaceId,
        page: PageOf<WebhookId>,
    ) -> Result<Vec<WebhookRecord>, StoreError> {
        self.readers
            .call(move |connection| webhooks::list(connection, namespace, &page))
            .await
    }

    async fn webhook(&self, namespace: NamespaceId, id: WebhookId) -> Result<Option<WebhookRecord>, StoreError> {
        self.readers
            .call(move |connection| webhooks::read(connection, namespace, id))
            .await
    }

    async fn update_webhook(
        &self,
        namespace: NamespaceId,
        id: WebhookId,
        change: WebhookChange,
    ) -> Result<Option<WebhookRecord>, StoreError> {
        self.writer
            .call(move |connection| webhooks::update(connection, namespace, id, &change))
            .await
    }

    async fn rotate_webhook(
        &self,
        namespace: NamespaceId,
        id: WebhookId,
        secret: SealedSecret,
        previous_until: Timestamp,
    ) -> Result<Option<WebhookRecord>, StoreError> {
        self.writer
            .call(move |connection| webhooks::rotate(connection, namespace, id, &secret, previous_until))
            .await
    }

    async fn delete_webhook(&self, namespace: NamespaceId, id: WebhookId) -> Result<bool, StoreError> {
        loop {
            let deleted = self
                .writer
                .call(move |connection| webhooks::delete(connection, namespace, id));
            if let Some(deleted) = deleted.await? {
                return Ok(deleted);
            }
        }
    }

    async fn enqueue_event(&self, event: NewEvent) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| {
                let NewEvent {
                    namespace,
                    environment,
                    kind,
                    data_id,
                    now,
                } = &event;
                webhooks::enqueue_event(connection, *namespace, *environment, *kind, data_id, *now)
            })
            .await
    }

    async fn enqueue_test(&self, webhook: WebhookId, event: NewEvent) -> Result<Option<DeliveryRecord>, StoreError> {
        self.writer
            .call(move |connection| webhooks::enqueue_test(connection, webhook, &event))
            .await
    }

    fn events_enqueued(&self) -> watch::Receiver<u64> {
        self.enqueued.subscribe()
    }

    async fn deliveries(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        page: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.readers
            .call(move |connection| deliveries::list(connection, namespace, webhook, &page))
            .await
    }

    async fn delivery(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.readers
            .call(move |connection| deliveries::read_one(connection, namespace, webhook, id))
            .await
    }

    async fn replay_delivery(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Replayed, StoreError> {
        self.writer
            .call(move |connection| deliveries::replay(connection, namespace, webhook, id, now))
            .await
    }

    async fn due_deliveries(
        &self,
        environment: Environment,
        now: Timestamp,
        each: u32,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.readers
            .call(move |connection| deliveries::due(connection, environment, now, each, limit))
            .await
    }

    async fn next_delivery_after(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .call(move |connection| deliveries::next_after(connection, now))
            .await
    }

    async fn end_attempt(&self, end: AttemptEnd) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| deliveries::end_attempt(connection, &end))
            .await
    }

    async fn forget_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| deliveries::forget(connection, before, limit))
            .await
    }
}
