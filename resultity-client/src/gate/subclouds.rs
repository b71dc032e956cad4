//! Subclouds.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CreateSubcloud, InEnvironment, JoinSubcloud, Subcloud, SubcloudDeleted, SubcloudLeft, SubcloudNode,
    SubcloudNodesQuery, SubcloudQuery, SubcloudWithToken, SubcloudsApi, UpdateSubcloud,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::NodeId;

use super::GateClient;

#[async_trait]
impl SubcloudsApi for GateClient {
    async fn subclouds(&self, query: SubcloudQuery) -> Result<Page<Subcloud>, ApiError> {
        let call = self.transport.get(&["subclouds"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn create_subcloud(&self, request: CreateSubcloud) -> Result<SubcloudWithToken, ApiError> {
        let call = self.transport.post(&["subclouds"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<Subcloud, ApiError> {
        let call = self.transport.get(&["subclouds", subcloud]).with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn update_subcloud(
        &self,
        subcloud: &str,
        place: InEnvironment,
        request: UpdateSubcloud,
    ) -> Result<Subcloud, ApiError> {
        let call = self.transport.post(&["subclouds", subcloud], &request)?;
        // It may be called otherwise afterwards: then a repeat would not find it.
        let call = call.with_query(&place)?;
        let call = if request.name.is_none() {
            call.repeatable()
        } else {
            call
        };
        Ok(self.transport.json(call).await?.body)
    }

    async fn delete_subcloud(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudDeleted, ApiError> {
        let call = self.transport.delete(&["subclouds", subcloud]).with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn rotate_subcloud_token(&self, subcloud: &str, place: InEnvironment) -> Result<SubcloudWithToken, ApiError> {
        let call = self
            .transport
            .post(&["subclouds", subcloud, "token"], &serde_json::json!({}))?
            .with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn subcloud_nodes(&self, subcloud: &str, query: SubcloudNodesQuery) -> Result<Page<SubcloudNode>, ApiError> {
        let call = self.transport.get(&["subclouds", subcloud, "nodes"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn remove_subcloud_node(
        &self,
        subcloud: &str,
        node: NodeId,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError> {
        let call = self
            .transport
            .delete(&["subclouds", subcloud, "nodes", &node.to_string()]);
        Ok(self.transport.json(call.with_query(&place)?).await?.body)
    }

    async fn node_subclouds(&self, node: NodeId, place: InEnvironment) -> Result<Page<Subcloud>, ApiError> {
        let call = self.transport.get(&["nodes", &node.to_string(), "subclouds"]);
        Ok(self.transport.json(call.with_query(&place)?).await?.body)
    }

    async fn join_subcloud(
        &self,
        node: NodeId,
        place: InEnvironment,
        request: JoinSubcloud,
    ) -> Result<Subcloud, ApiError> {
        let call = self
            .transport
            .post(&["nodes", &node.to_string(), "subclouds"], &request)?;
        // A node that is in stays in.
        let call = call.with_query(&place)?.repeatable();
        Ok(self.transport.json(call).await?.body)
    }

    async fn leave_subcloud(
        &self,
        node: NodeId,
        subcloud: &str,
        place: InEnvironment,
    ) -> Result<SubcloudLeft, ApiError> {
        let call = self
            .transport
            .delete(&["nodes", &node.to_string(), "subclouds", subcloud]);
        Ok(self.transport.json(call.with_query(&place)?).await?.body)
    }
}
