//! Files.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};

use super::cloud::{Reply, Streamed};
use super::page::{Order, Page};
use crate::error::ApiError;
use crate::id::FileId;
use crate::openai::file::{ExpiresAfter, File, FileDeleted, FilePurpose};

/// A file to be stored.
#[non_exhaustive]
pub struct FileUpload {
    /// What its owner calls it.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// When it is to go by itself; else as is usual for its purpose: 30 days for `batch`, never for others.
    pub expires_after: Option<ExpiresAfter>,
    /// What is in it, a piece at a time.
    pub content: BoxStream<'static, Result<Bytes, ApiError>>,
}

impl FileUpload {
    /// A file with this content.
    pub fn new(filename: impl Into<String>, purpose: FilePurpose, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self::streamed(filename, purpose, stream::iter([Ok(content)]).boxed())
    }

    /// A file whose content comes a piece at a time.
    pub fn streamed(
        filename: impl Into<String>,
        purpose: FilePurpose,
        content: BoxStream<'static, Result<Bytes, ApiError>>,
    ) -> Self {
        Self {
            filename: filename.into(),
            purpose,
            expires_after: None,
            content,
        }
    }

    /// Sets when it is to go by itself: one hour to 30 days, in seconds.
    #[must_use]
    pub fn expires_after(mut self, seconds: u64) -> Self {
        self.expires_after = Some(ExpiresAfter::seconds(seconds));
        self
    }
}

impl fmt::Debug for FileUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileUpload")
            .field("filename", &self.filename)
            .field("purpose", &self.purpose)
            .field("expires_after", &self.expires_after)
            .finish_non_exhaustive()
    }
}

/// Which files to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct FileQuery {
    /// Only those for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<FilePurpose>,
    /// How many entries: 1 to 10000; 1000 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<FileId>,
    /// Which end comes first; the newest, unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// The content of a file, a piece at a time. It is complete only if the stream ends without an error.
pub type FileContent = Streamed<Bytes>;

/// Files.
#[async_trait]
pub trait FilesApi: Send + Sync {
    /// Stores a file. It is there for others once this returns.
    async fn upload_file(&self, upload: FileUpload) -> Result<Reply<File>, ApiError>;

    /// The caller's files.
    async fn files(&self, query: FileQuery) -> Result<Reply<Page<File>>, ApiError>;

    /// A file, without its content.
    async fn file(&self, id: FileId) -> Result<Reply<File>, ApiError>;

    /// The content of a file.
    async fn file_content(&self, id: FileId) -> Result<FileContent, ApiError>;

    /// Deletes a file; refused as long as a batch reads it.
    async fn delete_file(&self, id: FileId) -> Result<Reply<FileDeleted>, ApiError>;
}
