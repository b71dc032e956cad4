//! Responses.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::api::responses::{ResponseStream, ResponsesApi};
use resultity_core::error::ApiError;
use resultity_core::id::ResponseId;
use resultity_core::openai::response::{DeletedResponse, InputItem, Response, ResponseRequest};
use serde::Serialize;

use crate::cloud::CloudClient;
use crate::pages::{Entries, pages};
use crate::sse;

const RESPONSES: &[&str] = &["responses"];

/// How a response is retrieved as a stream.
#[derive(Serialize)]
struct Retrieval {
    stream: bool,
    starting_after: Option<u64>,
}

#[async_trait]
impl ResponsesApi for CloudClient {
    async fn create_response(&self, mut request: ResponseRequest) -> Result<Reply<Response>, ApiError> {
        request.stream = None;
        request.stream_options = None;
        self.transport.json(self.ask(RESPONSES, &request)?).await
    }

    async fn create_response_stream(&self, mut request: ResponseRequest) -> Result<ResponseStream, ApiError> {
        request.stream = Some(true);
        let call = self.ask(RESPONSES, &request)?.accepting_events();
        sse::items(self.transport.begin(call).await?, self.transport.idle_timeout)
    }

    async fn response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError> {
        let call = self.transport.get(&["responses", &id.to_string()]);
        self.transport.json(call).await
    }

    async fn response_stream(&self, id: ResponseId, starting_after: Option<u64>) -> Result<ResponseStream, ApiError> {
        let retrieval = Retrieval {
            stream: true,
            starting_after,
        };
        let call = self.transport.get(&["responses", &id.to_string()]);
        let call = call.with_query(&retrieval)?.accepting_events();
        sse::items(self.transport.begin(call).await?, self.transport.idle_timeout)
    }

    async fn cancel_response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError> {
        let call = self.transport.post_nothing(&["responses", &id.to_string(), "cancel"]);
        self.transport.json(call.repeatable()).await
    }

    async fn delete_response(&self, id: ResponseId) -> Result<Reply<DeletedResponse>, ApiError> {
        let call = self.transport.delete(&["responses", &id.to_string()]);
        self.transport.json(call).await
    }

    async fn response_input_items(&self, id: ResponseId, query: PageQuery) -> Result<Reply<Page<InputItem>>, ApiError> {
        let call = self.transport.get(&["responses", &id.to_string(), "input_items"]);
        self.transport.json(call.with_query(&query)?).await
    }
}

impl CloudClient {
    /// What was asked for a response, over all pages.
    pub fn response_input_items_stream(&self, id: ResponseId, query: PageQuery) -> Entries<InputItem> {
        let client = self.clone();
        pages(query.after.clone(), move |after| {
            let (client, query) = (client.clone(), PageQuery { after, ..query.clone() });
            async move { client.response_input_items(id, query).await }
        })
    }
}
