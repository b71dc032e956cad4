//! Access tokens of the account.

use async_trait::async_trait;
use resultity_core::api::gate::{AccessToken, CreateToken, TokenWithSecret, TokensApi};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::error::ApiError;
use resultity_core::id::TokenId;

use crate::gate::GateClient;

#[async_trait]
impl TokensApi for GateClient {
    async fn create_token(&self, request: CreateToken) -> Result<TokenWithSecret, ApiError> {
        let call = self.transport.post(&["tokens"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn tokens(&self, query: PageQuery) -> Result<Page<AccessToken>, ApiError> {
        let call = self.transport.get(&["tokens"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn delete_token(&self, id: TokenId) -> Result<(), ApiError> {
        let call = self.transport.delete(&["tokens", &id.to_string()]);
        self.transport.whole(call).await.map(drop)
    }
}
