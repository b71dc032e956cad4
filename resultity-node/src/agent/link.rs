//! The socket under the session: connects, reads frames, writes frames.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use resultity_core::wire::{FrameError, MAX_FRAME_BYTES, SUBPROTOCOL, ServerFrame};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::{Host, Url};

use super::actor::Event;
use super::event::Input;
use super::{AgentError, Text};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A server that takes nothing for so long counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// A web server that knows nothing of nodes.
    #[error("the server answers with HTTP status {0} where the node link should be")]
    NoLinkThere(u16),
    #[error("{0}")]
    Socket(#[from] Box<tungstenite::Error>),
    #[error("no answer in time")]
    Timeout,
}

/// Checks the address of a network: `wss` everywhere but on this machine.
pub(super) fn check_url(url: &Url) -> Result<(), AgentError> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "wss" if url.has_host() => Ok(()),
        "ws" if loopback => Ok(()),
        "ws" => Err(AgentError::Url {
            url: url.to_string(),
            reason: "a network on another machine is reached by wss://, so that nobody on the way can read along",
        }),
        _ => Err(AgentError::Url {
            url: url.to_string(),
            reason: "expected an address such as wss://io.network.example.org/io/v1/ws or ws://127.0.0.1:8080/io/v1/ws",
        }),
    }
}

/// Opens the socket.
pub(super) async fn connect(url: &Url) -> Result<Socket, LinkError> {
    let uri = url
        .as_str()
        .parse()
        .map_err(|error| Box::new(tungstenite::Error::HttpFormat(http::Error::from(error))))?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    // The last argument sets TCP_NODELAY: without it a small frame waits up to 40 ms for the answer to the one before.
    match tokio::time::timeout(CONNECT_TIMEOUT, connect_async_with_config(request, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => Err(LinkError::NoLinkThere(response.status().as_u16())),
        Ok(Err(error)) => Err(Box::new(error).into()),
        Err(_) => Err(LinkError::Timeout),
    }
}

/// An open link. Its reader runs in a task of its own, so that frames are parsed beside the actor.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u64,
    sink: SplitSink<Socket, Message>,
    reader: JoinHandle<()>,
    unflushed: usize,
}

impl Link {
    /// Starts to read.
    pub(super) fn start(socket: Socket, generation: u64, events: mpsc::Sender<Event>) -> Self {
        let (sink, stream) = socket.split();
        let reader = tokio::spawn(read(stream, generation, events));
        Self {
            generation,
            sink,
            reader,
            unflushed: 0,
        }
    }

    /// Puts a frame into the write buffer; the socket sees it with the next flush, or when the buffer is full.
    pub(super) async fn feed(&mut self, frame: Text) -> Result<(), LinkError> {
        self.unflushed += 1;
        let fed = tokio::time::timeout(WRITE_TIMEOUT, self.sink.feed(Message::Text(frame))).await;
        fed.map_err(|_| LinkError::Timeout)?
            .map_err(|error| Box::new(error).into())
    }

    /// Frames that wait for a flush.
    pub(super) const fn unflushed(&self) -> usize {
        self.unflushed
    }

    /// Writes out everything: one system call for many frames.
    pub(super) async fn flush(&mut self) -> Result<(), LinkError> {
        self.unflushed = 0;
        let flushed = tokio::time::timeout(WRITE_TIMEOUT, self.sink.flush()).await;
        flushed
            .map_err(|_| LinkError::Timeout)?
            .map_err(|error| Box::new(error).into())
    }

    /// Says goodbye and waits a little for the answer.
    pub(super) async fn close(mut self, code: u16, mut reason: String) {
        // The reason of a close frame has at most 123 bytes.
        reason.truncate(reason.floor_char_boundary(120));
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        let goodbye = async {
            if self.sink.send(Message::Close(Some(frame))).await.is_ok() {
                // Ends when the server has answered.
                let _ = (&mut self.reader).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads until the socket ends. A full channel stops the reading, and in the end the server's sending.
async fn read(mut stream: SplitStream<Socket>, generation: u64, events: mpsc::Sender<Event>) {
    loop {
        let (input, last) = match stream.next().await {
            Some(Ok(Message::Text(text))) => match ServerFrame::parse(&text) {
                Ok(frame) => (Input::Frame(frame), false),
                Err(FrameError::UnknownType(kind)) => (Input::UnknownFrame(kind), false),
                Err(error) => (Input::Malformed(error.to_string()), true),
            },
            Some(Ok(Message::Binary(_))) => (Input::Malformed("a binary frame".into()), true),
            // Answers to pings are sent by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(frame))) => {
                let reason = frame
                    .map(|frame| format!("{} {}", u16::from(frame.code), frame.reason))
                    .unwrap_or_default();
                tracing::info!(link.reason = %reason.trim(), "the network closes the link");
                // Goes on until the closing handshake is through.
                continue;
            }
            Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                (Input::Malformed("a frame over 20 MiB".into()), true)
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the link broke");
                (Input::LinkDown, true)
            }
            None => (Input::LinkDown, true),
        };
        if events.send(Event::Link(generation, input)).await.is_err() {
            return;
        }
        if last {
            break;
        }
    }
    // After a malformed frame the actor closes the link: this reads the server's goodbye.
    while let Some(Ok(_)) = stream.next().await {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("ws://127.0.0.1:8080/io/v1/ws", true)]
    #[case("ws://localhost:8080/io/v1/ws", true)]
    #[case("ws://[::1]:8080/io/v1/ws", true)]
    #[case("wss://io.network.example.org/io/v1/ws", true)]
    #[case("ws://io.network.example.org/io/v1/ws", false)]
    #[case("ws://127.0.0.1.example.org/io/v1/ws", false)]
    #[case("http://127.0.0.1:8080/io/v1/ws", false)]
    fn only_this_machine_is_reached_without_encryption(#[case] url: &str, #[case] fine: bool) {
        assert_eq!(check_url(&url.parse().unwrap()).is_ok(), fine);
    }
}
