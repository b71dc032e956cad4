//! A streamed answer: server-sent events, each a chunk of a chat completion, `[DONE]` at the end.

use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStream, EventStreamError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Response;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::ChatChunk;

use crate::error;

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

/// The chunks of an answer. They end well only after `[DONE]`; the first error is the last item. Dropping it closes the
/// connection, which is how a server learns that nobody listens any more.
pub(crate) fn chunks(response: Response, idle_timeout: Duration) -> BoxStream<'static, Result<ChatChunk, ApiError>> {
    let request_id = error::request_id(response.headers());
    let events = EventStream::new(bytes(response, idle_timeout));
    stream::unfold(Some(Box::pin(events)), move |events| {
        let request_id = request_id.clone();
        async move {
            let mut events = events?;
            match next_chunk(&mut events, idle_timeout).await? {
                Ok(chunk) => Some((Ok(chunk), Some(events))),
                Err(mut error) => {
                    error.request_id = request_id;
                    Some((Err(error), None))
                }
            }
        }
    })
    .boxed()
}

/// The bytes of an answer, until silence lasts too long or an event does. Comment lines count as life.
fn bytes(response: Response, idle_timeout: Duration) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let mut size = EventSize::default();
    stream::unfold(response, move |mut response| async move {
        let piece = match tokio::time::timeout(idle_timeout, response.chunk()).await {
            Ok(Ok(None)) => return None,
            Ok(Ok(Some(piece))) => Ok(piece),
            Ok(Err(error)) => Err(ReadError::Broken(error)),
            Err(_) => Err(ReadError::Idle),
        };
        Some((piece, response))
    })
    .map(move |piece| {
        piece.and_then(|piece| {
            if size.add(&piece) {
                Ok(piece)
            } else {
                Err(ReadError::TooLong)
            }
        })
    })
    .boxed()
}

/// Nothing when the stream has ended well.
async fn next_chunk(
    events: &mut std::pin::Pin<Box<Events>>,
    idle_timeout: Duration,
) -> Option<Result<ChatChunk, ApiError>> {
    const CUT: &str = "the stream was cut: the answer is not complete";
    Some(match events.next().await {
        Some(Ok(event)) if event.data.trim() == "[DONE]" => return None,
        Some(Ok(event)) => read_event(&event.data),
        None => Err(ApiError::new(ErrorCode::StreamCut, CUT)),
        Some(Err(EventStreamError::Transport(ReadError::Idle))) => {
            let message = format!("the stream fell silent for {}", error::shown(idle_timeout));
            Err(ApiError::new(ErrorCode::Timeout, message))
        }
        Some(Err(EventStreamError::Transport(ReadError::Broken(cause)))) => {
            Err(ApiError::new(ErrorCode::StreamCut, CUT).with_source(cause.without_url()))
        }
        Some(Err(EventStreamError::Transport(ReadError::TooLong))) => Err(error::invalid_answer(format_args!(
            "an event is longer than {LARGEST_EVENT} bytes"
        ))),
        Some(Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_))) => {
            Err(error::invalid_answer("a stream that is not one of server-sent events"))
        }
    })
}

fn read_event(data: &str) -> Result<ChatChunk, ApiError> {
    serde_json::from_str(data).map_err(|why| match error::read_body(data.as_bytes()) {
        // An event has no status: an error without a code that we know is a fault of the server's.
        Some(body) => ApiError::from_body(500, body),
        None => error::invalid_answer(format_args!("an event that is not a chunk: {why}")).with_source(why),
    })
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
        assert_eq!(read_event(chunk).unwrap().text(), "hi");
        let failed =
            read_event(r#"{"error":{"message":"why","type":"server_error","param":null,"code":"node_failed"}}"#);
        assert_eq!(failed.unwrap_err().code, ErrorCode::NodeFailed);
        let unknown = read_event(r#"{"error":{"message":"why"}}"#);
        assert_eq!(unknown.unwrap_err().code, ErrorCode::Internal);
        for junk in ["", "{", "{}", "[DONE", "null"] {
            assert_eq!(read_event(junk).unwrap_err().code, ErrorCode::InvalidResponse, "{junk}");
        }
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
