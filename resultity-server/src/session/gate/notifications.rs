//! What the account is told.

use async_trait::async_trait;
use resultity_core::api::gate::{
    Notification, NotificationQuery, NotificationsApi, ReadNotifications, Scope, UnreadNotifications,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};

use super::{GateSession, failed};
use crate::store::admin::{NotificationFilter, NotificationRecord, Read};

/// The most notifications that are marked as read by name at once.
const MOST_NAMED: usize = 100;

fn shown(record: NotificationRecord) -> Notification {
    let NotificationRecord { notification, read_at } = record;
    Notification {
        id: notification.id,
        kind: notification.kind,
        environment: notification.environment,
        subject: notification.subject,
        message: notification.message,
        created_at: notification.now.as_seconds(),
        read_at: read_at.map(Timestamp::as_seconds),
    }
}

#[async_trait]
impl NotificationsApi for GateSession {
    async fn notifications(&self, query: NotificationQuery) -> Result<Page<Notification>, ApiError> {
        let account = self.account(Scope::Read)?;
        let size = query.size();
        let filter = NotificationFilter {
            account,
            environment: Some(self.flow(query.environment)?.environment),
            unread: query.unread == Some(true),
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let found = self.gate.store.notifications(filter).await.map_err(failed)?;
        let found = found.into_iter().map(shown).collect();
        Ok(Page::of(found, size, |entry: &Notification| entry.id.to_string()))
    }

    async fn unread_notifications(&self) -> Result<UnreadNotifications, ApiError> {
        let account = self.account(Scope::Read)?;
        let only = self.only_environment();
        let unread = self.gate.store.unread_notifications(account, only).await;
        Ok(UnreadNotifications {
            unread: unread.map_err(failed)?,
        })
    }

    async fn read_notifications(&self, request: ReadNotifications) -> Result<UnreadNotifications, ApiError> {
        let account = self.account(Scope::Account)?;
        let invalid = |param: &str, message: String| ApiError::new(ErrorCode::InvalidValue, message).with_param(param);
        let read = match (request.ids, request.up_to) {
            (Some(ids), None) if ids.len() > MOST_NAMED => {
                return Err(invalid(
                    "ids",
                    format!("ids may name at most {MOST_NAMED} notifications"),
                ));
            }
            (Some(ids), None) => Read::These(ids),
            (None, Some(id)) => Read::UpTo(id),
            _ => return Err(invalid("ids", "say which: either ids or up_to".into())),
        };
        let only = self.only_environment();
        let store = &self.gate.store;
        let now = self.gate.clock.now();
        store
            .read_notifications(account, only, read, now)
            .await
            .map_err(failed)?;
        let unread = store.unread_notifications(account, only).await.map_err(failed)?;
        Ok(UnreadNotifications { unread })
    }
}
