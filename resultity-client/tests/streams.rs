//! Streamed answers: how they end, and how they must not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use mockito::{Matcher, Server};
use resultity_client::CloudClient;
use resultity_client::core::api::cloud::ChatApi;
use resultity_client::core::error::{ApiError, ErrorCode};
use resultity_client::core::openai::chat::{ChatChunk, ChatRequest, Message};
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{
    EVENTS_HEAD, PATIENCE, answer, assert_nobody_waits, chunk, completion, error_body, event, events, listener, piece,
    quick,
};

fn question() -> ChatRequest {
    ChatRequest::new("m", [Message::user("hi")])
}

/// The text that arrived and how it ended.
async fn collect(client: &CloudClient) -> (String, Result<(), ApiError>) {
    let mut stream = match client.chat_stream(question()).await {
        Ok(stream) => stream,
        Err(error) => return (String::new(), Err(error)),
    };
    let mut text = String::new();
    while let Some(item) = timeout(PATIENCE, stream.next()).await.expect("the stream hangs") {
        match item {
            Ok(chunk) => text.push_str(chunk.text()),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (text, Err(error));
            }
        }
    }
    (text, Ok(()))
}

async fn collect_body(body: String) -> (String, Result<(), ApiError>) {
    let mut server = Server::new_async().await;
    server
        .mock("POST", "/v1/chat/completions")
        .with_header("content-type", "text/event-stream; charset=utf-8")
        .with_header("x-request-id", "r1")
        .with_body(body)
        .create_async()
        .await;
    collect(&quick(&format!("{}/v1", server.url())).build().unwrap()).await
}

#[tokio::test]
async fn a_stream_gives_its_chunks_and_what_is_said_beside() {
    let mut server = Server::new_async().await;
    let job = "0198c0de-0000-7000-8000-000000000001";
    let usage = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    });
    let body = [event(chunk("Hé")), event(chunk("llo")), event(usage), event("[DONE]")].concat();
    let mock = server
        .mock("POST", "/v1/chat/completions")
        .match_header("accept", "text/event-stream")
        .match_header("authorization", "Bearer rk_test_1")
        .match_body(Matcher::PartialJson(
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ))
        .with_header("content-type", "text/event-stream")
        .with_header("x-request-id", "r1")
        .with_header("x-resultity-job-id", job)
        // Byte by byte, so that letters and lines are torn apart.
        .with_chunked_body(move |out| body.as_bytes().chunks(1).try_for_each(|byte| out.write_all(byte)))
        .create_async()
        .await;
    let client = quick(&format!("{}/v1", server.url())).build().unwrap();
    let stream = client.chat_stream(question().include_usage()).await.unwrap();
    assert_eq!(stream.meta().request_id.as_deref(), Some("r1"));
    assert_eq!(stream.meta().job_id.unwrap().to_string(), job);
    let chunks: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(chunks.iter().map(ChatChunk::text).collect::<String>(), "Héllo");
    assert_eq!(chunks.last().unwrap().usage.unwrap().total_tokens, 5);
    mock.assert_async().await;
}

#[rstest]
#[case::comments(format!(": hi\n\n{}: still here\n\n{}", event(chunk("a")), events(&["b"])), "ab")]
#[case::carriage_returns(events(&["a", "b"]).replace('\n', "\r\n"), "ab")]
#[case::more_after_the_end(format!("{}{}", events(&["ab"]), event(chunk("c"))), "ab")]
#[case::named_events(format!("event: message\nid: 1\n{}", events(&["ab"])), "ab")]
#[case::nothing_made(events(&[]), "")]
#[tokio::test]
async fn a_stream_ends_well_at_done(#[case] body: String, #[case] expected: &str) {
    let (text, end) = collect_body(body).await;
    end.unwrap();
    assert_eq!(text, expected);
}

