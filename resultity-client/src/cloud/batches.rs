//! Batches: from requests to answers.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use resultity_core::api::batches::BatchesApi;
use resultity_core::api::cloud::Reply;
use resultity_core::api::files::{FileContent, FileUpload, FilesApi};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{BatchId, FileId};
use resultity_core::job::Endpoint;
use resultity_core::openai::batch::{Batch, BatchLine, BatchOutput, BatchRequest};
use resultity_core::openai::file::FilePurpose;

use crate::cloud::CloudClient;
use crate::error;
use crate::pages::{Entries, pages};
use crate::transport::LARGEST_ANSWER;

#[async_trait]
impl BatchesApi for CloudClient {
    async fn create_batch(&self, request: BatchRequest) -> Result<Reply<Batch>, ApiError> {
        let call = self.transport.post(&["batches"], &request)?;
        self.transport.json(call).await
    }

    async fn batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError> {
        let call = self.transport.get(&["batches", &id.to_string()]);
        self.transport.json(call).await
    }

    async fn batches(&self, query: PageQuery) -> Result<Reply<Page<Batch>>, ApiError> {
        let call = self.transport.get(&["batches"]).with_query(&query)?;
        self.transport.json(call).await
    }

    async fn cancel_batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError> {
        let call = self.transport.post_nothing(&["batches", &id.to_string(), "cancel"]);
        self.transport.json(call.repeatable()).await
    }
}

impl CloudClient {
    /// Uploads these requests and begins a batch of them. All of them go to one endpoint.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use futures::TryStreamExt;
    /// use resultity_client::CloudClient;
    /// use resultity_client::core::job::Endpoint;
    /// use resultity_client::core::openai::batch::BatchLine;
    /// use resultity_client::core::openai::chat::{ChatRequest, Message};
    ///
    /// # async fn run(client: CloudClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let line = |id: &str, question: &str| {
    ///     BatchLine::new(id, Endpoint::ChatCompletions, &ChatRequest::new("smollm2-135m", [Message::user(question)]))
    /// };
    /// let lines = [line("a", "Name a river.")?, line("b", "Name a mountain.")?];
    /// let batch = client.submit_batch(Endpoint::ChatCompletions, lines).await?;
    /// let batch = client.wait_for_batch(batch.id, Duration::from_hours(1)).await?;
    /// let mut answers = client.batch_output(&batch);
    /// while let Some(answer) = answers.try_next().await? {
    ///     println!("{}: {}", answer.custom_id, answer.response.map_or(0, |response| response.status_code));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`upload_file`](FilesApi::upload_file) and [`create_batch`](BatchesApi::create_batch).
    pub async fn submit_batch(
        &self,
        endpoint: Endpoint,
        lines: impl IntoIterator<Item = BatchLine>,
    ) -> Result<Reply<Batch>, ApiError> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, &line).map_err(|error| {
                ApiError::new(
                    ErrorCode::InvalidValue,
                    format!("the request {:?} cannot be written as JSON: {error}", line.custom_id),
                )
            })?;
            text.push(b'\n');
        }
        let upload = FileUpload::new("batch.jsonl", FilePurpose::Batch, text);
        let file = self.upload_file(upload).await?;
        self.create_batch(BatchRequest::new(file.id, endpoint)).await
    }

    /// What became of the requests of a batch that has ended: the answers, then those that failed or did not run, in the
    /// order of their files.
    pub fn batch_output(&self, batch: &Batch) -> BoxStream<'static, Result<BatchOutput, ApiError>> {
        let files: Vec<FileId> = batch.output_file_id.into_iter().chain(batch.error_file_id).collect();
        let client = self.clone();
        stream::iter(files)
            .then(move |file| {
                let client = client.clone();
                async move { client.file_content(file).await.map(lines) }
            })
            .try_flatten()
            .and_then(async |line| {
                serde_json::from_slice(&line)
                    .map_err(|why| error::invalid_answer(format_args!("a line of a batch: {why}")).with_source(why))
            })
            .boxed()
    }

    /// The batches of all pages.
    pub fn batches_stream(&self, query: PageQuery) -> Entries<Batch> {
        let client = self.clone();
        pages(query.after.clone(), move |after| {
            let (client, query) = (client.clone(), PageQuery { after, ..query.clone() });
            async move { client.batches(query).await }
        })
    }
}

/// The lines of a text that are not empty; the last one may have no end.
fn lines(content: FileContent) -> BoxStream<'static, Result<Bytes, ApiError>> {
    stream::try_unfold((Some(content), BytesMut::new()), |(mut content, mut rest)| async move {
        let mut searched = 0;
        loop {
            if let Some(at) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(searched + at + 1).freeze();
                searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some((line, (content, rest))));
                }
                continue;
            }
            searched = rest.len();
            if rest.len() > LARGEST_ANSWER {
                let why = format_args!("a line is longer than {LARGEST_ANSWER} bytes");
                return Err(error::invalid_answer(why));
            }
            let piece = match &mut content {
                Some(content) => content.try_next().await?,
                None => return Ok(None),
            };
            match piece {
                Some(piece) => rest.extend_from_slice(&piece),
                None if rest.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some((rest.split().freeze(), (None, rest)))),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use resultity_core::api::cloud::ReplyMeta;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["a\nb", "b\n", "\n", "c"], &["a\n", "bb\n", "c"])]
    #[case(&["a\r\n\r\nb\r\n"], &["a\r\n", "b\r\n"])]
    #[case(&[], &[])]
    #[case(&["\n\n", " "], &[])]
    #[tokio::test]
    async fn lines_are_put_together(#[case] pieces: &[&'static str], #[case] expected: &[&str]) {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect();
        let content = FileContent::new(ReplyMeta::default(), stream::iter(pieces).boxed());
        let lines: Vec<Bytes> = lines(content).try_collect().await.unwrap();
        assert_eq!(lines, expected);
    }
}
