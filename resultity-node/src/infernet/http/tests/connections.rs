//! Streams, and how connections end.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::infernet::http::listen;

#[tokio::test]
async fn the_id_leaves_alone_and_then_the_bytes_as_they_are() {
    let server = Server::start(&settings()).await;
    let body = r#"{"containers":["one","","bytes","two"],"data":{}}"#;
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs/stream HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 4096];
    let length = socket.read(&mut first).await.unwrap();
    let first = String::from_utf8(first[..length].to_vec()).unwrap();
    assert!(first.ends_with("\r\n\r\n6\r\nan-id\n\r\n"), "{first}");
    assert!(first.contains("ratelimit-limit: "));
    assert_eq!(header(&first, "content-type"), Some("application/octet-stream"));
    let expected = b"3\r\none\r\n2\r\n\xff\0\r\n3\r\ntwo\r\n0\r\n\r\n";
    let mut rest = vec![0; expected.len()];
    socket.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn a_stream_that_fails_ends_after_what_came() {
    let server = Server::start(&settings()).await;
    let answer = server
        .post("/api/jobs/stream", r#"{"containers":["fail","more"],"data":{}}"#)
        .await;
    assert_eq!(said(&answer), (200, "6\r\nan-id\n\r\n0\r\n\r\n"));
    let answer = server
        .post("/api/jobs/stream", r#"{"containers":["a","fail"],"data":{}}"#)
        .await;
    assert_eq!(said(&answer), (200, "6\r\nan-id\n\r\n1\r\na\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_stream() {
    let server = Server::start(&settings()).await;
    let body = r#"{"containers":["hang"],"data":{}}"#;
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs/stream HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut some = [0; 4096];
    assert!(socket.read(&mut some).await.unwrap() > 0);
    assert!(server.told.take().is_empty());
    drop(socket);
    until(|| server.told.take() == ["gone"]).await;
}

async fn until(mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waiting)
        .await
        .expect("it came true in time");
}

#[tokio::test]
async fn it_stops_when_nobody_is_at_work() {
    let server = Server::start(&settings()).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    let mut some = [0; 4096];
    assert!(idle.read(&mut some).await.unwrap() > 0);
    server.stop.cancel();
    assert_eq!(idle.read(&mut some).await.unwrap(), 0);
    drop(idle);
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn it_stops_after_requests_that_are_at_work() {
    let server = Server::start(&settings()).await;
    let body = JOB.as_bytes();
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body[..10]).await.unwrap();
    // Another connection's answer shows that the first one was accepted.
    assert_eq!(said(&server.get("/health").await).0, 200);
    server.stop.cancel();
    until(|| server.serving.is_finished() || std::net::TcpStream::connect(server.address).is_err()).await;
    assert!(!server.serving.is_finished());
    socket.write_all(&body[10..]).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_eq!(said(&answer), (200, r#"{"id":"an-id"}"#));
    server.serving.await.unwrap();
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server = Server::start(&settings()).await;
    let (sender, mut open) = mpsc::channel(1);
    let (done, wait) = oneshot::channel::<()>();
    let address = server.address;
    let opening = tokio::spawn(async move {
        let mut sockets = Vec::new();
        for _ in 0..listen::MAX_CONNECTIONS {
            sockets.push(TcpStream::connect(address).await.unwrap());
        }
        sender.send(()).await.unwrap();
        let _ = wait.await;
    });
    open.recv().await.unwrap();
    let mut refused = String::new();
    server.connect().await.read_to_string(&mut refused).await.unwrap();
    assert_eq!(
        said(&refused),
        (503, r#"{"error":"The node has too many connections"}"#)
    );
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    done.send(()).unwrap();
    opening.await.unwrap();
}
