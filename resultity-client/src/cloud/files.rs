//! Files: sent as forms, fetched a piece at a time.

use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use resultity_core::api::cloud::Reply;
use resultity_core::api::files::{FileContent, FileQuery, FileUpload, FilesApi};
use resultity_core::api::page::Page;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::FileId;
use resultity_core::openai::file::{ExpiresAfter, File, FileDeleted, FilePurpose};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cloud::CloudClient;
use crate::error;
use crate::pages::{Entries, cursor, pages};
use crate::sse;
use crate::transport::LARGEST_ANSWER;

/// How much of a file is read from the disk at once: bytes.
const PIECE: usize = 64 * 1024;

#[async_trait]
impl FilesApi for CloudClient {
    /// Sends the file once: what came as a stream can't be sent again. [`CloudClient::upload_path`] tries again.
    async fn upload_file(&self, upload: FileUpload) -> Result<Reply<File>, ApiError> {
        let part = Part::stream(Body::wrap_stream(upload.content));
        let form = form(&upload.filename, upload.purpose, upload.expires_after, part)?;
        let form = Mutex::new(Some(form));
        let call = self.transport.post_nothing(&["files"]).once();
        self.transport
            .form(call, || {
                let form = form.lock().ok().and_then(|mut form| form.take());
                async { form.ok_or_else(|| ApiError::new(ErrorCode::Internal, "a stream cannot be sent twice")) }
            })
            .await
    }

    async fn files(&self, query: FileQuery) -> Result<Reply<Page<File>>, ApiError> {
        self.transport
            .json(self.transport.get(&["files"]).with_query(&query)?)
            .await
    }

    async fn file(&self, id: FileId) -> Result<Reply<File>, ApiError> {
        self.transport
            .json(self.transport.get(&["files", &id.to_string()]))
            .await
    }

    async fn file_content(&self, id: FileId) -> Result<FileContent, ApiError> {
        let call = self.transport.get(&["files", &id.to_string(), "content"]);
        let response = self.transport.begin(call.accepting("*/*")).await?;
        Ok(sse::content(response, self.transport.idle_timeout))
    }

    async fn delete_file(&self, id: FileId) -> Result<Reply<FileDeleted>, ApiError> {
        self.transport
            .json(self.transport.delete(&["files", &id.to_string()]))
            .await
    }
}

impl CloudClient {
    /// Stores a file of this machine under its own name. It is read a piece at a time, and again where the upload is tried
    /// again.
    ///
    /// ```no_run
    /// use resultity_client::CloudClient;
    /// use resultity_client::core::openai::file::FilePurpose;
    ///
    /// # async fn upload(client: CloudClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let file = client.upload_path("requests.jsonl", FilePurpose::Batch).await?;
    /// println!("{} ({} bytes)", file.id, file.bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The file can't be read, or what the server says.
    pub async fn upload_path(&self, path: impl AsRef<Path>, purpose: FilePurpose) -> Result<Reply<File>, ApiError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let call = self.transport.post_nothing(&["files"]);
        self.transport
            .form(call, || async {
                let failed = |error| local(&error, "read", path);
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let length = file.metadata().await.map_err(failed)?.len();
                let content = content_of(file, path.to_owned());
                let part = Part::stream_with_length(Body::wrap_stream(content), length);
                form(&name, purpose, None, part)
            })
            .await
    }

    /// The whole content of a file that fits into memory: at most 64 MiB.
    ///
    /// # Errors
    /// The file is longer, or what the server says.
    pub async fn download(&self, id: FileId) -> Result<Bytes, ApiError> {
        let mut content = self.file_content(id).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = content.try_next().await? {
            if whole.len() + piece.len() > LARGEST_ANSWER {
                return Err(error::invalid_answer(format_args!(
                    "the file is longer than {LARGEST_ANSWER} bytes: use download_to"
                )));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Writes the content of a file to this path. Only a file that is complete is there afterwards: until then it is called
    /// `….part`. Gives how long it is, in bytes.
    ///
    /// # Errors
    /// The file can't be written, or what the server says.
    pub async fn download_to(&self, id: FileId, path: impl AsRef<Path>) -> Result<u64, ApiError> {
        let path = path.as_ref();
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = Path::new(&name);
        let mut content = self.file_content(id).await?;
        let written = async {
            let failed = |error| local(&error, "write", part);
            let mut file = tokio::fs::File::create(part).await.map_err(failed)?;
            let mut length = 0;
            while let Some(piece) = content.try_next().await? {
                length += piece.len() as u64;
                file.write_all(&piece).await.map_err(failed)?;
            }
            file.flush().await.map_err(failed)?;
            tokio::fs::rename(part, path)
                .await
                .map_err(|error| local(&error, "write", path))?;
            Ok(length)
        };
        let written = written.await;
        if written.is_err() {
            // What is left of it is of no use; if it can't be removed, it still has the name of a part.
            let _ = tokio::fs::remove_file(part).await;
        }
        written
    }

    /// The files of all pages.
    pub fn files_stream(&self, query: FileQuery) -> Entries<File> {
        let client = self.clone();
        pages(query.after.map(|id| id.to_string()), move |after| {
            let (client, mut query) = (client.clone(), query.clone());
            async move {
                query.after = cursor(after)?;
                client.files(query).await
            }
        })
    }
}

/// The form as OpenAI has it.
fn form(name: &str, purpose: FilePurpose, expires: Option<ExpiresAfter>, part: Part) -> Result<Form, ApiError> {
    let part = part
        .file_name(name.to_owned())
        .mime_str("application/octet-stream")
        .map_err(|error| ApiError::new(ErrorCode::InvalidValue, "the file's kind cannot be sent").with_source(error))?;
    let mut form = Form::new().text("purpose", purpose.as_str());
    if let Some(after) = expires {
        form = form
            .text("expires_after[anchor]", "created_at")
            .text("expires_after[seconds]", after.seconds.to_string());
    }
    Ok(form.part("file", part))
}

fn content_of(file: tokio::fs::File, path: std::path::PathBuf) -> BoxStream<'static, Result<Bytes, ApiError>> {
    stream::try_unfold((file, path), |(mut file, path)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await;
        match read.map_err(|error| local(&error, "read", &path))? {
            0 => Ok(None),
            _ => Ok(Some((piece.freeze(), (file, path)))),
        }
    })
    .boxed()
}

/// A file of this machine that can't be used.
fn local(error: &std::io::Error, what: &str, path: &Path) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidValue,
        format!("cannot {what} {}: {error}", path.display()),
    )
}
