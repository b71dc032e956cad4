//! The verbs of [`FileStore`] and [`BatchStore`], each on the writer or a reader.

use async_trait::async_trait;
use bytes::Bytes;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{BatchId, FileId, NamespaceId};
use tokio::sync::watch;

use super::{SqliteStore, batches, files};
use crate::store::batches::{BatchCreation, BatchRecord, BatchStep, BatchStore, LineOutcome, NewBatch};
use crate::store::files::{
    FileDeletion, FileFilter, FileRecord, FileStore, FileWrite, FinishedFile, NewChunk, NewFile,
};
use crate::store::{KeyRecord, StoreError};

#[async_trait]
impl FileStore for SqliteStore {
    async fn begin_file(&self, file: NewFile) -> Result<FileWrite, StoreError> {
        self.writer
            .call(move |connection| files::begin(connection, &file))
            .await
    }

    async fn append_to_file(&self, chunk: NewChunk) -> Result<FileWrite, StoreError> {
        self.writer
            .call(move |connection| files::append(connection, &chunk))
            .await
    }

    async fn finish_file(&self, file: FinishedFile) -> Result<Option<FileRecord>, StoreError> {
        self.writer
            .call(move |connection| files::finish(connection, &file))
            .await
    }

    async fn abandon_file(&self, file: FileId) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| files::abandon(connection, file))
            .await
    }

    async fn file(
        &self,
        namespace: NamespaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.readers
            .call(move |connection| files::read(connection, namespace, file, now))
            .await
    }

    async fn files(&self, filter: FileFilter, now: Timestamp) -> Result<Vec<FileRecord>, StoreError> {
        self.readers
            .call(move |connection| files::list(connection, &filter, now))
            .await
    }

    async fn file_chunk(&self, file: FileId, place: u32) -> Result<Option<Bytes>, StoreError> {
        self.readers
            .call(move |connection| files::chunk(connection, file, place))
            .await
    }

    async fn delete_file(
        &self,
        namespace: NamespaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<FileDeletion, StoreError> {
        self.writer
            .call(move |connection| files::delete(connection, namespace, file, now))
            .await
    }

    async fn purge_files(&self, now: Timestamp, abandoned_before: Timestamp) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| files::purge(connection, now, abandoned_before))
            .await
    }
}

#[async_trait]
impl BatchStore for SqliteStore {
    async fn create_batch(&self, batch: NewBatch) -> Result<BatchCreation, StoreError> {
        let created = self
            .writer
            .call(move |connection| batches::create(connection, &batch))
            .await?;
        self.batch_changes.send_modify(|changes| *changes += 1);
        Ok(created)
    }

    async fn batch(&self, namespace: NamespaceId, batch: BatchId) -> Result<Option<BatchRecord>, StoreError> {
        let record = self
            .readers
            .call(move |connection| batches::read(connection, batch))
            .await?;
        Ok(record.filter(|record| record.namespace == namespace))
    }

    async fn batches(
        &self,
        namespace: NamespaceId,
        after: Option<BatchId>,
        ascending: bool,
        limit: u32,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        self.readers
            .call(move |connection| batches::list(connection, namespace, after, ascending, limit))
            .await
    }

    fn batch_changes(&self) -> watch::Receiver<u64> {
        self.batch_changes.subscribe()
    }

    async fn open_batches(&self, environment: Environment) -> Result<Vec<(BatchRecord, KeyRecord)>, StoreError> {
        self.readers
            .call(move |connection| batches::open(connection, environment))
            .await
    }

    async fn step_batch(
        &self,
        batch: BatchId,
        step: BatchStep,
        now: Timestamp,
    ) -> Result<Option<BatchRecord>, StoreError> {
        let cancels = matches!(step, BatchStep::Cancel);
        let record = self
            .writer
            .call(move |connection| batches::step(connection, batch, &step, now))
            .await?;
        if cancels {
            self.batch_changes.send_modify(|changes| *changes += 1);
        }
        Ok(record)
    }

    async fn record_line(&self, outcome: LineOutcome) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| batches::record_line(connection, &outcome))
            .await
    }

    async fn finished_lines(&self, batch: BatchId) -> Result<Vec<u32>, StoreError> {
        self.readers
            .call(move |connection| batches::finished_lines(connection, batch))
            .await
    }

    async fn line_outcomes(&self, batch: BatchId, failed: bool, after: u32) -> Result<Vec<(u32, String)>, StoreError> {
        self.readers
            .call(move |connection| batches::line_outcomes(connection, batch, failed, after))
            .await
    }

    async fn purge_line_outcomes(&self) -> Result<u64, StoreError> {
        self.writer.call(batches::purge_lines).await
    }
}
