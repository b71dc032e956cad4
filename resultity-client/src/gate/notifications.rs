//! What the account is told.

use async_trait::async_trait;
use resultity_core::api::gate::{
    Notification, NotificationQuery, NotificationsApi, ReadNotifications, UnreadNotifications,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use super::GateClient;

#[async_trait]
impl NotificationsApi for GateClient {
    async fn notifications(&self, query: NotificationQuery) -> Result<Page<Notification>, ApiError> {
        let call = self.transport.get(&["notifications"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn unread_notifications(&self) -> Result<UnreadNotifications, ApiError> {
        let call = self.transport.get(&["notifications", "unread"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn read_notifications(&self, request: ReadNotifications) -> Result<UnreadNotifications, ApiError> {
        let call = self.transport.post(&["notifications", "read"], &request)?;
        // What was read stays read.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }
}
