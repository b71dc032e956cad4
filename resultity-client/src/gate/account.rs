//! The caller's account.

use async_trait::async_trait;
use resultity_core::api::gate::{
    Account, AccountApi, ChangeEmail, ChangePassword, CodeSent, ConfirmEmail, SignInEvent, UpdateAccount,
};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::error::ApiError;

use crate::gate::GateClient;

#[async_trait]
impl AccountApi for GateClient {
    async fn own_account(&self) -> Result<Account, ApiError> {
        let call = self.transport.get(&["account"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn update_account(&self, request: UpdateAccount) -> Result<Account, ApiError> {
        let call = self.transport.post(&["account"], &request)?;
        // It says how the account is to be, not what to add.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn change_password(&self, request: ChangePassword) -> Result<(), ApiError> {
        let call = self.transport.post(&["account", "password"], &request)?;
        self.transport.whole(call).await.map(drop)
    }

    async fn change_email(&self, request: ChangeEmail) -> Result<CodeSent, ApiError> {
        let call = self.transport.post(&["account", "email"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn confirm_email(&self, request: ConfirmEmail) -> Result<Account, ApiError> {
        let call = self.transport.post(&["account", "email", "confirm"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn remove_email(&self) -> Result<Account, ApiError> {
        let call = self.transport.delete(&["account", "email"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn sign_ins(&self, query: PageQuery) -> Result<Page<SignInEvent>, ApiError> {
        let call = self.transport.get(&["account", "sign-ins"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}
