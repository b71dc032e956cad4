//! How many may connect, and how little a node may do before it has said who it is. Over real sockets, from this machine: as
//! one address among others where the test says so, and through a proxy that names others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::num::NonZeroU32;

use futures::{SinkExt as _, StreamExt as _};
use harness::node::TestNode;
use harness::{TestServer, model, soon, timeless};
use resultity_core::clock::SystemEntropy;
use resultity_core::networks::Networks;
use resultity_core::signing::Keypair;
use resultity_core::wire::ServerFrame;
use resultity_server::assemble::Offer;
use resultity_server::link::ConnectionLimits;
use resultity_server::telemetry::start_metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn count(count: u32) -> NonZeroU32 {
    count.try_into().unwrap()
}

/// A server to which this machine is as any other.
async fn strict(change: impl FnOnce(&mut ConnectionLimits)) -> TestServer {
    TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.connections.exempt = Networks::default();
        change(&mut options.connections);
    })
    .await
}

/// The same behind a proxy on this machine.
async fn behind_a_proxy(change: impl FnOnce(&mut ConnectionLimits)) -> TestServer {
    TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.connections.exempt = Networks::default();
        options.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
        change(&mut options.connections);
    })
    .await
}

/// A connection that has been served once and stays; none if it is closed unheard.
async fn connected(server: &TestServer) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(server.running.address()).await.unwrap();
    // It may be closed already.
    let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = vec![0; 4096];
    let read = soon("an answer or the end", socket.read(&mut answer)).await;
    match read {
        Ok(0) | Err(_) => None,
        Ok(length) => {
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
            Some(socket)
        }
    }
}

