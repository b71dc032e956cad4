//! The Cloud API: OpenAI's resources.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::stream::{BoxStream, Stream};

use crate::credits::Credits;
use crate::error::ApiError;
use crate::id::JobId;
use crate::openai::chat::{ChatChunk, ChatCompletion, ChatRequest};
use crate::openai::model::{Model, ModelList};

/// What an answer says beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyMeta {
    /// Names the request in logs and to support.
    pub request_id: Option<String>,
    /// The job that made the answer.
    pub job_id: Option<JobId>,
    /// What it cost. Not known yet when a stream begins.
    pub cost: Option<Credits>,
}

/// An answer and what the server says beside it; reads like the answer itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// The answer.
    pub body: T,
    /// What was said beside it.
    pub meta: ReplyMeta,
}

impl<T> Deref for Reply<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.body
    }
}

/// A streamed answer. It has ended well only if the stream ends without an error: one that was cut ends in
/// [`ErrorCode::StreamCut`](crate::error::ErrorCode::StreamCut), never in a short answer. Dropping it cancels the job.
pub struct ChatStream {
    meta: ReplyMeta,
    chunks: BoxStream<'static, Result<ChatChunk, ApiError>>,
}

impl ChatStream {
    /// A stream of these chunks.
    pub fn new(meta: ReplyMeta, chunks: BoxStream<'static, Result<ChatChunk, ApiError>>) -> Self {
        Self { meta, chunks }
    }

    /// What the server said beside it.
    pub fn meta(&self) -> &ReplyMeta {
        &self.meta
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatChunk, ApiError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(cx)
    }
}

/// Chat completions.
#[async_trait]
pub trait ChatApi: Send + Sync {
    /// Asks and waits for the whole answer. `request.stream` is ignored.
    async fn chat(&self, request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError>;

    /// Asks and gives the answer as it is made. `request.stream` is ignored.
    async fn chat_stream(&self, request: ChatRequest) -> Result<ChatStream, ApiError>;
}

/// The models that can be asked.
#[async_trait]
pub trait ModelsApi: Send + Sync {
    /// All that can be served now to this caller, aliases included.
    async fn models(&self) -> Result<Reply<ModelList>, ApiError>;

    /// One of them.
    async fn model(&self, id: &str) -> Result<Reply<Model>, ApiError>;
}

/// The whole Cloud API.
pub trait CloudApi: ChatApi + ModelsApi {}

impl<T: ChatApi + ModelsApi + ?Sized> CloudApi for T {}
