//! API keys.

use async_trait::async_trait;
use resultity_core::api::gate::{
    ApiKey, ApiKeyWithSecret, CreateKey, InEnvironment, KeyQuery, KeysApi, RotateKey, UpdateKey,
};
use resultity_core::api::page::Page;
use resultity_core::api::usage::{UsageQuery, UsageReport};
use resultity_core::error::ApiError;
use resultity_core::id::KeyId;

use crate::gate::GateClient;

#[async_trait]
impl KeysApi for GateClient {
    async fn create_key(&self, request: CreateKey) -> Result<ApiKeyWithSecret, ApiError> {
        let call = self.transport.post(&["keys"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn keys(&self, query: KeyQuery) -> Result<Page<ApiKey>, ApiError> {
        let call = self.transport.get(&["keys"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError> {
        let call = self.transport.get(&["keys", &id.to_string()]);
        Ok(self.transport.json(call.with_query(&within)?).await?.body)
    }

    async fn update_key(&self, id: KeyId, within: InEnvironment, request: UpdateKey) -> Result<ApiKey, ApiError> {
        let call = self.transport.post(&["keys", &id.to_string()], &request)?;
        // It says how the key is to be, not what to add.
        let call = call.with_query(&within)?.repeatable();
        Ok(self.transport.json(call).await?.body)
    }

    async fn revoke_key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError> {
        let call = self.transport.delete(&["keys", &id.to_string()]).repeatable();
        Ok(self.transport.json(call.with_query(&within)?).await?.body)
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        within: InEnvironment,
        request: RotateKey,
    ) -> Result<ApiKeyWithSecret, ApiError> {
        let call = self.transport.post(&["keys", &id.to_string(), "rotate"], &request)?;
        Ok(self.transport.json(call.with_query(&within)?).await?.body)
    }

    async fn key_usage(&self, id: KeyId, within: InEnvironment, query: UsageQuery) -> Result<UsageReport, ApiError> {
        let call = self.transport.get(&["keys", &id.to_string(), "usage"]);
        let call = call.with_query(&within)?.with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}