/// A WebSocket that has its challenge; or the status and the header `Retry-After` with which it was refused.
async fn dial(server: &TestServer, forwarded: Option<&str>) -> Result<Socket, (u16, u64)> {
    let mut request = server.io_url().into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "resultity.io.v1".parse().unwrap());
    if let Some(address) = forwarded {
        headers.insert("x-forwarded-for", address.parse().unwrap());
    }
    match soon("the link", connect_async(request)).await {
        Ok((mut socket, _)) => {
            let challenge = received(&mut socket).await;
            assert!(matches!(challenge, Some(ServerFrame::Challenge(_))), "{challenge:?}");
            Ok(socket)
        }
        Err(Error::Http(answer)) => {
            let after = answer.headers().get("retry-after").unwrap().to_str().unwrap();
            Err((answer.status().as_u16(), after.parse().unwrap()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// The next frame; none if the link ends.
async fn received(socket: &mut Socket) -> Option<ServerFrame> {
    soon("a frame or the end", async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(ServerFrame::parse(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    })
    .await
}

async fn until_in_handshake(server: &TestServer, expected: u32) {
    soon("the handshakes", async {
        while server.running.app().entrance.in_handshake() != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_there_may_be() {
    let metrics = start_metrics();
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.connections.total = count(2);
        options.metrics = metrics.clone();
    })
    .await;
    let first = connected(&server).await.unwrap();
    let second = connected(&server).await.unwrap();
    assert!(connected(&server).await.is_none());
    drop(first);
    let third = soon("a place", async {
        loop {
            if let Some(socket) = connected(&server).await {
                break socket;
            }
        }
    })
    .await;
    assert!(connected(&server).await.is_none());
    // An upgraded connection is still one.
    drop((second, third));
    let _link = soon("a place", async {
        loop {
            if connected(&server).await.is_some() {
                break dial(&server, None).await.unwrap();
            }
        }
    })
    .await;
    let _beside = soon("a place", async {
        loop {
            if let Some(socket) = connected(&server).await {
                break socket;
            }
        }
    })
    .await;
    assert!(connected(&server).await.is_none());
    let text = metrics.unwrap().render();
    assert!(
        text.contains("resultity_connections_refused_total{at=\"main\",full=\"total\"}"),
        "{text}"
    );
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share_unless_it_is_a_proxy_or_this_machine() {
    let server = strict(|limits| limits.per_address = count(2)).await;
    let _held = [connected(&server).await.unwrap(), connected(&server).await.unwrap()];
    assert!(connected(&server).await.is_none());

    let proxied = behind_a_proxy(|limits| limits.per_address = count(2)).await;
    let local = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.connections.per_address = count(2);
    })
    .await;
    for server in [proxied, local] {
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(connected(&server).await.unwrap());
        }
    }
}

#[tokio::test]
async fn what_comes_before_a_hello_is_bounded_and_what_comes_after_it_is_not() {
    let server = TestServer::start().await;
    for size in [200 * 1024, 10 * 1024 * 1024] {
        let mut socket = dial(&server, None).await.unwrap();
        // The server may have closed it before the last byte.
        let _ = socket.send(Message::text("x".repeat(size))).await;
        match received(&mut socket).await {
            Some(ServerFrame::Reject(reject)) => assert!(reject.message.contains("too large"), "{reject:?}"),
            None => {}
            other => panic!("{other:?}"),
        }
        until_in_handshake(&server, 0).await;
    }
    // In many pieces, none of which says anything.
    let mut socket = dial(&server, None).await.unwrap();
    for _ in 0..10_000 {
        if socket.send(Message::Ping(vec![0; 100].into())).await.is_err() {
            break;
        }
    }
    until_in_handshake(&server, 0).await;
    assert!(server.running.app().flow().fleet.all().is_empty());

    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    let padding = "x".repeat(10 * 1024 * 1024);
    node.send_text(format!("{{\"type\":\"of the future\",\"padding\":\"{padding}\"}}"))
        .await;
    match node.next().await {
        ServerFrame::Error(error) => assert_eq!(error.code, "unknown_type"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_says_no_hello_is_let_go() {
    let server = TestServer::start().await;
    let mut socket = dial(&server, None).await.unwrap();
    until_in_handshake(&server, 1).await;
    // Nobody moves, so the time goes by at once.
    tokio::time::pause();
    match received(&mut socket).await {
        Some(ServerFrame::Reject(reject)) => assert!(reject.message.contains("in time"), "{reject:?}"),
        other => panic!("{other:?}"),
    }
    tokio::time::resume();
    until_in_handshake(&server, 0).await;
}

#[tokio::test]
async fn one_address_has_few_handshakes_at_once_and_they_end_with_the_hello() {
    let server = behind_a_proxy(|limits| {
        limits.handshakes = count(3);
        limits.handshakes_per_address = count(2);
    })
    .await;
    let one = Some("203.0.113.1");
    let first = dial(&server, one).await.unwrap();
    let _second = dial(&server, one).await.unwrap();
    assert_eq!(dial(&server, one).await.unwrap_err(), (503, 5));
    let third = dial(&server, Some("203.0.113.2")).await.unwrap();
    assert_eq!(
        dial(&server, Some("203.0.113.3")).await.unwrap_err(),
        (503, 5),
        "all are taken"
    );
    drop((first, third));
    until_in_handshake(&server, 1).await;
    let _again = dial(&server, one).await.unwrap();
    // One that has said hello takes no place among them.
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let key = Keypair::generate(&SystemEntropy);
        nodes.push(TestNode::connect(&server.io_url(), key, "m", 1, None).await);
    }
    assert_eq!(server.running.app().entrance.in_handshake(), 2);
}

#[tokio::test]
async fn an_address_whose_nodes_are_refused_too_often_is_not_heard_for_a_while() {
    let server = behind_a_proxy(|limits| limits.failed_handshakes_per_minute = count(1)).await;
    let bad = Some("203.0.113.1");
    for _ in 0..2 {
        let mut socket = dial(&server, bad).await.unwrap();
        socket.send(Message::text("who are you?")).await.unwrap();
        assert!(matches!(received(&mut socket).await, Some(ServerFrame::Reject(_))));
    }
    let (status, after) = dial(&server, bad).await.unwrap_err();
    assert!(status == 429 && (1..=60).contains(&after), "{status} {after}");
    assert!(dial(&server, Some("203.0.113.2")).await.is_ok());
    // What a stranger claims behind its own address counts for nothing.
    assert_eq!(
        dial(&server, Some("203.0.113.2, 203.0.113.1")).await.unwrap_err().0,
        429
    );
}

#[tokio::test]
async fn two_thousand_nodes_of_this_machine_connect_at_once() {
    let server = TestServer::start().await;
    let dialled = (0..2000).map(|_| dial(&server, None));
    // None of them says hello, and none is let go for that while the others come.
    timeless(async {
        let sockets: Vec<_> = futures::stream::iter(dialled).buffered(64).collect().await;
        assert!(sockets.iter().all(Result::is_ok));
        assert_eq!(server.running.app().entrance.in_handshake(), 2000);
    })
    .await;
}
