//! Writing a file: in chunks, of which one is in memory at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{FileId, NamespaceId};
use resultity_core::openai::file::FilePurpose;

use crate::flow::{Flow, KeptLimits, internal, keeps_nothing};
use crate::store::files::{FILE_CHUNK, FileWrite, FinishedFile, NewChunk, NewFile};

/// The most characters of a file's name.
const MAX_FILENAME: usize = 200;

/// The error for a file that is longer than a file may be.
pub(crate) fn too_large(limits: &KeptLimits) -> ApiError {
    let message = format!("the file is larger than {} bytes", limits.file_bytes);
    ApiError::new(ErrorCode::PayloadTooLarge, message).with_param("file")
}

/// A file that is being written. Dropped before it is finished, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct FileWriter {
    flow: Arc<Flow>,
    id: FileId,
    /// None: what the network writes itself is not limited.
    limits: Option<KeptLimits>,
    buffer: BytesMut,
    place: u32,
    bytes: u64,
    is_open: bool,
}

impl FileWriter {
    /// Begins a file of this namespace.
    pub(crate) async fn begin(
        flow: &Arc<Flow>,
        namespace: NamespaceId,
        limits: Option<KeptLimits>,
    ) -> Result<Self, ApiError> {
        let id = FileId::new(&*flow.clock, &*flow.entropy);
        let file = NewFile {
            id,
            namespace,
            now: flow.clock.now(),
            most_files: limits.map(|limits| limits.files),
        };
        match flow.store.begin_file(file).await.map_err(internal)? {
            FileWrite::Written => {}
            FileWrite::NotKept => return Err(keeps_nothing("there can be no files in it")),
            FileWrite::AboveLimit | FileWrite::NotOpen => {
                let most = limits.map_or(0, |limits| limits.files);
                return Err(ApiError::new(
                    ErrorCode::PayloadTooLarge,
                    format!("there are {most} files already, which is the most: delete some first"),
                ));
            }
        }
        Ok(Self {
            flow: Arc::clone(flow),
            id,
            limits,
            buffer: BytesMut::new(),
            place: 0,
            bytes: 0,
            is_open: true,
        })
    }

    /// Adds to it.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        self.bytes += piece.len() as u64;
        if let Some(limits) = self.limits
            && self.bytes > limits.file_bytes
        {
            return Err(too_large(&limits));
        }
        let mut rest = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(FILE_CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == FILE_CHUNK {
                self.flush().await?;
            }
            rest = later;
        }
        Ok(())
    }

    /// How long it is so far.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    async fn flush(&mut self) -> Result<(), ApiError> {
        let content: Bytes = self.buffer.split().freeze();
        if content.is_empty() {
            return Ok(());
        }
        let chunk = NewChunk {
            file: self.id,
            place: self.place,
            content,
            now: self.flow.clock.now(),
            most_bytes: self.limits.map(|limits| limits.all_file_bytes),
        };
        self.place += 1;
        match self.flow.store.append_to_file(chunk).await.map_err(internal)? {
            FileWrite::Written => Ok(()),
            FileWrite::AboveLimit => {
                let most = self.limits.map_or(0, |limits| limits.all_file_bytes);
                Err(ApiError::new(
                    ErrorCode::PayloadTooLarge,
                    format!("with this file there would be more than {most} bytes in all files: delete some first"),
                )
                .with_param("file"))
            }
            FileWrite::NotOpen | FileWrite::NotKept => Err(ApiError::new(
                ErrorCode::InvalidValue,
                "the file took too long to arrive: please send it again",
            )
            .with_param("file")),
        }
    }

    /// Writes the last of it. What this gives makes the file visible, once it is handed to the store; then [`kept`](Self::kept)
    /// has to be called.
    pub(crate) async fn finish(
        &mut self,
        filename: &str,
        purpose: FilePurpose,
        lasts: Option<std::time::Duration>,
    ) -> Result<FinishedFile, ApiError> {
        self.flush().await?;
        let now = self.flow.clock.now();
        Ok(FinishedFile {
            id: self.id,
            filename: sanitised(filename),
            purpose,
            expires_at: lasts.map(|lasts| now.after(lasts)),
            now,
        })
    }

    /// The store has made it visible.
    pub(crate) fn kept(mut self) {
        self.is_open = false;
    }
}

impl Drop for FileWriter {
    /// Its bytes count no longer at once, rather than when the store looks for what was abandoned.
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (flow, id) = (Arc::clone(&self.flow), self.id);
            let abandon = async move {
                if let Err(error) = flow.store.abandon_file(id).await {
                    tracing::debug!(file.id = %id, %error, "a file that was not finished stays until it is purged");
                }
            };
            self.flow.background.spawn_on(abandon, &runtime);
        }
    }
}

/// A name that is one: no path, nothing that a terminal or a header would act on.
fn sanitised(filename: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_harmless = |c: &char| {
        !c.is_control() && !matches!(*c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let kept: String = last.chars().filter(is_harmless).take(MAX_FILENAME).collect();
    let name = kept.trim();
    if matches!(name, "" | "." | "..") {
        "file".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a.jsonl", "a.jsonl")]
    #[case("../../etc/passwd", "passwd")]
    #[case("C:\\files\\a b.jsonl", "a b.jsonl")]
    #[case("a\r\nset-cookie: x\0", "aset-cookie: x")]
    #[case("\u{202e}lnosj.a", "lnosj.a")]
    #[case("folder/", "file")]
    #[case("..", "file")]
    #[case("   ", "file")]
    #[case("", "file")]
    #[case("Übung 図.jsonl", "Übung 図.jsonl")]
    fn a_name_is_no_path_and_has_nothing_in_it_that_acts(#[case] given: &str, #[case] kept: &str) {
        assert_eq!(sanitised(given), kept);
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(sanitised(&"x".repeat(1_000)).chars().count(), MAX_FILENAME);
    }
}
