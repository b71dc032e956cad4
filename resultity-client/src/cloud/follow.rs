//! Streams of responses that resume by themselves.

use std::time::Duration;

use backon::ExponentialBackoff;
use futures::stream::{self, StreamExt};
use resultity_core::api::responses::{ResponseStream, ResponsesApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::openai::response::{ResponseEvent, ResponseRequest};

use crate::cloud::CloudClient;

impl CloudClient {
    /// The events of a response that is kept, from the first or behind the one with this number. A stream that is cut is
    /// opened again behind the last event that came, so that each event comes once; as often in a row as
    /// [`max_retries`](crate::ClientBuilder::max_retries) says, without an event in between.
    ///
    /// # Errors
    /// As of [`response_stream`](ResponsesApi::response_stream).
    pub async fn follow_response(
        &self,
        id: ResponseId,
        starting_after: Option<u64>,
    ) -> Result<ResponseStream, ApiError> {
        let stream = self.response_stream(id, starting_after).await?;
        Ok(self.resuming(stream, Some(id), starting_after))
    }

    /// Asks for a response in the background and gives the answer as it is made, by a stream that resumes by itself.
    /// Dropping it cancels nothing: the response can be asked for by its id.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use resultity_client::CloudClient;
    /// use resultity_client::core::openai::response::ResponseRequest;
    ///
    /// # async fn ask(client: CloudClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = ResponseRequest::new("smollm2-135m", "Tell me about the sea.");
    /// let mut events = client.create_and_follow_response(request).await?;
    /// while let Some(event) = events.try_next().await? {
    ///     print!("{}", event.text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`create_response_stream`](ResponsesApi::create_response_stream).
    pub async fn create_and_follow_response(&self, request: ResponseRequest) -> Result<ResponseStream, ApiError> {
        let stream = self.create_response_stream(request.background().store(true)).await?;
        Ok(self.resuming(stream, None, None))
    }

    fn resuming(&self, stream: ResponseStream, id: Option<ResponseId>, after: Option<u64>) -> ResponseStream {
        let meta = stream.meta().clone();
        let following = Following {
            client: self.clone(),
            stream: Some(stream),
            id,
            after,
            delays: self.transport.retry.delays(),
        };
        let events = stream::unfold(Some(following), |following| async {
            let mut following = following?;
            let event = following.next().await;
            let goes_on = event.as_ref().is_ok_and(|event| !event.is_last());
            Some((event, goes_on.then_some(following)))
        });
        ResponseStream::new(meta, events.boxed())
    }
}

struct Following {
    client: CloudClient,
    /// None while there is no connection.
    stream: Option<ResponseStream>,
    /// None before the first event of a response that was just asked for.
    id: Option<ResponseId>,
    /// The last event that came.
    after: Option<u64>,
    /// The pauses that are left before the next event.
    delays: ExponentialBackoff,
}

impl Following {
    async fn next(&mut self) -> Result<ResponseEvent, ApiError> {
        loop {
            match self.read().await {
                // Told already, before the stream was cut.
                Ok(event) if self.after.is_some_and(|after| event.sequence_number <= after) => {}
                Ok(event) => {
                    self.after = Some(event.sequence_number);
                    self.id = self.id.or_else(|| event.response().map(|response| response.id));
                    self.delays = self.client.transport.retry.delays();
                    return Ok(event);
                }
                Err(error) => {
                    self.stream = None;
                    let wait = self.pause(&error).ok_or(error)?;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<ResponseEvent, ApiError> {
        let stream = match (&mut self.stream, self.id) {
            (Some(stream), _) => stream,
            (none, Some(id)) => none.insert(self.client.response_stream(id, self.after).await?),
            (None, None) => return Err(cut()),
        };
        stream.next().await.unwrap_or_else(|| Err(cut()))
    }

    /// How long to wait before the stream is opened again; nothing if that is not worth it.
    fn pause(&mut self, error: &ApiError) -> Option<Duration> {
        let may_pass = matches!(
            error.code,
            ErrorCode::StreamCut | ErrorCode::Timeout | ErrorCode::Connection
        );
        if !may_pass || self.id.is_none() {
            return None;
        }
        let wait = self.delays.next()?;
        tracing::debug!(%error, after = ?self.after, wait_ms = wait.as_millis(), "resuming a stream");
        Some(wait)
    }
}

fn cut() -> ApiError {
    ApiError::new(ErrorCode::StreamCut, "the stream ended without its last event")
}
