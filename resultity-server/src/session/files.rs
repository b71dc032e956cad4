//! Files of the caller's namespace.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::api::files::{FileContent, FileQuery, FileUpload, FilesApi};
use resultity_core::api::page::{Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::FileId;
use resultity_core::openai::file::{ExpiresAfter, File, FileDeleted, FilePurpose};

use crate::flow::internal;
use crate::session::CloudSession;
use crate::session::file_writer::FileWriter;
use crate::store::files::{FILE_CHUNK, FileDeletion, FileFilter, FileRecord};

/// How long a batch's file is kept, unless somebody says otherwise.
pub(super) const BATCH_FILES_LAST: Duration = Duration::from_hours(30 * 24);

/// How many files are on a page if nobody says so, and at most. OpenAI gives up to 10 000 at once.
const PAGE: (u32, u32) = (1_000, 10_000);

/// A file that is being uploaded. What it is called and what it is for may come after its content.
#[derive(Debug)]
pub struct Upload(FileWriter);

impl Upload {
    /// Adds to it.
    ///
    /// # Errors
    /// It is longer than a file may be, or there is no room for it.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        self.0.write(piece).await
    }
}

impl CloudSession {
    /// Begins a file.
    pub async fn begin_upload(&self) -> Result<Upload, ApiError> {
        self.touch()?;
        self.check_keeps("there can be no files in it")?;
        let writer = FileWriter::begin(&self.flow, self.principal.namespace, Some(self.flow.kept)).await?;
        Ok(Upload(writer))
    }

    /// Makes an uploaded file one that others see.
    pub async fn finish_upload(
        &self,
        upload: Upload,
        filename: &str,
        purpose: FilePurpose,
        expires_after: Option<ExpiresAfter>,
    ) -> Result<Reply<File>, ApiError> {
        check(purpose, expires_after)?;
        let Upload(mut writer) = upload;
        if writer.len() == 0 {
            return Err(ApiError::new(ErrorCode::InvalidValue, "the file is empty").with_param("file"));
        }
        let lasts = match (expires_after, purpose) {
            (Some(after), _) => Some(after.duration()),
            (None, FilePurpose::Batch) => Some(BATCH_FILES_LAST),
            (None, _) => None,
        };
        let finished = writer.finish(filename, purpose, lasts).await?;
        let record = self.flow.store.finish_file(finished).await.map_err(internal)?;
        let record = record.ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidValue,
                "the file took too long to arrive: please send it again",
            )
            .with_param("file")
        })?;
        writer.kept();
        tracing::info!(file.id = %record.id, namespace.id = %record.namespace, bytes = record.bytes, "file stored");
        Ok(reply(file(record)))
    }

    /// A file with its content.
    pub async fn open_file(&self, id: FileId) -> Result<(File, FileContent), ApiError> {
        self.touch()?;
        let record = self.stored_file(id).await?;
        let store = std::sync::Arc::clone(&self.flow.store);
        let chunks = u32::try_from(record.bytes.div_ceil(FILE_CHUNK as u64)).unwrap_or(u32::MAX);
        let content = stream::iter(0..chunks).then(move |place| {
            let store = std::sync::Arc::clone(&store);
            async move {
                let chunk = store.file_chunk(id, place).await.map_err(internal)?;
                chunk.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "the file was deleted while it was read"))
            }
        });
        Ok((file(record), FileContent::new(ReplyMeta::default(), content.boxed())))
    }

    async fn stored_file(&self, id: FileId) -> Result<FileRecord, ApiError> {
        let found = self
            .flow
            .store
            .file(self.principal.namespace, id, self.flow.clock.now())
            .await;
        found.map_err(internal)?.ok_or_else(|| no_such_file(id))
    }
}

#[async_trait]
impl FilesApi for CloudSession {
    async fn upload_file(&self, upload: FileUpload) -> Result<Reply<File>, ApiError> {
        check(upload.purpose, upload.expires_after)?;
        let mut content = upload.content;
        let mut file = self.begin_upload().await?;
        while let Some(piece) = content.next().await {
            file.write(&piece?).await?;
        }
        self.finish_upload(file, &upload.filename, upload.purpose, upload.expires_after)
            .await
    }

    async fn files(&self, query: FileQuery) -> Result<Reply<Page<File>>, ApiError> {
        self.touch()?;
        let (usual, most) = PAGE;
        let size = query.limit.unwrap_or(usual);
        if !(1..=most).contains(&size) {
            let message = format!("limit must be from 1 to {most}, but is {size}");
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("limit"));
        }
        let filter = FileFilter {
            namespace: self.principal.namespace,
            purpose: query.purpose,
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let found = self
            .flow
            .store
            .files(filter, self.flow.clock.now())
            .await
            .map_err(internal)?;
        let files = found.into_iter().map(file).collect();
        Ok(reply(Page::of(files, size, |file: &File| file.id.to_string())))
    }

    async fn file(&self, id: FileId) -> Result<Reply<File>, ApiError> {
        self.touch()?;
        Ok(reply(file(self.stored_file(id).await?)))
    }

    async fn file_content(&self, id: FileId) -> Result<FileContent, ApiError> {
        Ok(self.open_file(id).await?.1)
    }

    async fn delete_file(&self, id: FileId) -> Result<Reply<FileDeleted>, ApiError> {
        self.touch()?;
        let now = self.flow.clock.now();
        let deletion = self.flow.store.delete_file(self.principal.namespace, id, now).await;
        match deletion.map_err(internal)? {
            FileDeletion::Deleted => Ok(reply(FileDeleted {
                id,
                object: "file".into(),
                deleted: true,
            })),
            FileDeletion::InUse => Err(ApiError::new(
                ErrorCode::Conflict,
                "a batch that has not ended reads this file: cancel the batch, or wait for its end",
            )),
            FileDeletion::Unknown => Err(no_such_file(id)),
        }
    }
}

/// Whether a file may be uploaded for this, and kept for so long.
fn check(purpose: FilePurpose, expires_after: Option<ExpiresAfter>) -> Result<(), ApiError> {
    if purpose == FilePurpose::BatchOutput {
        let message = "purpose batch_output is for what batches write: upload files for batch or user_data";
        return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("purpose"));
    }
    check_expiry(expires_after, "expires_after")
}

/// Whether a file may be kept for so long.
pub(super) fn check_expiry(expires_after: Option<ExpiresAfter>, param: &str) -> Result<(), ApiError> {
    match expires_after {
        Some(after) if !after.is_valid() => {
            let (least, most) = (ExpiresAfter::MIN_SECONDS, ExpiresAfter::MAX_SECONDS);
            let message = format!(
                "{param}.seconds must be from {least} to {most}, but is {}",
                after.seconds
            );
            Err(ApiError::new(ErrorCode::InvalidValue, message).with_param(format!("{param}.seconds")))
        }
        _ => Ok(()),
    }
}

fn no_such_file(id: FileId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no file {id}"))
}

fn reply<T>(body: T) -> Reply<T> {
    Reply {
        body,
        meta: ReplyMeta::default(),
    }
}

fn file(record: FileRecord) -> File {
    File {
        id: record.id,
        object: "file".into(),
        bytes: record.bytes,
        created_at: record.created_at.as_seconds(),
        expires_at: record.expires_at.map(Timestamp::as_seconds),
        filename: record.filename,
        purpose: record.purpose,
        status: "processed".into(),
        status_details: None,
    }
}
