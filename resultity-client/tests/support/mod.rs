//! A server that misbehaves on the wire in ways a mock of HTTP cannot, and what answers look like.
#![allow(dead_code, reason = "each test file uses its own part")]

#[cfg(feature = "cli")]
pub(crate) mod command;

use std::time::Duration;

use mockito::ServerGuard;
use resultity_client::{ClientBuilder, CloudClient};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Nothing in a test takes longer than this unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

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

pub(crate) const JOB: &str = "0198c0de-0000-7000-8000-000000000001";
pub(crate) const FILE: &str = "file-0190a6f6000070008000000000000001";
pub(crate) const BATCH: &str = "batch_0190a6f6000070008000000000000002";

/// A client that waits for next to nothing before it tries again.
pub(crate) fn quick(url: &str) -> ClientBuilder<CloudClient> {
    let millisecond = Duration::from_millis(1);
    CloudClient::builder()
        .base_url(url)
        .api_key("rk_test_1")
        .backoff(millisecond, millisecond)
}

pub(crate) fn client(server: &ServerGuard) -> CloudClient {
    quick(&format!("{}/v1", server.url())).build().unwrap()
}

/// A page of a list, with the ids of its ends.
pub(crate) fn page(data: &[Value], has_more: bool) -> Value {
    let id = |entry: Option<&Value>| entry.map(|entry| entry["id"].clone());
    json!({
        "object": "list", "data": data, "has_more": has_more,
        "first_id": id(data.first()), "last_id": id(data.last()),
    })
}

pub(crate) fn job(status: &str) -> Value {
    let mut job = json!({
        "id": JOB, "object": "job", "endpoint": "/v1/chat/completions", "kind": "chat_completion", "model": "m",
        "status": status, "priority": "normal", "detached": true, "created_at": 1_700_000_000,
        "deadline_at": 1_700_000_600, "finished_at": null, "attempts": [], "held": "0.01", "cost": null,
    });
    if status == "queued" {
        job["queue_place"] = json!(2);
    }
    if status == "succeeded" {
        job["cost"] = json!("0.002");
        job["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
        job["result"] = completion("fine");
    }
    if status == "failed" {
        job["error"] =
            json!({"message": "every node failed", "type": "server_error", "param": null, "code": "node_failed"});
    }
    job
}

pub(crate) fn quote() -> Value {
    json!({
        "object": "dry_run", "endpoint": "/v1/chat/completions", "model": "m", "model_version": "1",
        "price_ceiling": "0.00012", "available": "5", "max_prompt_tokens": 9, "max_completion_tokens": 3,
        "can_be_served": true, "queue_place": 0, "estimated_wait_ms": 0,
    })
}

pub(crate) fn file() -> Value {
    json!({
        "id": FILE, "object": "file", "bytes": 7, "created_at": 1, "expires_at": null, "filename": "a",
        "purpose": "batch_output", "status": "processed", "status_details": null,
    })
}

pub(crate) fn batch(status: &str) -> Value {
    let mut batch = json!({
        "id": BATCH, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": FILE,
        "completion_window": "24h", "status": status, "created_at": 1_700_000_000,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
    });
    if status == "completed" {
        batch["output_file_id"] = json!(FILE);
        batch["request_counts"] = json!({"total": 1, "completed": 1, "failed": 0});
    }
    if status == "failed" {
        let error = json!({"code": "invalid_json_line", "message": "it is not JSON", "param": null, "line": 2});
        batch["errors"] = json!({"object": "list", "data": [error]});
    }
    batch
}
