//! A server that misbehaves on the wire in ways a mock of HTTP cannot, and what answers look like.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Nothing in a test takes longer than this unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const EVENTS_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: r1\r\ntransfer-encoding: chunked\r\n\r\n";

pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    (listener, url)
}

/// Takes one connection, reads the request and sends these bytes.
pub(crate) async fn answer(listener: &TcpListener, bytes: &str) -> TcpStream {
    let (mut socket, _) = listener.accept().await.unwrap();
    read_request(&mut socket).await;
    socket.write_all(bytes.as_bytes()).await.unwrap();
    socket
}

/// No further connection was made.
pub(crate) fn assert_nobody_waits(listener: TcpListener) {
    let error = listener.into_std().unwrap().accept().expect_err("another attempt came");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// One piece of a chunked body.
pub(crate) fn piece(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn read_request(socket: &mut TcpStream) {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the client closed before its request was complete");
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                return;
            }
        }
    }
}

pub(crate) fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    })
}

pub(crate) fn chunk(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
    })
}

pub(crate) fn event(data: impl std::fmt::Display) -> String {
    format!("data: {data}\n\n")
}

/// A whole stream of these texts.
pub(crate) fn events(texts: &[&str]) -> String {
    texts
        .iter()
        .map(|text| event(chunk(text)))
        .chain([event("[DONE]")])
        .collect()
}

pub(crate) fn error_body(message: &str, code: &str, param: Option<&str>) -> String {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}).to_string()
}

pub(crate) fn models(ids: &[&str]) -> String {
    let data: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "resultity"}))
        .collect();
    json!({"object": "list", "data": data}).to_string()
}
