//! Streamed answers: server-sent events, each an item of the stream.

use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStream, EventStreamError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Response;
use resultity_core::api::cloud::Streamed;
use resultity_core::api::status::StatusEvent;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::ChatChunk;
use resultity_core::openai::completion::Completion;
use resultity_core::openai::response::{EventBody, ResponseEvent};
use serde::de::DeserializeOwned;

use crate::error;
use crate::transport::reply_meta;

/// The longest event that is taken: bytes.
const LARGEST_EVENT: usize = 8 * 1024 * 1024;

/// Why there are no more bytes.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("silence")]
    Idle,
    #[error("an event is too long")]
    TooLong,
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
}

type Events = EventStream<BoxStream<'static, Result<Bytes, ReadError>>>;

/// What can be an item of a streamed answer.
pub(crate) trait Item: DeserializeOwned + Send + 'static {
    /// Whether `[DONE]` says that the stream has ended well; else one of its items does.
    const ENDS_WITH_DONE: bool = true;

    /// Reads an event's data; nothing where the item is of a kind that came after this version.
    fn read(data: &str) -> Result<Option<Self>, ApiError> {
        serde_json::from_str(data)
            .map(Some)
            .map_err(|why| match error::read_body(data.as_bytes()) {
                // An event has no status: an error without a code that we know is a fault of the server's.
                Some(body) => ApiError::from_body(500, body),
                None => error::invalid_answer(format_args!("an event that is not a chunk: {why}")).with_source(why),
            })
    }

    /// Whether the stream has ended well with it.
    fn is_last(&self) -> bool {
        false
    }
}

impl Item for ChatChunk {}

impl Item for Completion {}

/// It goes on for as long as the server does.
impl Item for StatusEvent {
    const ENDS_WITH_DONE: bool = false;

    fn read(data: &str) -> Result<Option<Self>, ApiError> {
        match serde_json::from_str(data) {
            Ok(event) => Ok(Some(event)),
            Err(why) if is_unknown_kind(&why) => Ok(None),
            Err(why) => Err(error::invalid_answer(format_args!("an event of another shape: {why}")).with_source(why)),
        }
    }
}

impl Item for ResponseEvent {
    const ENDS_WITH_DONE: bool = false;

    fn read(data: &str) -> Result<Option<Self>, ApiError> {
        match serde_json::from_str::<Self>(data) {
            Ok(Self {
                body: EventBody::Error { code, message, param },
                ..
            }) => {
                let code = code.as_deref().and_then(ErrorCode::from_wire);
                let mut error = ApiError::new(code.unwrap_or(ErrorCode::Internal), message);
                error.param = param;
                Err(error)
            }
            Ok(event) => Ok(Some(event)),
            Err(why) if is_unknown_kind(&why) => Ok(None),
            Err(why) => match error::read_body(data.as_bytes()) {
                Some(body) => Err(ApiError::from_body(500, body)),
                None => Err(error::invalid_answer(format_args!("an event of another shape: {why}")).with_source(why)),
            },
        }
    }

    fn is_last(&self) -> bool {
        Self::is_last(self)
    }
}

/// Whether an event is only newer than this version. serde has no other way to tell; a test watches its words.
fn is_unknown_kind(why: &serde_json::Error) -> bool {
    why.to_string().starts_with("unknown variant")
}

/// The items of a streamed answer. They end well only after `[DONE]`, or the last item where the items say which one that
/// is; the first error is the last item. Dropping it closes the connection, which is how a server learns that nobody
/// listens any more.
pub(crate) fn items<T: Item>(response: Response, idle_timeout: Duration) -> Result<Streamed<T>, ApiError> {
    let meta = reply_meta(response.headers());
    let kind = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream")) {
        let kind = kind.unwrap_or("nothing");
        let mut error = error::invalid_answer(format_args!("a stream was asked for, its content type is {kind}"));
        error.request_id = meta.request_id;
        return Err(error);
    }
    let request_id = meta.request_id.clone();
    let mut size = EventSize::default();
    let bytes = pieces(response, idle_timeout).map(move |piece| {
        piece.and_then(|piece| {
            if size.add(&piece) {
                Ok(piece)
            } else {
                Err(ReadError::TooLong)
            }
        })
    });
    let events = EventStream::new(bytes.boxed());
    let items = stream::unfold(Some(Box::pin(events)), move |events| {
        let request_id = request_id.clone();
        async move {
            let mut events = events?;
            match next_item::<T>(&mut events, idle_timeout).await? {
                Ok(item) if item.is_last() => Some((Ok(item), None)),
                Ok(item) => Some((Ok(item), Some(events))),
                Err(mut error) => {
                    error.request_id = request_id;
                    Some((Err(error), None))
                }
            }
        }
    });
    Ok(Streamed::new(meta, items.boxed()))
}

