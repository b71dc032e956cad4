//! The socket under a link: reading texts, writing what is queued, saying goodbye.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a write to a node may take before it counts as gone.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// WebSocket close codes that are used here (RFC 6455, and one of our own).
pub(super) mod close {
    pub(in crate::link) const GOING_AWAY: u16 = 1001;
    pub(in crate::link) const MALFORMED: u16 = 1007;
    pub(in crate::link) const POLICY: u16 = 1008;
    pub(in crate::link) const REPLACED: u16 = 4000;
}

pub(super) fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code,
        reason: Utf8Bytes::from(reason),
    }
}

pub(super) async fn next_text(stream: &mut SplitStream<WebSocket>) -> Option<Utf8Bytes> {
    loop {
        match stream.next().await? {
            Ok(Message::Text(text)) => return Some(text),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            // Binary frames are no part of the protocol; errors and closes end the link.
            Ok(Message::Binary(_) | Message::Close(_)) | Err(_) => return None,
        }
    }
}

/// Marks the text of a queue entry that is no frame but the goodbye.
pub(super) const CLOSE: char = '\u{0}';

/// Writes what is queued, all that is there with one flush. Ends when the queue closes: the link was replaced.
pub(super) async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut frames: mpsc::Receiver<String>,
    ended: CancellationToken,
) {
    const BATCH: usize = 256;
    let mut batch = Vec::with_capacity(BATCH);
    let mut goodbye = close_frame(close::REPLACED, "another link of this node replaced this one");
    loop {
        let count = tokio::select! {
            biased;
            count = frames.recv_many(&mut batch, BATCH) => count,
            () = ended.cancelled() => 0,
        };
        if count == 0 {
            break;
        }
        let mut is_last = false;
        let written = timeout(WRITE_TIMEOUT, async {
            for text in batch.drain(..) {
                if let Some(reason) = text.strip_prefix(CLOSE) {
                    let (code, reason) = reason.split_once(' ').unwrap_or((reason, ""));
                    let reason: String = reason.chars().take(100).collect();
                    goodbye = close_frame(code.parse().unwrap_or(close::GOING_AWAY), &reason);
                    is_last = true;
                } else {
                    sink.feed(Message::Text(text.into())).await?;
                }
            }
            sink.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
        if is_last {
            break;
        }
    }
    let _ = timeout(WRITE_TIMEOUT, sink.send(Message::Close(Some(goodbye)))).await;
}
