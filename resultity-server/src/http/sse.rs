//! Streams as server-sent events, as OpenAI has them.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, ReadyChunks, StreamExt};
use resultity_core::api::cloud::ChatStream;
use resultity_core::error::ApiError;
use resultity_core::openai::chat::ChatChunk;
use tokio::time::timeout;

/// How often a comment keeps proxies awake while there is nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many chunks that are ready at once go into one write.
const BATCH: usize = 64;

/// The stream as a response. It ends with `[DONE]`, or with an error event.
pub(super) fn response(chunks: ChatStream) -> Response {
    let events = stream::unfold(Some(chunks.ready_chunks(BATCH)), next_events);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

type State = Option<ReadyChunks<ChatStream>>;

async fn next_events(state: State) -> Option<(Result<Bytes, std::convert::Infallible>, State)> {
    let mut chunks = state?;
    let Ok(batch) = timeout(KEEP_ALIVE, chunks.next()).await else {
        return Some((Ok(Bytes::from_static(b": keep-alive\n\n")), Some(chunks)));
    };
    let Some(batch) = batch else {
        return Some((Ok(Bytes::from_static(b"data: [DONE]\n\n")), None));
    };
    let mut text = Vec::with_capacity(256 * batch.len());
    for chunk in batch {
        if let Err(error) = write_event(&mut text, &chunk) {
            tracing::error!(%error, "a chunk could not be encoded");
            return Some((Ok(text.into()), None));
        }
        if chunk.is_err() {
            return Some((Ok(text.into()), None));
        }
    }
    Some((Ok(text.into()), Some(chunks)))
}

fn write_event(text: &mut Vec<u8>, chunk: &Result<ChatChunk, ApiError>) -> serde_json::Result<()> {
    text.extend_from_slice(b"data: ");
    match chunk {
        Ok(chunk) => serde_json::to_writer(&mut *text, chunk)?,
        Err(error) => serde_json::to_writer(&mut *text, &error.to_body())?,
    }
    text.extend_from_slice(b"\n\n");
    Ok(())
}
