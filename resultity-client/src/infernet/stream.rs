//! A job that is streamed: a line with its id, then bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use reqwest::Response;
use resultity_core::api::node::JobStream;
use resultity_core::infernet::{JobId, NodeError};

use super::answer::invalid;
use crate::sse;
use crate::transport::Fault;

/// The longest line that can be an id: bytes.
const LONGEST_ID: usize = 128;

/// Waits for the line and gives the rest as it comes.
pub(super) async fn read(response: Response, idle_timeout: Duration) -> Result<JobStream, NodeError> {
    let pieces = sse::content(response, idle_timeout).map(|piece| piece.map_err(NodeError::of_client));
    split(pieces.boxed()).await
}

/// The line may come in several pieces, and the first of the output together with its end.
async fn split(mut pieces: stream::BoxStream<'static, Result<Bytes, NodeError>>) -> Result<JobStream, NodeError> {
    let mut begun = BytesMut::new();
    let end = loop {
        if let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if begun.len() > LONGEST_ID {
            return Err(invalid("it does not begin with the id of a job", &begun));
        }
        match pieces.next().await {
            Some(piece) => begun.extend_from_slice(&piece?),
            None => return Err(invalid("it ended before the id of the job did", &begun)),
        }
    };
    let id = std::str::from_utf8(&begun[..end]).ok().map(str::trim);
    let id = id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(|c| c.is_ascii_graphic()));
    let Some(id) = id.map(JobId::from) else {
        return Err(invalid("it does not begin with the id of a job", &begun));
    };
    let rest = begun.split_off(end + 1).freeze();
    let first = (!rest.is_empty()).then_some(Ok(rest));
    let bytes = stream::iter(first).chain(pieces).boxed();
    Ok(JobStream { id, bytes })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use resultity_core::infernet::NodeErrorKind;
    use rstest::rstest;

    use super::*;

    /// Each character is a byte.
    fn bytes(text: &str) -> Bytes {
        let bytes = text.chars().map(|symbol| u8::try_from(u32::from(symbol)).unwrap());
        bytes.collect::<Vec<u8>>().into()
    }

    async fn streamed(pieces: &[&str]) -> Result<(String, Vec<Bytes>), NodeError> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(bytes(piece))).collect();
        let stream = split(stream::iter(pieces).boxed()).await?;
        Ok((stream.id.to_string(), stream.bytes.try_collect().await?))
    }

    #[rstest]
    #[case::alone(&["id-1\n", "a", "b"], &["a", "b"])]
    #[case::in_pieces(&["i", "d-", "1", "\n", "a"], &["a"])]
    #[case::glued(&["id-1\na\nb", "c"], &["a\nb", "c"])]
    #[case::no_text(&["id-1\r\n\u{ff}\u{fe}"], &["\u{ff}\u{fe}"])]
    #[case::nothing_more(&["id-1\n"], &[])]
    #[tokio::test]
    async fn the_first_line_is_the_id_however_it_comes(#[case] pieces: &[&str], #[case] rest: &[&str]) {
        let (id, got) = streamed(pieces).await.unwrap();
        assert_eq!(id, "id-1");
        assert_eq!(got, rest.iter().map(|text| bytes(text)).collect::<Vec<_>>());
    }

    #[rstest]
    #[case::nothing(&[])]
    #[case::no_end(&["id-1"])]
    #[case::empty_line(&["\n", "a"])]
    #[case::page(&["<html>\u{ff}\n"])]
    #[case::words(&["not an id\n"])]
    #[case::too_long(&["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\n"])]
    #[tokio::test]
    async fn what_does_not_begin_with_an_id_is_refused(#[case] pieces: &[&str]) {
        let error = streamed(pieces).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::InvalidAnswer);
    }
}
