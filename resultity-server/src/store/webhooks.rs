//! Webhooks and what is to be sent to them.

use async_trait::async_trait;
use resultity_core::api::webhooks::DeliveryState;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{DeliveryId, EventId, NamespaceId, WebhookId};
use resultity_core::webhook::EventType;
use tokio::sync::watch;

use crate::store::StoreError;

/// The most deliveries of a webhook that wait. What happens beyond that is recorded as failed, to be sent by hand.
pub const MAX_PENDING: u32 = 10_000;

/// A secret as it is kept: encrypted with a key that the store does not have.
pub type SealedSecret = Vec<u8>;

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose events it is told.
    pub namespace: NamespaceId,
    /// Where they happen.
    pub environment: Environment,
    /// Where they are sent.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// Which; none: all.
    pub events: Vec<EventType>,
    /// Whether they are sent.
    pub enabled: bool,
    /// What they are signed with.
    pub secret: SealedSecret,
    /// When.
    pub now: Timestamp,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Its id.
    pub id: WebhookId,
    /// Where events are sent.
    pub url: String,
    /// What people call it.
    pub description: String,
    /// Which; none: all.
    pub events: Vec<EventType>,
    /// Whether they are sent.
    pub enabled: bool,
    /// What they are signed with.
    pub secret: SealedSecret,
    /// What they are signed with too, until then.
    pub previous: Option<(SealedSecret, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What became of a webhook to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookMade {
    /// It is there.
    Made(WebhookRecord),
    /// The namespace has as many as it may have: nothing was changed.
    TooMany,
}

/// What of a webhook is changed; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// Where events are sent.
    pub url: Option<String>,
    /// What people call it.
    pub description: Option<String>,
    /// Which; none: all.
    pub events: Option<Vec<EventType>>,
    /// Whether they are sent. What is pending when they no longer are fails.
    pub enabled: Option<bool>,
}

/// Which part of a list that is ordered by id, and so by time.
#[derive(Debug, Clone)]
pub struct PageOf<I> {
    /// What comes after this one.
    pub after: Option<I>,
    /// Oldest first.
    pub ascending: bool,
    /// At most so many.
    pub limit: u32,
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// To whom.
    pub namespace: NamespaceId,
    /// Where.
    pub environment: Environment,
    /// What.
    pub kind: EventType,
    /// To which response, batch or job.
    pub data_id: String,
    /// When.
    pub now: Timestamp,
}

/// An event on its way to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// To which webhook.
    pub webhook: WebhookId,
    /// Which event: the same for all webhooks that are told.
    pub event: EventId,
    /// What has happened.
    pub kind: EventType,
    /// To which response, batch or job.
    pub data_id: String,
    /// When.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// How often since it became pending.
    pub step: u32,
    /// When it is sent next.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was sent last.
    pub last_attempt_at: Option<Timestamp>,
    /// What the receiver answered last.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A delivery to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// What.
    pub delivery: DeliveryRecord,
    /// To whom.
    pub webhook: WebhookRecord,
}

/// What an attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver has it.
    Delivered,
    /// It is sent again then.
    Again(Timestamp),
    /// It is not sent again.
    GivenUp,
    /// The receiver wants nothing any more: the webhook is disabled, and what is pending for it fails.
    Gone,
}

/// An attempt that has ended.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// What it leads to.
    pub outcome: AttemptOutcome,
    /// What the receiver answered.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
    /// When.
    pub now: Timestamp,
}

/// What became of a delivery to be sent again by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It is pending, and due now.
    Pending(DeliveryRecord),
    /// The webhook is disabled: nothing was changed.
    Disabled,
    /// No such delivery.
    Unknown,
}

/// Webhooks and deliveries. Those of another namespace are not there.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Makes a webhook, unless the namespace has `most` already.
    async fn create_webhook(&self, webhook: NewWebhook, most: u32) -> Result<WebhookMade, StoreError>;

    /// The webhooks of a namespace.
    async fn webhooks(&self, namespace: NamespaceId, page: PageOf<WebhookId>)
    -> Result<Vec<WebhookRecord>, StoreError>;

    /// One of them.
    async fn webhook(&self, namespace: NamespaceId, id: WebhookId) -> Result<Option<WebhookRecord>, StoreError>;

    /// Changes one.
    async fn update_webhook(
        &self,
        namespace: NamespaceId,
        id: WebhookId,
        change: WebhookChange,
    ) -> Result<Option<WebhookRecord>, StoreError>;

    /// Gives one a new secret; the one before it counts until `previous_until`.
    async fn rotate_webhook(
        &self,
        namespace: NamespaceId,
        id: WebhookId,
        secret: SealedSecret,
        previous_until: Timestamp,
    ) -> Result<Option<WebhookRecord>, StoreError>;

    /// Deletes one with its deliveries. False: no such webhook.
    async fn delete_webhook(&self, namespace: NamespaceId, id: WebhookId) -> Result<bool, StoreError>;

    /// Something has happened: every enabled webhook of the namespace whose filter lets it through gets a delivery, at most
    /// one for the same thing. Gives how many. What is part of a larger change is told in the same transaction instead.
    async fn enqueue_event(&self, event: NewEvent) -> Result<u64, StoreError>;

    /// An event for one webhook, whatever its filter says, for trying it. None: no such webhook, or it is disabled.
    async fn enqueue_test(&self, webhook: WebhookId, event: NewEvent) -> Result<Option<DeliveryRecord>, StoreError>;

    /// Changes whenever there may be something new to be sent.
    fn events_enqueued(&self) -> watch::Receiver<u64>;

    /// What a webhook was and is to be sent; nothing if there is no such webhook.
    async fn deliveries(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        page: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// One delivery.
    async fn delivery(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError>;

    /// Makes a delivery pending and due, however it stands.
    async fn replay_delivery(
        &self,
        namespace: NamespaceId,
        webhook: WebhookId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Replayed, StoreError>;

    /// What is to be sent now: the earliest first, at most `each` of one webhook and `limit` in all.
    async fn due_deliveries(
        &self,
        environment: Environment,
        now: Timestamp,
        each: u32,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// When something is due next after `now`.
    async fn next_delivery_after(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Keeps what became of an attempt. One that was delivered counts even if the delivery was given up meanwhile.
    async fn end_attempt(&self, end: AttemptEnd) -> Result<(), StoreError>;

    /// Forgets at most `limit` deliveries that were made before and are not pending; gives how many.
    async fn forget_deliveries(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}
