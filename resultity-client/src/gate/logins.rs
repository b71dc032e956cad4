//! The session that asks, and the others of its account.

use async_trait::async_trait;
use resultity_core::api::gate::{Login, LoginsApi, LoginsEnded, Session, SwitchEnvironment};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::error::ApiError;
use resultity_core::id::LoginId;

use crate::gate::GateClient;

#[async_trait]
impl LoginsApi for GateClient {
    async fn session(&self) -> Result<Session, ApiError> {
        let call = self.transport.get(&["session"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn switch_environment(&self, request: SwitchEnvironment) -> Result<Session, ApiError> {
        let call = self.transport.post(&["session"], &request)?;
        // It says which, not the other one.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn sign_out(&self) -> Result<(), ApiError> {
        let call = self.transport.delete(&["session"]);
        self.transport.whole(call).await.map(drop)
    }

    async fn logins(&self, query: PageQuery) -> Result<Page<Login>, ApiError> {
        let call = self.transport.get(&["sessions"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn end_login(&self, id: LoginId) -> Result<(), ApiError> {
        let call = self.transport.delete(&["sessions", &id.to_string()]);
        self.transport.whole(call).await.map(drop)
    }

    async fn end_other_logins(&self) -> Result<LoginsEnded, ApiError> {
        let call = self.transport.delete(&["sessions"]);
        Ok(self.transport.json(call).await?.body)
    }
}
