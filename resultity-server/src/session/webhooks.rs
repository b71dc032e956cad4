//! Webhooks of the caller's namespace.

use async_trait::async_trait;
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::api::webhooks::{
    CreateWebhook, RotateWebhookSecret, TestWebhook, UpdateWebhook, Webhook, WebhookDeleted, WebhookDelivery,
    WebhookWithSecret, WebhooksApi,
};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{DeliveryId, JobId, WebhookId};
use resultity_core::webhook::{Event, EventType, SigningSecret, UnknownEventType};

use crate::session::CloudSession;
use crate::session::jobs::page_size;
use crate::store::StoreError;
use crate::store::webhooks::{
    DeliveryRecord, NewEvent, NewWebhook, PageOf, Replayed, WebhookChange, WebhookMade, WebhookRecord,
};

/// The most webhooks of a namespace.
const MOST: u32 = 20;

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 200;

/// How long two secrets count after a change: if nothing is said, and at most. Seconds.
const OVERLAP: u64 = 24 * 60 * 60;
const MAX_OVERLAP: u64 = 7 * OVERLAP;

#[async_trait]
impl WebhooksApi for CloudSession {
    async fn create_webhook(&self, request: CreateWebhook) -> Result<Reply<WebhookWithSecret>, ApiError> {
        self.touch()?;
        let flow = &self.flow;
        let id = WebhookId::new(&*flow.clock, &*flow.entropy);
        let secret = SigningSecret::generate(&*flow.entropy);
        let webhook = NewWebhook {
            id,
            namespace: self.principal.namespace,
            environment: flow.environment,
            url: self.checked_url(request.url)?,
            description: checked_description(request.description.unwrap_or_default())?,
            events: checked_events(request.events.unwrap_or_default())?,
            enabled: request.enabled.unwrap_or(true),
            secret: flow.webhooks.seal(id, &secret, &*flow.entropy),
            now: flow.clock.now(),
        };
        match flow.store.create_webhook(webhook, MOST).await.map_err(failed)? {
            WebhookMade::Made(record) => Ok(reply(self.with_secret(record, &secret))),
            WebhookMade::TooMany => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("there are {MOST} webhooks already, which is the most: delete one first"),
            )),
        }
    }

    async fn webhooks(&self, query: PageQuery) -> Result<Reply<Page<Webhook>>, ApiError> {
        self.touch()?;
        let (page, size) = page_of(&query)?;
        let records = self.flow.store.webhooks(self.principal.namespace, page).await;
        let webhooks = records.map_err(failed)?.into_iter().map(|record| self.shown(record));
        Ok(reply(Page::of(webhooks.collect(), size, |webhook| {
            webhook.id.to_string()
        })))
    }

    async fn webhook(&self, id: WebhookId) -> Result<Reply<Webhook>, ApiError> {
        self.touch()?;
        Ok(reply(self.shown(self.record(id).await?)))
    }

    async fn update_webhook(&self, id: WebhookId, request: UpdateWebhook) -> Result<Reply<Webhook>, ApiError> {
        self.touch()?;
        let change = WebhookChange {
            url: request.url.map(|url| self.checked_url(url)).transpose()?,
            description: request.description.map(checked_description).transpose()?,
            events: request.events.map(checked_events).transpose()?,
            enabled: request.enabled,
        };
        let store = &self.flow.store;
        let record = store.update_webhook(self.principal.namespace, id, change).await;
        let record = record.map_err(failed)?.ok_or_else(no_webhook)?;
        Ok(reply(self.shown(record)))
    }

    async fn delete_webhook(&self, id: WebhookId) -> Result<Reply<WebhookDeleted>, ApiError> {
        self.touch()?;
        let deleted = self.flow.store.delete_webhook(self.principal.namespace, id).await;
        if !deleted.map_err(failed)? {
            return Err(no_webhook());
        }
        Ok(reply(WebhookDeleted {
            id,
            object: "webhook.deleted".into(),
            deleted: true,
        }))
    }

    async fn rotate_webhook_secret(
        &self,
        id: WebhookId,
        request: RotateWebhookSecret,
    ) -> Result<Reply<WebhookWithSecret>, ApiError> {
        self.touch()?;
        let overlap = request.overlap_seconds.unwrap_or(OVERLAP);
        if overlap > MAX_OVERLAP {
            let message = format!("overlap_seconds must be from 0 to {MAX_OVERLAP}");
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("overlap_seconds"));
        }
        let flow = &self.flow;
        let secret = SigningSecret::generate(&*flow.entropy);
        let sealed = flow.webhooks.seal(id, &secret, &*flow.entropy);
        let until = flow.clock.now().after(std::time::Duration::from_secs(overlap));
        let rotated = flow.store.rotate_webhook(self.principal.namespace, id, sealed, until);
        let record = rotated.await.map_err(failed)?.ok_or_else(no_webhook)?;
        Ok(reply(self.with_secret(record, &secret)))
    }

    async fn test_webhook(&self, id: WebhookId, request: TestWebhook) -> Result<Reply<WebhookDelivery>, ApiError> {
        self.touch()?;
        let kind = request.kind.unwrap_or(EventType::WebhookTest);
        if kind == EventType::Unknown {
            return Err(unknown_event("type"));
        }
        if !self.record(id).await?.enabled {
            return Err(disabled());
        }
        let flow = &self.flow;
        let event = NewEvent {
            namespace: self.principal.namespace,
            environment: flow.environment,
            kind,
            data_id: format!("test_{}", JobId::new(&*flow.clock, &*flow.entropy).as_uuid().simple()),
            now: flow.clock.now(),
        };
        let delivery = flow.store.enqueue_test(id, event).await.map_err(failed)?;
        // None: it was deleted or disabled just now.
        Ok(reply(delivery_shown(delivery.ok_or_else(no_webhook)?)))
    }

    async fn webhook_deliveries(
        &self,
        id: WebhookId,
        query: PageQuery,
    ) -> Result<Reply<Page<WebhookDelivery>>, ApiError> {
        self.touch()?;
        let (page, size) = page_of(&query)?;
        self.record(id).await?;
        let store = &self.flow.store;
        let records = store.deliveries(self.principal.namespace, id, page).await;
        let deliveries = records.map_err(failed)?.into_iter().map(delivery_shown);
        Ok(reply(Page::of(deliveries.collect(), size, |delivery| {
            delivery.id.to_string()
        })))
    }

    async fn webhook_delivery(&self, id: WebhookId, delivery: DeliveryId) -> Result<Reply<WebhookDelivery>, ApiError> {
        self.touch()?;
        let record = self.flow.store.delivery(self.principal.namespace, id, delivery).await;
        let record = record.map_err(failed)?.ok_or_else(no_delivery)?;
        Ok(reply(delivery_shown(record)))
    }

    async fn replay_webhook_delivery(
        &self,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Reply<WebhookDelivery>, ApiError> {
        self.touch()?;
        let (store, now) = (&self.flow.store, self.flow.clock.now());
        let replayed = store.replay_delivery(self.principal.namespace, id, delivery, now).await;
        match replayed.map_err(failed)? {
            Replayed::Pending(record) => Ok(reply(delivery_shown(record))),
            Replayed::Disabled => Err(disabled()),
            Replayed::Unknown => Err(no_delivery()),
        }
    }
}

