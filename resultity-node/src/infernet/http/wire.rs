//! The socket under a connection: a client that doesn't read is given up, errors of HTTP itself get a body like all others,
//! and what is said last arrives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

use super::listen::MAX_HEAD;

/// How long a client may take no byte at all of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client may still send after the last answer, and for how long: if it comes to a closed door, the system takes the
/// answer away from it too.
const MAX_LINGER: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// A socket.
pub(super) struct Wire {
    socket: TcpStream,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is sent in place of an empty answer: the rest of it, and the length of what it stands for.
    instead: Option<(Bytes, usize)>,
}

impl Wire {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            stalled: None,
            instead: None,
        }
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn patiently<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.socket), context) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends the rest of what stands for something else; then says that it was sent.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((mut rest, length)) = self.instead.take() {
            if rest.is_empty() {
                return Poll::Ready(Ok(length));
            }
            let written = self.patiently(context, |socket, context| socket.poll_write(context, &rest));
            if let Poll::Ready(Ok(written)) = written {
                rest.advance(written);
            }
            self.instead = Some((rest, length));
            ready!(written)?;
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.instead.is_none() {
            let Some(better) = with_body(bytes) else {
                return this.patiently(context, |socket, context| socket.poll_write(context, bytes));
            };
            this.instead = Some((better, bytes.len()));
        }
        this.poll_instead(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [slice] = slices {
            return self.poll_write(context, slice);
        }
        let this = self.get_mut();
        this.patiently(context, |socket, context| socket.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().patiently(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().patiently(context, AsyncWrite::poll_shutdown)
    }
}

/// hyper answers what isn't HTTP by itself, without a body. Answers of the API always have one.
fn with_body(answer: &[u8]) -> Option<Bytes> {
    const EMPTY: &[u8] = b"content-length: 0\r\n";
    let status = match answer.get(..12)? {
        b"HTTP/1.1 400" => 400,
        b"HTTP/1.1 414" => 414,
        b"HTTP/1.1 431" => 431,
        _ => return None,
    };
    if !answer.ends_with(b"\r\n\r\n") || !answer.windows(EMPTY.len()).any(|part| part == EMPTY) {
        return None;
    }
    Some(match status {
        414 => error(
            status,
            "The address is longer than 65534 bytes: ask for fewer ids at once",
        ),
        431 => {
            let message = format!("The head of the request is larger than {MAX_HEAD} bytes: ask for fewer ids at once");
            error(status, &message)
        }
        _ => error(status, "The request is not HTTP/1.1"),
    })
}

/// A whole answer, the last one of its connection.
pub(super) fn error(status: u16, message: &str) -> Bytes {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let body = serde_json::json!({ "error": message }).to_string();
    let retry = if status == 503 { "retry-after: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{retry}connection: close\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// Sends this and nothing more.
pub(super) async fn say_and_close(mut socket: TcpStream, text: &[u8]) -> io::Result<()> {
    timeout(LINGER, socket.write_all(text)).await??;
    close(socket).await
}

/// Ends a connection so that the last answer arrives.
pub(super) async fn close(mut socket: TcpStream) -> io::Result<()> {
    timeout(LINGER, async {
        socket.shutdown().await?;
        let mut rest = [0; 4096];
        let mut taken = 0;
        while taken < MAX_LINGER {
            match socket.read(&mut rest).await? {
                0 => break,
                read => taken += read,
            }
        }
        Ok(())
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_without_a_body_get_one() {
        let empty = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let better = with_body(empty).unwrap();
        let text = std::str::from_utf8(&better).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(body.starts_with(r#"{"error":"The head of the request is larger than 98304 bytes"#));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            b"HTTP/1.1 40",
            b"",
        ] {
            assert_eq!(with_body(other), None);
        }
    }
}