/// The body of an answer as it comes, whatever it is; the first error is the last piece.
pub(crate) fn content(response: Response, idle_timeout: Duration) -> Streamed<Bytes> {
    let meta = reply_meta(response.headers());
    let request_id = meta.request_id.clone();
    let pieces = pieces(response, idle_timeout).map(move |piece| {
        piece.map_err(|why| {
            let mut error = read_error(why, idle_timeout);
            error.request_id.clone_from(&request_id);
            error
        })
    });
    Streamed::new(meta, pieces.boxed())
}

/// The bytes of an answer, until silence lasts too long. Comment lines count as life.
fn pieces(response: Response, idle_timeout: Duration) -> BoxStream<'static, Result<Bytes, ReadError>> {
    stream::unfold(Some(response), move |response| async move {
        let mut response = response?;
        match tokio::time::timeout(idle_timeout, response.chunk()).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(piece))) => Some((Ok(piece), Some(response))),
            Ok(Err(error)) => Some((Err(ReadError::Broken(error)), None)),
            Err(_) => Some((Err(ReadError::Idle), None)),
        }
    })
    .boxed()
}

/// Nothing when the stream has ended well.
async fn next_item<T: Item>(
    events: &mut std::pin::Pin<Box<Events>>,
    idle_timeout: Duration,
) -> Option<Result<T, ApiError>> {
    loop {
        let item = match events.next().await {
            Some(Ok(event)) if event.data.trim() == "[DONE]" && T::ENDS_WITH_DONE => return None,
            Some(Ok(event)) if event.data.trim() == "[DONE]" => Err(cut()),
            Some(Ok(event)) => T::read(&event.data),
            None => Err(cut()),
            Some(Err(EventStreamError::Transport(why))) => Err(read_error(why, idle_timeout)),
            Some(Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_))) => {
                Err(error::invalid_answer("a stream that is not one of server-sent events"))
            }
        };
        if let Some(item) = item.transpose() {
            return Some(item);
        }
    }
}

fn cut() -> ApiError {
    ApiError::new(ErrorCode::StreamCut, "the stream was cut: the answer is not complete")
}

fn read_error(why: ReadError, idle_timeout: Duration) -> ApiError {
    match why {
        ReadError::Idle => {
            let message = format!("the stream fell silent for {}", error::shown(idle_timeout));
            ApiError::new(ErrorCode::Timeout, message)
        }
        ReadError::Broken(cause) => cut().with_source(cause.without_url()),
        ReadError::TooLong => error::invalid_answer(format_args!("an event is longer than {LARGEST_EVENT} bytes")),
    }
}

/// Counts the bytes since the last blank line, so that an event without an end cannot fill the memory.
#[derive(Debug, Default)]
struct EventSize {
    bytes: usize,
    at_line_start: bool,
}

impl EventSize {
    /// Whether the event is still short enough.
    fn add(&mut self, piece: &[u8]) -> bool {
        for &byte in piece {
            self.bytes += 1;
            if byte == b'\n' {
                if self.at_line_start {
                    self.bytes = 0;
                }
                self.at_line_start = true;
            } else if byte != b'\r' {
                self.at_line_start = false;
            }
        }
        self.bytes <= LARGEST_EVENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_chunk_an_error_or_invalid() {
        let chunk = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}"#;
        assert_eq!(ChatChunk::read(chunk).unwrap().unwrap().text(), "hi");
        let failed =
            ChatChunk::read(r#"{"error":{"message":"why","type":"server_error","param":null,"code":"node_failed"}}"#);
        assert_eq!(failed.unwrap_err().code, ErrorCode::NodeFailed);
        let unknown = ChatChunk::read(r#"{"error":{"message":"why"}}"#);
        assert_eq!(unknown.unwrap_err().code, ErrorCode::Internal);
        for junk in ["", "{", "{}", "[DONE", "null"] {
            assert_eq!(
                ChatChunk::read(junk).unwrap_err().code,
                ErrorCode::InvalidResponse,
                "{junk}"
            );
        }
    }

    #[test]
    fn an_event_of_a_response_may_be_newer_than_this_version() {
        let read = ResponseEvent::read;
        let delta = r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"hi","logprobs":[],"sequence_number":4}"#;
        assert_eq!(read(delta).unwrap().unwrap().text(), "hi");
        assert_eq!(read(r#"{"type":"response.sings","sequence_number":4}"#).unwrap(), None);
        let broken = read(r#"{"type":"response.output_text.delta","sequence_number":4}"#);
        assert_eq!(broken.unwrap_err().code, ErrorCode::InvalidResponse);
        let error = read(
            r#"{"type":"error","code":"deadline_exceeded","message":"too late","param":null,"sequence_number":0}"#,
        );
        assert_eq!(error.unwrap_err().code, ErrorCode::DeadlineExceeded);
    }

    #[test]
    fn only_an_event_without_an_end_is_too_long() {
        let mut size = EventSize::default();
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..20 {
            assert!(size.add(&line));
            assert!(size.add(b"\r\n"));
            assert!(size.add(b"\r\n"));
        }
        for _ in 0..8 {
            assert!(size.add(&line));
        }
        assert!(!size.add(b"\n"));
    }
}
