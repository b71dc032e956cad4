//! Streams as server-sent events, as OpenAI has them.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, ReadyChunks, StreamExt};
use resultity_core::api::cloud::Streamed;
use resultity_core::api::status::StatusEvent;
use resultity_core::error::ApiError;
use resultity_core::openai::chat::ChatChunk;
use resultity_core::openai::completion::Completion;
use resultity_core::openai::response::{EventBody, ResponseEvent};
use serde::Serialize;
use tokio::time::timeout;

/// How often a comment keeps proxies awake while there is nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many chunks that are ready at once go into one write.
const BATCH: usize = 64;

/// What can be an event of a stream.
pub(super) trait Event: Serialize + Send + 'static {
    /// What a stream that ended well ends with.
    const DONE: &'static [u8] = b"data: [DONE]\n\n";

    /// The event's name, where events have names.
    fn name(&self) -> Option<&'static str> {
        None
    }

    /// Writes the event that stands for an error: OpenAI's error object.
    fn write_error(text: &mut Vec<u8>, error: &ApiError) -> serde_json::Result<()> {
        write_data(text, &error.to_body())
    }
}

impl Event for ChatChunk {}

impl Event for Completion {}

impl Event for StatusEvent {
    const DONE: &'static [u8] = b"";

    fn name(&self) -> Option<&'static str> {
        Some(self.kind())
    }
}

impl Event for ResponseEvent {
    /// The last event says that it is the last one.
    const DONE: &'static [u8] = b"";

    fn name(&self) -> Option<&'static str> {
        Some(self.kind())
    }

    fn write_error(text: &mut Vec<u8>, error: &ApiError) -> serde_json::Result<()> {
        let event = Self {
            body: EventBody::Error {
                code: Some(error.code.as_str().to_owned()),
                message: error.message.clone(),
                param: error.param.clone(),
            },
            sequence_number: 0,
        };
        write_event(text, &event)
    }
}

/// The stream as a response. It ends with `[DONE]` where OpenAI's does, or with an error event.
pub(super) fn response<T: Event>(items: Streamed<T>) -> Response {
    let events = stream::unfold(Some(items.ready_chunks(BATCH)), next_events);
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

type State<T> = Option<ReadyChunks<Streamed<T>>>;

async fn next_events<T: Event>(state: State<T>) -> Option<(Result<Bytes, std::convert::Infallible>, State<T>)> {
    let mut items = state?;
    let Ok(batch) = timeout(KEEP_ALIVE, items.next()).await else {
        return Some((Ok(Bytes::from_static(b": keep-alive\n\n")), Some(items)));
    };
    let Some(batch) = batch else {
        return (!T::DONE.is_empty()).then(|| (Ok(Bytes::from_static(T::DONE)), None));
    };
    let mut text = Vec::with_capacity(256 * batch.len());
    for item in batch {
        let written = match &item {
            Ok(event) => write_event(&mut text, event),
            Err(error) => T::write_error(&mut text, error),
        };
        if let Err(error) = written {
            tracing::error!(%error, "an event could not be encoded");
            return Some((Ok(text.into()), None));
        }
        if item.is_err() {
            return Some((Ok(text.into()), None));
        }
    }
    Some((Ok(text.into()), Some(items)))
}

fn write_event<T: Event>(text: &mut Vec<u8>, event: &T) -> serde_json::Result<()> {
    if let Some(name) = event.name() {
        text.extend_from_slice(b"event: ");
        text.extend_from_slice(name.as_bytes());
        text.push(b'\n');
    }
    write_data(text, event)
}

fn write_data<T: Serialize>(text: &mut Vec<u8>, data: &T) -> serde_json::Result<()> {
    text.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *text, data)?;
    text.extend_from_slice(b"\n\n");
    Ok(())
}
