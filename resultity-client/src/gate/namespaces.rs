//! Namespaces.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CreateNamespace, InEnvironment, Namespace, NamespaceDeleted, NamespaceQuery, NamespacesApi, UpdateNamespace,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::NamespaceId;

use crate::gate::GateClient;

#[async_trait]
impl NamespacesApi for GateClient {
    async fn create_namespace(&self, request: CreateNamespace) -> Result<Namespace, ApiError> {
        let call = self.transport.post(&["namespaces"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn namespaces(&self, query: NamespaceQuery) -> Result<Page<Namespace>, ApiError> {
        let call = self.transport.get(&["namespaces"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<Namespace, ApiError> {
        let call = self.transport.get(&["namespaces", &id.to_string()]);
        Ok(self.transport.json(call.with_query(&within)?).await?.body)
    }

    async fn update_namespace(
        &self,
        id: NamespaceId,
        within: InEnvironment,
        request: UpdateNamespace,
    ) -> Result<Namespace, ApiError> {
        let call = self.transport.post(&["namespaces", &id.to_string()], &request)?;
        // It says how the namespace is to be, not what to add.
        let call = call.with_query(&within)?.repeatable();
        Ok(self.transport.json(call).await?.body)
    }

    async fn delete_namespace(&self, id: NamespaceId, within: InEnvironment) -> Result<NamespaceDeleted, ApiError> {
        let call = self.transport.delete(&["namespaces", &id.to_string()]);
        Ok(self.transport.json(call.with_query(&within)?).await?.body)
    }
}
