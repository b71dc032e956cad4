//! The accounts of the network, for administrators.

use async_trait::async_trait;
use resultity_core::api::gate::{AccountsQuery, AdminAccount, AdminAccountsApi, ChangeAccount};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::AccountId;

use super::GateClient;

#[async_trait]
impl AdminAccountsApi for GateClient {
    async fn accounts(&self, query: AccountsQuery) -> Result<Page<AdminAccount>, ApiError> {
        let call = self.transport.get(&["admin", "accounts"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn account_of(&self, id: AccountId) -> Result<AdminAccount, ApiError> {
        let call = self.transport.get(&["admin", "accounts", &id.to_string()]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn change_account(&self, id: AccountId, request: ChangeAccount) -> Result<AdminAccount, ApiError> {
        let call = self.transport.post(&["admin", "accounts", &id.to_string()], &request)?;
        // It says how the account is to be.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }
}