impl CloudSession {
    async fn record(&self, id: WebhookId) -> Result<WebhookRecord, ApiError> {
        let record = self.flow.store.webhook(self.principal.namespace, id).await;
        record.map_err(failed)?.ok_or_else(no_webhook)
    }

    /// As it was given: the receiver's owner should recognise it.
    fn checked_url(&self, url: String) -> Result<String, ApiError> {
        match self.flow.webhooks.check_url(&url) {
            Ok(_) => Ok(url),
            Err(forbidden) => Err(ApiError::new(ErrorCode::InvalidValue, forbidden.to_string()).with_param("url")),
        }
    }

    fn shown(&self, record: WebhookRecord) -> Webhook {
        let now = self.flow.clock.now();
        let until = record.previous.map(|(_, until)| until).filter(|until| *until > now);
        Webhook {
            id: record.id,
            object: "webhook".into(),
            url: record.url,
            description: record.description,
            events: record.events,
            enabled: record.enabled,
            created_at: record.created_at.as_seconds(),
            previous_secret_expires_at: until.map(Timestamp::as_seconds),
        }
    }

    fn with_secret(&self, record: WebhookRecord, secret: &SigningSecret) -> WebhookWithSecret {
        WebhookWithSecret {
            webhook: self.shown(record),
            secret: secret.expose(),
        }
    }
}

fn reply<T>(body: T) -> Reply<T> {
    Reply {
        body,
        meta: ReplyMeta::default(),
    }
}

fn delivery_shown(record: DeliveryRecord) -> WebhookDelivery {
    WebhookDelivery {
        id: record.id,
        object: "webhook.delivery".into(),
        webhook: record.webhook,
        event: Event::new(record.event, record.kind, record.data_id, record.created_at),
        state: record.state,
        attempts: record.attempts,
        last_status: record.last_status,
        last_error: record.last_error,
        last_attempt_at: record.last_attempt_at.map(Timestamp::as_seconds),
        next_attempt_at: record.next_attempt_at.map(Timestamp::as_seconds),
        created_at: record.created_at.as_seconds(),
    }
}

/// Which part of a list, with one entry more than is shown: whether it is there says whether there are more.
pub(super) fn page_of<I: std::str::FromStr>(query: &PageQuery) -> Result<(PageOf<I>, u32), ApiError> {
    let after = match query.after.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            let message = "after must be the id of an entry of this list";
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("after"));
        }
    };
    let size = page_size(query.limit)?;
    let page = PageOf {
        after,
        ascending: query.is_ascending(),
        limit: size + 1,
    };
    Ok((page, size))
}

fn checked_description(description: String) -> Result<String, ApiError> {
    if description.chars().count() <= MAX_DESCRIPTION {
        return Ok(description);
    }
    let message = format!("description must have at most {MAX_DESCRIPTION} characters");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("description"))
}

fn checked_events(mut events: Vec<EventType>) -> Result<Vec<EventType>, ApiError> {
    if let Some(index) = events.iter().position(|kind| *kind == EventType::Unknown) {
        return Err(unknown_event(format!("events[{index}]")));
    }
    events.sort_by_key(|kind| kind.as_str());
    events.dedup();
    Ok(events)
}

fn unknown_event(param: impl Into<String>) -> ApiError {
    let param = param.into();
    ApiError::new(
        ErrorCode::InvalidValue,
        format!("{param} is no type of event: {UnknownEventType}"),
    )
    .with_param(param)
}

fn no_webhook() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no such webhook")
}

fn no_delivery() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no such delivery")
}

fn disabled() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "the webhook is disabled: enable it first")
}

fn failed(error: StoreError) -> ApiError {
    tracing::error!(%error, "a webhook could not be read or changed");
    ApiError::new(
        ErrorCode::Internal,
        "the webhook could not be read or changed: please ask again",
    )
}
