//! The lines of a batch's file.

use std::sync::Arc;

use bytes::Bytes;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::FileId;

use crate::flow::internal;
use crate::store::Store;
use crate::store::files::FILE_CHUNK;

/// The longest line that is read: bytes. A request over HTTP may be as long.
pub(super) const MAX_LINE: usize = 16 * 1024 * 1024;

/// Where a line stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// Which line, from 1.
    pub(super) number: u32,
    /// Where it begins.
    start: u64,
    /// How long it is, without its end.
    length: u32,
}

/// A file that is read line by line. One chunk of it is kept in memory.
#[derive(Debug)]
pub(super) struct Source {
    store: Arc<dyn Store>,
    file: FileId,
    chunk: Option<(u32, Bytes)>,
}

/// Reads a file from the first line to the last.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    source: &'a mut Source,
    /// Where the next line begins.
    place: u64,
    number: u32,
}

/// What a [`Reader`] finds.
#[derive(Debug)]
pub(super) enum Found {
    /// A line that is not blank.
    Line(Line, Vec<u8>),
    /// A line that is longer than a line may be; nothing is read after it.
    TooLong(u32),
    /// No more lines.
    End,
}

impl Source {
    /// The lines of this file.
    pub(super) fn new(store: Arc<dyn Store>, file: FileId) -> Self {
        Self {
            store,
            file,
            chunk: None,
        }
    }

    /// Reads all lines.
    pub(super) fn reader(&mut self) -> Reader<'_> {
        Reader {
            source: self,
            place: 0,
            number: 0,
        }
    }

    /// Where all lines stand that are not blank.
    pub(super) async fn lines(&mut self) -> Result<Vec<Line>, ApiError> {
        let mut lines = Vec::new();
        let mut reader = self.reader();
        while let Found::Line(line, _) = reader.next().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Reads one line again.
    pub(super) async fn read(&mut self, line: Line) -> Result<Vec<u8>, ApiError> {
        let mut text = Vec::with_capacity(line.length as usize);
        while text.len() < line.length as usize {
            let rest = self.from(line.start + text.len() as u64).await?;
            if rest.is_empty() {
                return Err(ApiError::new(ErrorCode::Internal, "the file of the batch is gone"));
            }
            let wanted = (line.length as usize - text.len()).min(rest.len());
            text.extend_from_slice(&rest[..wanted]);
        }
        Ok(text)
    }

    /// What stands in the file from this place to the end of its chunk; nothing after the end of the file.
    async fn from(&mut self, place: u64) -> Result<Bytes, ApiError> {
        let (chunk, within) = (place / FILE_CHUNK as u64, (place % FILE_CHUNK as u64) as usize);
        let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
        let content = match &self.chunk {
            Some((kept, content)) if *kept == chunk => content.clone(),
            _ => {
                let content = self.store.file_chunk(self.file, chunk).await.map_err(internal)?;
                let content = content.unwrap_or_default();
                self.chunk = Some((chunk, content.clone()));
                content
            }
        };
        Ok(content.slice(within.min(content.len())..))
    }
}

impl Reader<'_> {
    /// The next line that is not blank.
    pub(super) async fn next(&mut self) -> Result<Found, ApiError> {
        loop {
            let start = self.place;
            let mut text = Vec::new();
            let mut is_last = false;
            loop {
                let rest = self.source.from(self.place).await?;
                if rest.is_empty() {
                    is_last = true;
                    break;
                }
                let end = rest.iter().position(|byte| *byte == b'\n');
                let piece = &rest[..end.unwrap_or(rest.len())];
                if text.len() + piece.len() > MAX_LINE {
                    return Ok(Found::TooLong(self.number + 1));
                }
                text.extend_from_slice(piece);
                self.place += piece.len() as u64;
                if end.is_some() {
                    self.place += 1;
                    break;
                }
            }
            if is_last && text.is_empty() {
                return Ok(Found::End);
            }
            self.number += 1;
            if !text.trim_ascii().is_empty() {
                let line = Line {
                    number: self.number,
                    start,
                    length: u32::try_from(text.len()).unwrap_or(u32::MAX),
                };
                return Ok(Found::Line(line, text));
            }
        }
    }
}
