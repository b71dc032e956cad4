//! What is answered at once: chat, completions, embeddings, containers.

use async_trait::async_trait;
use resultity_core::api::cloud::{ChatApi, ChatStream, CompletionStream, Reply};
use resultity_core::api::completions::CompletionsApi;
use resultity_core::api::compute::ComputeApi;
use resultity_core::api::embeddings::EmbeddingsApi;
use resultity_core::compute::{Compute, ComputeRequest};
use resultity_core::error::ApiError;
use resultity_core::openai::chat::{ChatCompletion, ChatRequest};
use resultity_core::openai::completion::{Completion, CompletionRequest};
use resultity_core::openai::embedding::{EmbeddingList, EmbeddingRequest};

use crate::cloud::CloudClient;
use crate::sse;

const CHAT: &[&str] = &["chat", "completions"];
const COMPLETIONS: &[&str] = &["completions"];
const EMBEDDINGS: &[&str] = &["embeddings"];
const COMPUTE: &[&str] = &["compute"];

#[async_trait]
impl ChatApi for CloudClient {
    async fn chat(&self, mut request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError> {
        request.stream = None;
        // OpenAI refuses it where nothing is streamed.
        request.stream_options = None;
        self.transport.json(self.ask(CHAT, &request)?).await
    }

    async fn chat_stream(&self, mut request: ChatRequest) -> Result<ChatStream, ApiError> {
        request.stream = Some(true);
        let call = self.ask(CHAT, &request)?.accepting_events();
        sse::items(self.transport.begin(call).await?, self.transport.idle_timeout)
    }
}

#[async_trait]
impl CompletionsApi for CloudClient {
    async fn complete(&self, mut request: CompletionRequest) -> Result<Reply<Completion>, ApiError> {
        request.stream = None;
        request.stream_options = None;
        self.transport.json(self.ask(COMPLETIONS, &request)?).await
    }

    async fn complete_stream(&self, mut request: CompletionRequest) -> Result<CompletionStream, ApiError> {
        request.stream = Some(true);
        let call = self.ask(COMPLETIONS, &request)?.accepting_events();
        sse::items(self.transport.begin(call).await?, self.transport.idle_timeout)
    }
}

#[async_trait]
impl EmbeddingsApi for CloudClient {
    async fn embed(&self, request: EmbeddingRequest) -> Result<Reply<EmbeddingList>, ApiError> {
        self.transport.json(self.ask(EMBEDDINGS, &request)?).await
    }
}

#[async_trait]
impl ComputeApi for CloudClient {
    async fn compute(&self, request: ComputeRequest) -> Result<Reply<Compute>, ApiError> {
        self.transport.json(self.ask(COMPUTE, &request)?).await
    }
}
