//! The client side of HTTP/1.1, as lean as a load generator needs it: one request at a time on a kept connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest head of an answer that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An answer that could not be had; the connection is of no use after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The socket failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The other side closed before the answer was whole.
    #[error("the connection was closed before the answer was whole")]
    Closed,
    /// Not HTTP/1.1 as this client knows it.
    #[error("no HTTP/1.1 answer: {0}")]
    Malformed(&'static str),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What was read; everything before `start` is done with.
    buffer: Vec<u8>,
    start: usize,
    rest: Rest,
    keep_alive: bool,
}

/// What is still to come of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Length(usize),
    /// Before the size of a chunk.
    Size,
    /// In a chunk; its line end comes after these bytes.
    Chunk(usize),
    /// Before the line end of a chunk.
    LineEnd,
    /// Behind the last chunk, before the empty line.
    Trailers,
    Close,
}

impl Connection {
    /// Connects, without Nagle's delay.
    pub async fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(32 * 1024),
            start: 0,
            rest: Rest::Nothing,
            keep_alive: true,
        })
    }

    /// Whether another request can be sent.
    pub fn is_reusable(&self) -> bool {
        self.keep_alive && self.rest == Rest::Nothing
    }

    /// Sends a whole request and reads the head of the answer; gives its status.
    pub async fn send(&mut self, request: &[u8]) -> Result<u16, HttpError> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(length) = end_of_head(&self.buffer[self.start..]) {
                let head = &self.buffer[self.start..self.start + length];
                let head = std::str::from_utf8(head).map_err(|_| HttpError::Malformed("the head is not UTF-8"))?;
                let head = Head::parse(head)?;
                (self.rest, self.keep_alive) = (head.rest, head.keep_alive);
                self.start += length;
                return Ok(head.status);
            }
            if self.buffer.len() - self.start > MAX_HEAD_BYTES {
                return Err(HttpError::Malformed("the head is too long"));
            }
            self.fill().await?;
        }
    }

    /// Adds what is there of the body to `into`, waiting only if nothing is; `false` once there is no more.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<bool, HttpError> {
        let before = into.len();
        loop {
            let wants_more = self.take(into)?;
            if into.len() > before {
                return Ok(true);
            }
            if !wants_more {
                return Ok(false);
            }
            match self.fill().await {
                Err(HttpError::Closed) if self.rest == Rest::Close => self.rest = Rest::Nothing,
                filled => filled?,
            }
        }
    }

    /// Reads the rest of the body into `into`.
    pub async fn read_all(&mut self, into: &mut Vec<u8>) -> Result<(), HttpError> {
        while self.read(into).await? {}
        Ok(())
    }

    /// Takes from the buffer what belongs to the body; `false` if the body is at its end.
    fn take(&mut self, into: &mut Vec<u8>) -> Result<bool, HttpError> {
        loop {
            let ready = &self.buffer[self.start..];
            match self.rest {
                Rest::Nothing => return Ok(false),
                Rest::Length(left) | Rest::Chunk(left) => {
                    let length = left.min(ready.len());
                    into.extend_from_slice(&ready[..length]);
                    self.start += length;
                    let (left, chunked) = (left - length, matches!(self.rest, Rest::Chunk(_)));
                    self.rest = match (left, chunked) {
                        (0, true) => Rest::LineEnd,
                        (0, false) => Rest::Nothing,
                        (_, true) => Rest::Chunk(left),
                        (_, false) => Rest::Length(left),
                    };
                    if left > 0 {
                        return Ok(true);
                    }
                }
                Rest::Close => {
                    into.extend_from_slice(ready);
                    self.start = self.buffer.len();
                    return Ok(true);
                }
                Rest::Size | Rest::LineEnd | Rest::Trailers => {
                    let Some(end) = ready.iter().position(|byte| *byte == b'\n') else {
                        return Ok(true);
                    };
                    let line = std::str::from_utf8(&ready[..end]).unwrap_or_default().trim_end();
                    self.rest = match self.rest {
                        Rest::Size => {
                            let digits = line.split(';').next().unwrap_or_default();
                            match usize::from_str_radix(digits, 16) {
                                Ok(0) => Rest::Trailers,
                                Ok(size) => Rest::Chunk(size),
                                Err(_) => return Err(HttpError::Malformed("no size of a chunk")),
                            }
                        }
                        Rest::LineEnd => Rest::Size,
                        _ if line.is_empty() => Rest::Nothing,
                        rest => rest,
                    };
                    self.start += end + 1;
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<(), HttpError> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 0 && self.buffer.capacity() - self.buffer.len() < 4096 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(4096);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(HttpError::Closed),
            _ => Ok(()),
        }
    }
}

struct Head {
    status: u16,
    rest: Rest,
    keep_alive: bool,
}

impl Head {
    fn parse(text: &str) -> Result<Self, HttpError> {
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|line| line.get(..3));
        let status = status
            .and_then(|digits| digits.parse().ok())
            .ok_or(HttpError::Malformed("no status"))?;
        let (mut rest, mut keep_alive) = (Rest::Close, true);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                rest = match value.parse() {
                    Ok(0) => Rest::Nothing,
                    Ok(length) => Rest::Length(length),
                    Err(_) => return Err(HttpError::Malformed("no length")),
                };
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                rest = Rest::Size;
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Self {
            status,
            rest,
            keep_alive: keep_alive && rest != Rest::Close,
        })
    }
}

