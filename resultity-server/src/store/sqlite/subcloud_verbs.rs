//! The verbs of [`SubcloudStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId, SubcloudId};

use super::{SqliteStore, subclouds};
use crate::store::StoreError;
use crate::store::subclouds::{
    Joining, Leaver, SubcloudChange, SubcloudChanged, SubcloudJoined, SubcloudMade, SubcloudNodeRecord, SubcloudRecord,
    SubcloudRef, SubcloudStore, TokenSet,
};
use crate::store::webhooks::PageOf;

#[async_trait]
impl SubcloudStore for SqliteStore {
    async fn create_subcloud(&self, subcloud: SubcloudRecord, most: u32) -> Result<SubcloudMade, StoreError> {
        self.writer
            .call(move |connection| subclouds::create(connection, &subcloud, most))
            .await
    }

    async fn subcloud(&self, subcloud: SubcloudRef) -> Result<Option<SubcloudRecord>, StoreError> {
        self.readers
            .call(move |connection| subclouds::find(connection, &subcloud))
            .await
    }

    async fn subclouds(
        &self,
        account: AccountId,
        environment: Environment,
        page: PageOf<SubcloudId>,
    ) -> Result<Vec<SubcloudRecord>, StoreError> {
        self.readers
            .call(move |connection| subclouds::list(connection, account, environment, &page))
            .await
    }

    async fn update_subcloud(
        &self,
        account: AccountId,
        id: SubcloudId,
        change: SubcloudChange,
    ) -> Result<SubcloudChanged, StoreError> {
        self.writer
            .call(move |connection| subclouds::update(connection, account, id, change.clone()))
            .await
    }

    async fn set_subcloud_token(
        &self,
        account: AccountId,
        id: SubcloudId,
        token_hash: B256,
    ) -> Result<TokenSet, StoreError> {
        self.writer
            .call(move |connection| subclouds::set_token(connection, account, id, token_hash))
            .await
    }

    async fn delete_subcloud(&self, account: AccountId, id: SubcloudId) -> Result<Option<Vec<NodeId>>, StoreError> {
        self.writer
            .call(move |connection| subclouds::delete(connection, account, id))
            .await
    }

    async fn join_subcloud(&self, joining: Joining) -> Result<SubcloudJoined, StoreError> {
        self.writer
            .call(move |connection| subclouds::join(connection, &joining))
            .await
    }

    async fn leave_subcloud(&self, subcloud: SubcloudId, node: NodeId, by: Leaver) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| subclouds::leave(connection, subcloud, node, by))
            .await
    }

    async fn subcloud_nodes(
        &self,
        subcloud: SubcloudId,
        page: PageOf<NodeId>,
        now: Timestamp,
    ) -> Result<Vec<SubcloudNodeRecord>, StoreError> {
        self.readers
            .call_long(move |connection| subclouds::nodes(connection, subcloud, &page, now))
            .await
    }

    async fn node_subclouds(&self, node: NodeId, environment: Environment) -> Result<Vec<SubcloudRecord>, StoreError> {
        self.readers
            .call(move |connection| subclouds::of_node(connection, node, environment))
            .await
    }
}
