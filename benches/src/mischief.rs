//! What goes wrong with engines: now and then the mock engine does one of these instead of answering.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::proxy::Luck;

/// How long an engine hangs: longer than a node of the soak waits for it.
const HANGS: Duration = Duration::from_secs(5);

/// What is wrong with an answer, so that it can be seen to be wrong: whoever answers a good lie is another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Says that it failed.
    Fails,
    /// Answers what is no JSON.
    Garbage,
    /// Ends the connection in the middle of the answer.
    Cut,
    /// Answers with half a character at the end of a text.
    HalfCharacter,
    /// Says nothing for a while, then ends the connection.
    Hangs,
}

impl Mischief {
    /// What goes wrong this time, if anything does: so many times in 10 000.
    pub(crate) fn draw(luck: &mut Luck, times: u32) -> Option<Self> {
        let all = [Self::Fails, Self::Garbage, Self::Cut, Self::HalfCharacter, Self::Hangs];
        luck.happens(times).then(|| all[luck.up_to(4) as usize])
    }

    /// Does it. The connection is of no use afterwards.
    pub(crate) async fn commit(self, stream: &mut TcpStream, is_stream: bool) -> io::Result<()> {
        const HALF: &[u8] =
            b"{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"caf\xc3\"}}]}";
        let body: &[u8] = match self {
            Self::Fails => {
                let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                return stream.write_all(answer).await;
            }
            Self::Hangs => {
                tokio::time::sleep(HANGS).await;
                return Ok(());
            }
            Self::Garbage => b"<html>a page of a proxy</html>",
            Self::Cut => b"{\"id\":\"x\",\"choices\":[{\"index\":0,\"mess",
            Self::HalfCharacter => HALF,
        };
        let kind = if is_stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let more = if self == Self::Cut { 1000 } else { 0 };
        let (before, after): (&[u8], &[u8]) = if is_stream { (b"data: ", b"\n\n") } else { (b"", b"") };
        let length = before.len() + body.len() + after.len() + more;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(before).await?;
        stream.write_all(body).await?;
        stream.write_all(after).await
    }
}
