//! Responses: answers that can be polled for, followed and gone on from.

use async_trait::async_trait;

use super::cloud::{Reply, Streamed};
use super::page::{Page, PageQuery};
use crate::error::ApiError;
use crate::id::ResponseId;
use crate::openai::response::{DeletedResponse, InputItem, Response, ResponseEvent, ResponseRequest};

/// The events of a response. Its last one says how it ended.
pub type ResponseStream = Streamed<ResponseEvent>;

/// `/v1/responses`.
#[async_trait]
pub trait ResponsesApi: Send + Sync {
    /// Asks, and waits for the whole answer, unless it is to be made in the background. `request.stream` is ignored.
    async fn create_response(&self, request: ResponseRequest) -> Result<Reply<Response>, ApiError>;

    /// Asks and gives the answer as it is made. `request.stream` is ignored. Dropping the stream cancels the response,
    /// unless it is made in the background.
    async fn create_response_stream(&self, request: ResponseRequest) -> Result<ResponseStream, ApiError>;

    /// A response that is kept, as it stands.
    async fn response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError>;

    /// The events of a response that is kept, from the first or behind the one with this number. They are the same, with
    /// the same numbers, as the first time.
    async fn response_stream(&self, id: ResponseId, starting_after: Option<u64>) -> Result<ResponseStream, ApiError>;

    /// Stops a response that is made in the background. One that has ended stays as it is.
    async fn cancel_response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError>;

    /// Forgets a response: what was asked and what was answered.
    async fn delete_response(&self, id: ResponseId) -> Result<Reply<DeletedResponse>, ApiError>;

    /// What was asked, with all that it went on from; newest first, if the query says nothing else.
    async fn response_input_items(&self, id: ResponseId, query: PageQuery) -> Result<Reply<Page<InputItem>>, ApiError>;
}
