//! The verbs of [`PublicationStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_core::signing::KeyRotation;

use super::{SqliteStore, publications};
use crate::store::StoreError;
use crate::store::publication::{Kept, Mark, NewRotation, NewSnapshot, PublicationStore, SnapshotRecord};
use crate::store::webhooks::PageOf;

#[async_trait]
impl PublicationStore for SqliteStore {
    async fn publish_snapshot(&self, snapshot: NewSnapshot) -> Result<Kept, StoreError> {
        self.writer
            .call(move |connection| publications::publish(connection, &snapshot))
            .await
    }

    async fn latest_snapshot(&self, environment: Environment) -> Result<Option<SnapshotRecord>, StoreError> {
        self.readers
            .call(move |connection| publications::latest(connection, environment))
            .await
    }

    async fn snapshot(&self, environment: Environment, version: u64) -> Result<Option<SnapshotRecord>, StoreError> {
        self.readers
            .call(move |connection| publications::read(connection, environment, version))
            .await
    }

    async fn snapshots(&self, environment: Environment, page: PageOf<u64>) -> Result<Vec<SnapshotRecord>, StoreError> {
        self.readers
            .call(move |connection| publications::list(connection, environment, &page))
            .await
    }

    async fn publication_mark(&self, environment: Environment) -> Result<Mark, StoreError> {
        self.readers
            .call(move |connection| publications::mark(connection, environment))
            .await
    }

    async fn offer_digest(&self, environment: Environment) -> Result<Option<B256>, StoreError> {
        self.readers
            .call(move |connection| publications::offer_digest(connection, environment))
            .await
    }

    async fn keep_offer_digest(&self, environment: Environment, digest: B256) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| publications::keep_offer_digest(connection, environment, digest))
            .await
    }

    async fn key_rotations(&self, environment: Environment) -> Result<Vec<KeyRotation>, StoreError> {
        self.readers
            .call(move |connection| publications::rotations(connection, environment))
            .await
    }

    async fn change_network_key(&self, rotation: NewRotation) -> Result<Kept, StoreError> {
        self.writer
            .call(move |connection| publications::rotate(connection, &rotation))
            .await
    }
}
