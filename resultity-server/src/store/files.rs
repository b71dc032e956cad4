//! Files: kept in chunks, so that neither writing nor reading one holds up anything else.

use async_trait::async_trait;
use bytes::Bytes;
use resultity_core::clock::Timestamp;
use resultity_core::id::{FileId, NamespaceId};
use resultity_core::openai::file::FilePurpose;

use crate::store::StoreError;

/// How long every chunk of a file is but the last one: bytes.
pub const FILE_CHUNK: usize = 256 * 1024;

/// A file whose content is to come.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub namespace: NamespaceId,
    /// When.
    pub now: Timestamp,
    /// The most files that the namespace may have, this one included. None: no limit.
    pub most_files: Option<u64>,
}

/// The next chunk of a file that is being written.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// Of which file.
    pub file: FileId,
    /// Which chunk, from 0: one after the other, each [`FILE_CHUNK`] long but the last.
    pub place: u32,
    /// What is in it.
    pub content: Bytes,
    /// When.
    pub now: Timestamp,
    /// The most bytes that the namespace may have, these included. None: no limit.
    pub most_bytes: Option<u64>,
}

/// What became of a file or chunk to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileWrite {
    /// It is written.
    Written,
    /// The namespace would have more than it may: nothing was changed.
    AboveLimit,
    /// There is no such file that is being written, or this is not its next chunk: nothing was changed.
    NotOpen,
    /// Its namespace keeps nothing: nothing was changed.
    NotKept,
}

/// What a file is, once its content is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedFile {
    /// The file.
    pub id: FileId,
    /// What its owner calls it.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// When it goes by itself.
    pub expires_at: Option<Timestamp>,
    /// When it is complete.
    pub now: Timestamp,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub namespace: NamespaceId,
    /// What its owner calls it.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// How long it is.
    pub bytes: u64,
    /// When it was complete.
    pub created_at: Timestamp,
    /// When it goes by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which files to list.
#[derive(Debug, Clone)]
pub struct FileFilter {
    /// Whose.
    pub namespace: NamespaceId,
    /// For what.
    pub purpose: Option<FilePurpose>,
    /// Those after this one.
    pub after: Option<FileId>,
    /// Oldest first.
    pub ascending: bool,
    /// How many.
    pub limit: u32,
}

/// What became of a file to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDeletion {
    /// It is gone.
    Deleted,
    /// A batch that has not ended reads it: nothing was changed.
    InUse,
    /// No such file in this namespace.
    Unknown,
}

/// Files. One that is being written is seen by nobody else until it is complete.
#[async_trait]
pub trait FileStore {
    /// Begins a file.
    async fn begin_file(&self, file: NewFile) -> Result<FileWrite, StoreError>;

    /// Adds a chunk to a file that is being written.
    async fn append_to_file(&self, chunk: NewChunk) -> Result<FileWrite, StoreError>;

    /// Makes a file that is being written complete, and so visible. None: there is no such file.
    async fn finish_file(&self, file: FinishedFile) -> Result<Option<FileRecord>, StoreError>;

    /// Gives up a file that is being written.
    async fn abandon_file(&self, file: FileId) -> Result<(), StoreError>;

    /// A complete file of this namespace that has not expired.
    async fn file(
        &self,
        namespace: NamespaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<Option<FileRecord>, StoreError>;

    /// Complete files that have not expired.
    async fn files(&self, filter: FileFilter, now: Timestamp) -> Result<Vec<FileRecord>, StoreError>;

    /// A chunk of a complete file; none after the last one, or if the file was deleted.
    async fn file_chunk(&self, file: FileId, place: u32) -> Result<Option<Bytes>, StoreError>;

    /// Deletes a complete file of this namespace.
    async fn delete_file(
        &self,
        namespace: NamespaceId,
        file: FileId,
        now: Timestamp,
    ) -> Result<FileDeletion, StoreError>;

    /// Frees a few chunks of files that were deleted, that have expired and no batch reads, and that nobody has written to
    /// since `abandoned_before`. How many: none once there are none left.
    async fn purge_files(&self, now: Timestamp, abandoned_before: Timestamp) -> Result<u64, StoreError>;
}