#[rstest]
#[case::no_done(event(chunk("a")), "a", ErrorCode::StreamCut)]
#[case::half_an_event(format!("{}data: {{\"id\"", event(chunk("a"))), "a", ErrorCode::StreamCut)]
#[case::nothing(String::new(), "", ErrorCode::StreamCut)]
#[case::error_event(format!("{}{}", event(chunk("a")), event(error_body("it fell", "node_failed", None))), "a", ErrorCode::NodeFailed)]
#[case::no_chunk(format!("{}{}", event(chunk("a")), event("{\"x\":1}")), "a", ErrorCode::InvalidResponse)]
#[case::no_json(event("hello"), "", ErrorCode::InvalidResponse)]
#[tokio::test]
async fn a_stream_that_ends_otherwise_ends_in_an_error(
    #[case] body: String,
    #[case] expected: &str,
    #[case] code: ErrorCode,
) {
    let (text, end) = collect_body(body).await;
    let error = end.unwrap_err();
    assert_eq!((text.as_str(), error.code), (expected, code));
    assert_eq!(error.request_id.as_deref(), Some("r1"));
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_cut_stream() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap();
    let bytes = format!("{EVENTS_HEAD}{}", piece(&event(chunk("a"))));
    let server = async { drop(answer(&listener, &bytes).await) };
    let ((text, end), ()) = tokio::join!(collect(&client), server);
    assert_eq!((text.as_str(), end.unwrap_err().code), ("a", ErrorCode::StreamCut));
}

#[tokio::test]
async fn silence_is_a_timeout_but_comments_are_not_silence() {
    let (listener, url) = listener().await;
    let client = quick(&url).idle_timeout(Duration::from_secs(4)).build().unwrap();
    let bytes = format!("{EVENTS_HEAD}{}", piece(&event(chunk("a"))));
    let server = async {
        let mut socket = answer(&listener, &bytes).await;
        let mut beat = tokio::time::interval(Duration::from_millis(500));
        for _ in 0..10 {
            beat.tick().await;
            socket.write_all(piece(": still here\n\n").as_bytes()).await.unwrap();
        }
        socket.write_all(piece(&event(chunk("b"))).as_bytes()).await.unwrap();
        socket
    };
    let ((text, end), socket) = tokio::join!(collect(&client), server);
    let error = end.unwrap_err();
    assert_eq!((text.as_str(), error.code), ("ab", ErrorCode::Timeout));
    assert_eq!(error.message, "the stream fell silent for 4 s");
    drop(socket);
}

#[tokio::test]
async fn dropping_a_stream_closes_the_connection() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap();
    let bytes = format!("{EVENTS_HEAD}{}", piece(&event(chunk("a"))));
    let reader = async {
        let mut stream = client.chat_stream(question()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().text(), "a");
    };
    let ((), mut socket) = tokio::join!(reader, answer(&listener, &bytes));
    let read = timeout(PATIENCE, socket.read(&mut [0; 16]))
        .await
        .expect("the connection stays open");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_stream_is_not_begun_again_once_output_has_begun() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap();
    let bytes = format!("{EVENTS_HEAD}{}", piece(&event(chunk("a"))));
    let ((_, end), ()) = tokio::join!(collect(&client), async { drop(answer(&listener, &bytes).await) });
    assert_eq!(end.unwrap_err().code, ErrorCode::StreamCut);
    assert_nobody_waits(listener);
}

#[tokio::test]
async fn a_stream_that_is_refused_at_the_door_is_tried_again() {
    let mut server = Server::new_async().await;
    let refused = server
        .mock("POST", "/v1/chat/completions")
        .with_status(503)
        .expect(1)
        .create_async()
        .await;
    let taken = server
        .mock("POST", "/v1/chat/completions")
        .with_header("content-type", "text/event-stream")
        .with_body(events(&["a"]))
        .expect(1)
        .create_async()
        .await;
    let (text, end) = collect(&quick(&format!("{}/v1", server.url())).build().unwrap()).await;
    end.unwrap();
    assert_eq!(text, "a");
    refused.assert_async().await;
    taken.assert_async().await;
}

#[tokio::test]
async fn a_streaming_request_that_is_wrong_is_a_plain_error() {
    let mut server = Server::new_async().await;
    server
        .mock("POST", "/v1/chat/completions")
        .with_status(404)
        .with_header("x-request-id", "r2")
        .with_body(error_body("no such model", "model_not_found", Some("model")))
        .create_async()
        .await;
    let (_, end) = collect(&quick(&format!("{}/v1", server.url())).build().unwrap()).await;
    let error = end.unwrap_err();
    assert_eq!(error.to_string(), "no such model (model_not_found, model, request r2)");
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_an_error() {
    let mut server = Server::new_async().await;
    server
        .mock("POST", "/v1/chat/completions")
        .with_header("content-type", "application/json")
        .with_body(completion("hello").to_string())
        .create_async()
        .await;
    let (_, end) = collect(&quick(&format!("{}/v1", server.url())).build().unwrap()).await;
    assert_eq!(end.unwrap_err().code, ErrorCode::InvalidResponse);
}