/// Where the head of a message ends, behind its empty line.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    // Line by line: every line end that is no head's end is skipped with what follows it.
    while let Some(line) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        from += line + 1;
        if bytes[from..].starts_with(b"\r\n") {
            return Some(from + 2);
        }
    }
    None
}

/// Splits `http://HOST:PORT/path` into the address to connect to, the host with its port and the path. The host has to
/// be an IP address: the rig speaks to its own machine alone.
pub fn split_url(url: &str) -> Option<(SocketAddr, &str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(slash);
    Some((host.parse().ok()?, host, path.trim_end_matches('/')))
}

/// A whole request. `headers` are lines with their line ends; without a body it is a GET.
pub fn request(host: &str, path: &str, headers: &str, body: Option<&str>) -> Vec<u8> {
    let (method, body) = body.map_or(("GET", ""), |body| ("POST", body));
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A request on a connection of its own: its status and body.
pub async fn fetch(address: SocketAddr, request: &[u8]) -> Result<(u16, Vec<u8>), HttpError> {
    let mut connection = Connection::open(address).await?;
    let status = connection.send(request).await?;
    let mut body = Vec::new();
    connection.read_all(&mut body).await?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tokio::net::TcpListener;

    /// Answers come in pieces of `step` bytes, each read on its own.
    async fn answers(text: &'static str, step: usize) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // To close with something unread would reset the connection.
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            for piece in text.as_bytes().chunks(step) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::open(address).await.unwrap()
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true)]
    #[case(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: u\r\n\r\n",
        true
    )]
    #[case("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", false)]
    #[case("HTTP/1.1 200 OK\r\n\r\nhello", false)]
    #[tokio::test]
    async fn bodies_are_read_however_they_come(
        #[case] text: &'static str,
        #[case] reusable: bool,
        #[values(1, 7, 1000)] step: usize,
    ) {
        let mut connection = answers(text, step).await;
        assert_eq!(connection.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap(), 200);
        let mut body = Vec::new();
        connection.read_all(&mut body).await.unwrap();
        assert_eq!(body, b"hello");
        assert_eq!(connection.is_reusable(), reusable);
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_error() {
        let mut connection = answers("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", 1000).await;
        connection.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(
            connection.read_all(&mut Vec::new()).await,
            Err(HttpError::Closed | HttpError::Io(_))
        ));
    }

    #[test]
    fn urls_are_split() {
        let (address, host, path) = split_url("http://127.0.0.1:80/gate/v1/").unwrap();
        assert_eq!((address.port(), host, path), (80, "127.0.0.1:80", "/gate/v1"));
        assert_eq!(split_url("http://127.0.0.1:80").unwrap().2, "");
        assert!(split_url("https://127.0.0.1").is_none());
    }
}
