//! The network's configuration.

use async_trait::async_trait;
use resultity_core::api::gate::{
    ApproveModel, ConfigurationApi, DeprecateModel, DiffSnapshots, InEnvironment, NetworkKeyRotated, PriceModel,
    Publication, PublishSnapshot, PublishedSnapshot, RollBackSnapshot, RotateNetworkKey, SnapshotDiff, SnapshotQuery,
    SnapshotSummary,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use super::GateClient;

#[async_trait]
impl ConfigurationApi for GateClient {
    async fn config(&self, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError> {
        let call = self.transport.get(&["config"]).with_query(&scope)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn snapshots(&self, query: SnapshotQuery) -> Result<Page<SnapshotSummary>, ApiError> {
        let call = self.transport.get(&["admin", "snapshots"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn snapshot(&self, version: u64, scope: InEnvironment) -> Result<PublishedSnapshot, ApiError> {
        let call = self.transport.get(&["admin", "snapshots", &version.to_string()]);
        Ok(self.transport.json(call.with_query(&scope)?).await?.body)
    }

    async fn publish_snapshot(&self, request: PublishSnapshot) -> Result<Publication, ApiError> {
        let call = self.transport.post(&["admin", "snapshots"], &request)?;
        // A second one finds that it is in force already.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn diff_snapshots(&self, request: DiffSnapshots) -> Result<SnapshotDiff, ApiError> {
        let call = self.transport.post(&["admin", "snapshots", "diff"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn roll_back_snapshot(&self, request: RollBackSnapshot) -> Result<Publication, ApiError> {
        let call = self.transport.post(&["admin", "snapshots", "rollback"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn approve_model(&self, request: ApproveModel) -> Result<Publication, ApiError> {
        let call = self.transport.post(&["admin", "models"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn deprecate_model(&self, name: &str, request: DeprecateModel) -> Result<Publication, ApiError> {
        let call = self.transport.post(&["admin", "models", name, "deprecate"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn price_model(&self, name: &str, request: PriceModel) -> Result<Publication, ApiError> {
        let call = self.transport.post(&["admin", "models", name, "price"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn rotate_network_key(&self, request: RotateNetworkKey) -> Result<NetworkKeyRotated, ApiError> {
        let call = self.transport.post(&["admin", "network-key", "rotate"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }
}
