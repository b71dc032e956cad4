//! The body of a request: read within bounds, or got rid of.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Body;
use resultity_core::infernet::{NodeError, NodeErrorKind};
use tokio::time::timeout;

use super::answer;
use crate::infernet::memory::{Memory, Share};

/// How long a body may take to arrive, however steadily it comes.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The most bytes of an unread body that are read for nothing, so that the connection can go on.
const MAX_REST: u64 = 64 * 1024;

/// How long such a rest may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait for room in memory: other bodies are there for moments.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);

/// The most that is set aside for a body before it comes.
const MAX_SET_ASIDE: usize = 1024 * 1024;

/// A body that nobody has read, or that was read to its end.
pub(super) struct Unread<'a, B> {
    headers: &'a HeaderMap,
    body: B,
    memory: &'a Memory,
    share: Share,
}

impl<'a, B> Unread<'a, B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(headers: &'a HeaderMap, body: B, memory: &'a Memory) -> Self {
        Self {
            headers,
            body,
            memory,
            share: Share::default(),
        }
    }

    /// Reads it whole, if it says that it is JSON.
    pub(super) async fn read_json(&mut self, max_bytes: usize) -> Result<Bytes, NodeError> {
        let kind = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !kind.is_some_and(is_json) {
            let message = "Content-Type: expected application/json";
            return Err(NodeError::invalid(message));
        }
        self.read(max_bytes).await
    }

    /// Reads it whole, whatever it says that it is.
    pub(super) async fn read(&mut self, max_bytes: usize) -> Result<Bytes, NodeError> {
        let is_plain = self
            .headers
            .get(CONTENT_ENCODING)
            .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if !is_plain {
            return Err(NodeError::invalid("Content-Encoding: expected none"));
        }
        let declared = self
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > max_bytes as u64) {
            return Err(too_large(max_bytes));
        }
        let read = timeout(TIMEOUT, self.collect(max_bytes)).await;
        read.unwrap_or_else(|_| {
            let message = "The body took too long to arrive";
            Err(NodeError::new(NodeErrorKind::Slow, message))
        })
    }

    async fn collect(&mut self, max_bytes: usize) -> Result<Bytes, NodeError> {
        let broken = |_| NodeError::invalid("The body ended before it was complete");
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let Ok(piece) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            let length = first.len() + all.len() + piece.len();
            if length > max_bytes {
                return Err(too_large(max_bytes));
            }
            // As it comes: whoever only announces much holds nothing up.
            if !self.memory.cover_within(ROOM_PATIENCE, &mut self.share, length).await {
                return Err(answer::crowded());
            }
            // Most bodies come in one piece, which needs no copy.
            if first.is_empty() && all.is_empty() {
                first = piece;
                continue;
            }
            if all.is_empty() {
                let rest = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
                all.reserve(first.len() + piece.len() + rest.min(MAX_SET_ASIDE));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&piece);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }

    /// Reads a small rest, so that the connection can go on. False: it has to end.
    pub(super) async fn finish(mut self) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        // Whoever waits to be asked for the body is not asked.
        let waits = self.headers.contains_key(EXPECT);
        if waits || self.body.size_hint().lower() > MAX_REST {
            return false;
        }
        matches!(timeout(PATIENCE, self.collect(MAX_REST as usize)).await, Ok(Ok(_)))
    }
}

fn too_large(max_bytes: usize) -> NodeError {
    let message = format!("The body is larger than {max_bytes} bytes");
    NodeError::new(NodeErrorKind::TooLarge, message)
}

/// As the original's library sees it: `application/json`, or `application/` something `+json`.
fn is_json(kind: &[u8]) -> bool {
    let kind = std::str::from_utf8(kind).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let Some((group, kind)) = kind.split_once('/') else {
        return false;
    };
    let is_of_json = |suffix: &[u8]| suffix.eq_ignore_ascii_case(b"+json");
    group.eq_ignore_ascii_case("application")
        && (kind.eq_ignore_ascii_case("json") || kind.as_bytes().last_chunk::<5>().is_some_and(|end| is_of_json(end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use rstest::rstest;
    use std::convert::Infallible;
    use std::sync::LazyLock;

    fn unread<B: Body<Data = Bytes> + Unpin>(headers: &HeaderMap, body: B) -> Unread<'_, B> {
        static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(1 << 20));
        Unread::new(headers, body, &MEMORY)
    }

    fn pieces(pieces: &'static [&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        StreamBody::new(futures::stream::iter(frames))
    }

    #[rstest]
    #[case("application/json", true)]
    #[case("Application/JSON; charset=utf-8", true)]
    #[case("application/problem+json", true)]
    #[case("text/plain", false)]
    #[case("text/json", false)]
    #[case("application/jsonx", false)]
    #[case("application/json, text/plain", false)]
    #[case("json", false)]
    #[case("", false)]
    #[tokio::test]
    async fn only_json_is_json(#[case] kind: &str, #[case] expected: bool) {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())]);
        let read = unread(&headers, pieces(&["{}"])).read_json(10).await;
        assert_eq!(read.is_ok(), expected);
    }

    #[rstest]
    #[case(&[], Some(""))]
    #[case(&["12345678"], Some("12345678"))]
    #[case(&["123", "", "45", "678"], Some("12345678"))]
    #[case(&["123456789"], None)]
    #[case(&["1234", "5678", "9"], None)]
    #[tokio::test]
    async fn a_body_is_read_whole_up_to_the_limit(#[case] sent: &'static [&str], #[case] expected: Option<&str>) {
        let headers = HeaderMap::new();
        match (unread(&headers, pieces(sent)).read(8).await, expected) {
            (Ok(read), Some(expected)) => assert_eq!(read, expected),
            (Err(error), None) => assert_eq!(error.kind(), NodeErrorKind::TooLarge),
            (read, _) => panic!("{read:?}"),
        }
    }

    #[tokio::test]
    async fn a_declared_length_over_the_limit_is_not_waited_for() {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(9))]);
        let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let error = unread(&headers, body).read(8).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_after_a_minute() {
        let begun = tokio::time::Instant::now();
        let trickle = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        let headers = HeaderMap::new();
        let body = StreamBody::new(Box::pin(trickle));
        let error = unread(&headers, body).read(1000).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (NodeErrorKind::Slow, TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_read_only_if_it_is_small_and_comes() {
        let headers = HeaderMap::new();
        assert!(unread(&headers, pieces(&["a", "b"])).finish().await);
        let large = Full::new(Bytes::from(vec![0; MAX_REST as usize + 1]));
        assert!(!unread(&headers, large).finish().await);
        let stuck = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert!(!unread(&headers, stuck).finish().await);
        let headers = HeaderMap::from_iter([(EXPECT, HeaderValue::from_static("100-continue"))]);
        assert!(!unread(&headers, pieces(&["a"])).finish().await);
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_take_bounded_memory() {
        let (headers, memory) = (HeaderMap::new(), Memory::new(100_000));
        let large = || Full::new(Bytes::from(vec![b' '; 60_000]));
        let mut first = Unread::new(&headers, large(), &memory);
        first.read(100_000).await.unwrap();
        let error = Unread::new(&headers, large(), &memory).read(100_000).await;
        assert_eq!(error.unwrap_err().kind(), NodeErrorKind::Busy);
        // Small ones always find room.
        let mut small = Unread::new(&headers, pieces(&["{}"]), &memory);
        small.read(100_000).await.unwrap();
        first.finish().await;
        Unread::new(&headers, large(), &memory).read(100_000).await.unwrap();
    }
}
