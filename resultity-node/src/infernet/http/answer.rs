//! Answers: the one place where values and errors become a status, headers and a body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use resultity_core::infernet::{NodeError, NodeErrorKind};
use serde::Serialize;

use super::limits::Left;
use super::stream::JobBody;
use crate::infernet::memory::{Memory, Share};

/// An answer on its way out.
pub(super) type Answer = Response<AnswerBody>;

/// How long to wait for room in memory.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of an answer.
pub(super) enum AnswerBody {
    /// It is there already. Empty: it was given out.
    Whole(Bytes),
    /// A job's bytes, as they come.
    Stream(JobBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                let body = std::mem::take(body);
                Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))))
            }
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// 200 with this as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Answer, NodeError> {
    match serde_json::to_vec(value) {
        Ok(text) => Ok(json_text(text)),
        Err(error) => Err(NodeError::new(NodeErrorKind::Internal, error.to_string())),
    }
}

/// 200 with this text, which is JSON.
pub(super) fn json_text(text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(text.into()));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// Counts the memory that an answer takes until it is sent, however slowly that is read.
pub(super) async fn hold(answered: Result<Answer, NodeError>, memory: &Memory) -> Result<Answer, NodeError> {
    let mut answer = answered?;
    if let AnswerBody::Whole(body) = answer.body_mut() {
        let mut share = Share::default();
        if !memory.cover_within(ROOM_PATIENCE, &mut share, body.len()).await {
            return Err(crowded());
        }
        if share.is_counted() {
            let counted = Counted {
                bytes: std::mem::take(body),
                _share: share,
            };
            *body = Bytes::from_owner(counted);
        }
    }
    Ok(answer)
}

/// Bytes that are counted for as long as they are anywhere: the connection takes them out of a body at once.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// 503: there is no room for so much.
pub(super) fn crowded() -> NodeError {
    let message = "The node holds too many large requests and results right now";
    NodeError::new(NodeErrorKind::Busy, message).retry_after(Duration::from_secs(1))
}

/// 200 with a job's bytes. What they are is the container's affair.
pub(super) fn stream(body: JobBody) -> Answer {
    let mut answer = Response::new(AnswerBody::Stream(body));
    let kind = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An error, with the status of its kind.
pub(super) fn error(error: &NodeError) -> Answer {
    let status = error
        .kind()
        .status()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%error, "a request failed");
        r#"{"error":"The node failed"}"#.into()
    } else {
        // Text and values that are JSON already.
        serde_json::to_vec(&error.to_response()).unwrap_or_default()
    };
    let mut answer = json_text(text);
    *answer.status_mut() = status;
    let is_for_later = matches!(error.kind(), NodeErrorKind::Busy | NodeErrorKind::RateLimited);
    let after = error.when_to_retry().or(is_for_later.then_some(Duration::ZERO));
    if let Some(after) = after {
        let seconds = whole_seconds(after).max(1);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// 404.
pub(super) fn not_found() -> Answer {
    error(&NodeError::new(NodeErrorKind::NotFound, "Not found"))
}

/// 405 with the methods that there are.
pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = error(&NodeError::new(NodeErrorKind::Refused, "Method not allowed"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Says what the caller may still ask for, in the headers of the original node.
pub(super) fn describe_limit(answer: &mut Answer, left: &Left) {
    let headers = answer.headers_mut();
    let mut say = |name, value: u64| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    say("ratelimit-limit", left.limit);
    say("ratelimit-remaining", left.remaining);
    say("ratelimit-reset", whole_seconds(left.reset));
}

/// Rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn large_answers_take_bounded_memory_until_they_are_sent() {
        let memory = Memory::new(100_000);
        let large = || hold(Ok(json_text(vec![b' '; 60_000])), &memory);
        let mut sending = large().await.unwrap();
        let sending = sending.body_mut().frame().await;
        assert_eq!(large().await.err().map(|error| error.kind()), Some(NodeErrorKind::Busy));
        assert!(hold(Ok(json_text("{}")), &memory).await.is_ok(), "it is small");
        drop(sending);
        assert!(large().await.is_ok());
    }
}
