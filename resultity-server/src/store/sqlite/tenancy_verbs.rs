//! The verbs of [`TenancyStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, KeyId, NamespaceId};

use super::{SqliteStore, api_keys, namespaces};
use crate::store::tenancy::{
    KeyChange, KeyChanged, KeyDetails, KeyFilter, KeyMade, KeyRotated, NamespaceChange, NamespaceChanged,
    NamespaceDeletion, NamespaceMade, NamespaceRecord, NewKey, NewNamespace, NewSecret, TenancyStore,
};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, StoreError};

#[async_trait]
impl TenancyStore for SqliteStore {
    async fn create_namespace(
        &self,
        namespace: NewNamespace,
        most: u32,
        audit: AuditEntry,
    ) -> Result<NamespaceMade, StoreError> {
        self.writer
            .call(move |connection| namespaces::create(connection, &namespace, most, audit.clone()))
            .await
    }

    async fn namespaces(
        &self,
        account: AccountId,
        environment: Environment,
        page: PageOf<NamespaceId>,
        now: Timestamp,
    ) -> Result<Vec<NamespaceRecord>, StoreError> {
        self.readers
            .call(move |connection| namespaces::list(connection, account, environment, &page, now))
            .await
    }

    async fn namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        now: Timestamp,
    ) -> Result<Option<NamespaceRecord>, StoreError> {
        self.readers
            .call(move |connection| namespaces::read(connection, account, id, now))
            .await
    }

    async fn namespace_named(
        &self,
        account: AccountId,
        environment: Environment,
        name: &str,
    ) -> Result<Option<NamespaceId>, StoreError> {
        let name = name.to_owned();
        self.readers
            .call(move |connection| namespaces::named(connection, account, environment, &name))
            .await
    }

    async fn update_namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        change: NamespaceChange,
        audit: AuditEntry,
    ) -> Result<NamespaceChanged, StoreError> {
        self.writer
            .call(move |connection| namespaces::update(connection, account, id, &change, audit.clone()))
            .await
    }

    async fn delete_namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        audit: AuditEntry,
    ) -> Result<NamespaceDeletion, StoreError> {
        self.writer
            .call(move |connection| namespaces::delete(connection, account, id, audit.clone()))
            .await
    }

    async fn create_key(
        &self,
        account: AccountId,
        key: NewKey,
        most: u32,
        audit: AuditEntry,
    ) -> Result<KeyMade, StoreError> {
        self.writer
            .call(move |connection| api_keys::create(connection, account, &key, most, audit.clone()))
            .await
    }

    async fn keys(&self, filter: KeyFilter, page: PageOf<KeyId>) -> Result<Vec<KeyDetails>, StoreError> {
        self.readers
            .call(move |connection| api_keys::list(connection, &filter, &page))
            .await
    }

    async fn key_details(&self, account: Option<AccountId>, id: KeyId) -> Result<Option<KeyDetails>, StoreError> {
        self.readers
            .call(move |connection| api_keys::read(connection, account, id))
            .await
    }

    async fn update_key(
        &self,
        account: AccountId,
        id: KeyId,
        change: KeyChange,
        audit: AuditEntry,
    ) -> Result<KeyChanged, StoreError> {
        self.writer
            .call(move |connection| api_keys::update(connection, account, id, change.clone(), audit.clone()))
            .await
    }

    async fn rotate_key(
        &self,
        account: AccountId,
        id: KeyId,
        secret: NewSecret,
        audit: AuditEntry,
    ) -> Result<KeyRotated, StoreError> {
        self.writer
            .call(move |connection| api_keys::rotate(connection, account, id, &secret, audit.clone()))
            .await
    }

    async fn revoke_key_of(
        &self,
        account: Option<AccountId>,
        id: KeyId,
        audit: AuditEntry,
    ) -> Result<Option<KeyDetails>, StoreError> {
        self.writer
            .call(move |connection| api_keys::revoke(connection, account, id, audit.clone()))
            .await
    }

    async fn key_labels(&self, keys: Vec<KeyId>) -> Result<Vec<(KeyId, String)>, StoreError> {
        self.readers
            .call(move |connection| api_keys::labels(connection, &keys))
            .await
    }
}
