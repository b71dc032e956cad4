//! The Cloud API: OpenAI's resources.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, Stream};

use super::batches::BatchesApi;
use super::completions::CompletionsApi;
use super::compute::ComputeApi;
use super::embeddings::EmbeddingsApi;
use super::files::FilesApi;
use super::jobs::JobsApi;
use super::responses::ResponsesApi;
use super::usage::UsageApi;
use super::webhooks::WebhooksApi;
use crate::credits::Credits;
use crate::error::ApiError;
use crate::id::JobId;
use crate::job::Priority;
use crate::limits::RateLimits;
use crate::openai::chat::{ChatChunk, ChatCompletion, ChatRequest};
use crate::openai::completion::Completion;
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
    /// Whether this is the first outcome of an idempotency key, given again: nothing was run or charged for it.
    pub replayed: bool,
    /// What the caller may still ask for.
    pub rate: Option<RateLimits>,
}

/// An answer and what the server says beside it; reads like the answer itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// The answer.
    pub body: T,
    /// What was said beside it.
    pub meta: ReplyMeta,
}

impl<T> Reply<T> {
    /// An answer with nothing said beside it.
    pub fn of(body: T) -> Self {
        Self {
            body,
            meta: ReplyMeta::default(),
        }
    }
}

impl<T> Deref for Reply<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.body
    }
}

/// A streamed answer. It has ended well only if the stream ends without an error: one that was cut ends in
/// [`ErrorCode::StreamCut`](crate::error::ErrorCode::StreamCut), never in a short answer. Dropping it cancels the job,
/// unless the job was to go on by itself.
pub struct Streamed<T> {
    meta: ReplyMeta,
    items: BoxStream<'static, Result<T, ApiError>>,
}

/// A streamed chat completion.
pub type ChatStream = Streamed<ChatChunk>;

/// A streamed completion.
pub type CompletionStream = Streamed<Completion>;

impl<T> Streamed<T> {
    /// A stream of these items.
    pub fn new(meta: ReplyMeta, items: BoxStream<'static, Result<T, ApiError>>) -> Self {
        Self { meta, items }
    }

    /// What the server said beside it.
    pub fn meta(&self) -> &ReplyMeta {
        &self.meta
    }
}

impl<T> fmt::Debug for Streamed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed")
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl<T> Stream for Streamed<T> {
    type Item = Result<T, ApiError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}

/// What a caller may say beside a request, in headers over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// `Idempotency-Key`: a repeat with the same key and request within 24 hours gives the first outcome and is never
    /// charged again. 1 to 255 printable characters.
    pub idempotency_key: Option<String>,
    /// `x-resultity-ttl`: how long the job may take in all, if that is less than the network allows. Whole seconds. A stream that
    /// it ends is paid for as far as it came.
    pub ttl: Option<Duration>,
    /// `x-resultity-priority`.
    pub priority: Priority,
    /// `x-resultity-region`: where the node should be, as nodes say it: 1 to 32 of `A`–`Z`, `0`–`9`, `-`. Case does not count.
    pub region: Option<String>,
    /// `x-resultity-region-required`: whether it must be there. Else one elsewhere will do if none there is free.
    pub region_required: bool,
    /// `x-resultity-gpu`: words that the name of a GPU of the node must have, such as `rtx 4090`: 1 to 64 characters.
    pub gpu: Option<String>,
    /// `x-resultity-gpu-memory`: the least memory of that GPU, in GiB: 1 to 4096.
    pub gpu_memory_gib: Option<u32>,
    /// `x-resultity-subcloud`: the name of the Subcloud whose nodes alone may answer.
    pub subcloud: Option<String>,
}

impl CallOptions {
    /// Names the request, so that it can be repeated without harm.
    pub fn idempotent(key: impl Into<String>) -> Self {
        Self {
            idempotency_key: Some(key.into()),
            ..Self::default()
        }
    }

    /// Sets how long the job may take in all.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how urgent the job is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets where the node should be; one elsewhere will do if none there is free.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self.region_required = false;
        self
    }

    /// Sets where the node must be.
    #[must_use]
    pub fn only_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self.region_required = true;
        self
    }

    /// Sets words that the name of a GPU of the node must have.
    #[must_use]
    pub fn gpu(mut self, words: impl Into<String>) -> Self {
        self.gpu = Some(words.into());
        self
    }

    /// Sets the least memory of that GPU: GiB.
    #[must_use]
    pub const fn gpu_memory(mut self, gib: u32) -> Self {
        self.gpu_memory_gib = Some(gib);
        self
    }

    /// Addresses the job to the nodes of the Subcloud with this name.
    #[must_use]
    pub fn subcloud(mut self, name: impl Into<String>) -> Self {
        self.subcloud = Some(name.into());
        self
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

/// The whole Cloud API. A reference to it is one to each of its parts.
///
/// ```
/// use resultity_core::api::cloud::{ChatApi, CloudApi};
/// fn to_ask(api: &dyn CloudApi) -> &dyn ChatApi {
///     api
/// }
/// ```
pub trait CloudApi:
    ChatApi
    + ModelsApi
    + CompletionsApi
    + EmbeddingsApi
    + ComputeApi
    + ResponsesApi
    + JobsApi
    + UsageApi
    + FilesApi
    + BatchesApi
    + WebhooksApi
{
}

impl<T> CloudApi for T where
    T: ChatApi
        + ModelsApi
        + CompletionsApi
        + EmbeddingsApi
        + ComputeApi
        + ResponsesApi
        + JobsApi
        + UsageApi
        + FilesApi
        + BatchesApi
        + WebhooksApi
        + ?Sized
{
}
