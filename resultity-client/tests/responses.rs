//! Responses: events with names, how their streams end, and streams that resume.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use mockito::{Matcher, Server, ServerGuard};
use resultity_client::CloudClient;
use resultity_client::core::api::page::PageQuery;
use resultity_client::core::api::responses::{ResponseStream, ResponsesApi};
use resultity_client::core::error::{ApiError, ErrorCode};
use resultity_client::core::openai::response::{ResponseRequest, ResponseStatus};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, client, error_body, quick};

const ID: &str = "resp_0190a6f6000070008000000000000001";

fn response(status: &str) -> Value {
    json!({
        "id": ID, "object": "response", "created_at": 1, "status": status, "model": "m", "output": [],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
    })
}

fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

/// What a stream tells of a response whose text is `abc`; the numbers are the places.
fn story() -> Vec<Value> {
    let whole = |kind: &str, number: u64, status| json!({"type": kind, "response": response(status), "sequence_number": number});
    let delta = |number: u64, text: &str| {
        json!({
            "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "delta": text, "logprobs": [], "sequence_number": number,
        })
    };
    vec![
        whole("response.created", 0, "in_progress"),
        whole("response.in_progress", 1, "in_progress"),
        delta(2, "a"),
        delta(3, "b"),
        delta(4, "c"),
        whole("response.completed", 5, "completed"),
    ]
}

fn told(events: &[Value]) -> String {
    events.iter().map(named).collect()
}

fn create(server: &mut ServerGuard, body: String) -> mockito::Mock {
    server
        .mock("POST", "/v1/responses")
        .match_header("accept", "text/event-stream")
        .match_body(Matcher::PartialJson(json!({"stream": true})))
        .with_header("content-type", "text/event-stream")
        .with_header("x-request-id", "r1")
        .with_body(body)
}

fn resume(server: &mut ServerGuard, query: &str, body: String) -> mockito::Mock {
    server
        .mock("GET", format!("/v1/responses/{ID}").as_str())
        .match_query(Matcher::Exact(query.into()))
        .with_header("content-type", "text/event-stream")
        .with_body(body)
}

/// The text that arrived, the last number, and how it ended.
async fn collect(mut stream: ResponseStream) -> (String, Option<u64>, Result<(), ApiError>) {
    let (mut text, mut last) = (String::new(), None);
    while let Some(event) = timeout(PATIENCE, stream.next()).await.expect("the stream hangs") {
        match event {
            Ok(event) => {
                assert!(
                    last.is_none_or(|last| last < event.sequence_number),
                    "each event comes once"
                );
                text.push_str(event.text());
                last = Some(event.sequence_number);
            }
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (text, last, Err(error));
            }
        }
    }
    (text, last, Ok(()))
}

#[rstest]
#[case::plain(told(&story()))]
#[case::without_names(told(&story()).replace("event:", "x-event:"))]
#[case::more_after_the_end(format!("{}data: [DONE]\n\n", told(&story())))]
#[case::newer_events(format!("event: response.sings\ndata: {{\"type\":\"response.sings\",\"sequence_number\":0}}\n\n{}", told(&story())))]
#[tokio::test]
async fn a_stream_ends_well_with_its_last_event(#[case] body: String) {
    let mut server = Server::new_async().await;
    create(&mut server, body).create_async().await;
    let stream = client(&server)
        .create_response_stream(ResponseRequest::new("m", "hi"))
        .await
        .unwrap();
    let (text, last, end) = collect(stream).await;
    end.unwrap();
    assert_eq!((text.as_str(), last), ("abc", Some(5)));
}

#[rstest]
#[case::cut(told(&story()[..4]), "ab", ErrorCode::StreamCut)]
#[case::done_too_early(format!("{}data: [DONE]\n\n", told(&story()[..3])), "a", ErrorCode::StreamCut)]
#[case::error_event(
    format!("{}event: error\ndata: {{\"type\":\"error\",\"code\":\"node_failed\",\"message\":\"it fell\",\"param\":null,\"sequence_number\":0}}\n\n", told(&story()[..3])),
    "a",
    ErrorCode::NodeFailed
)]
#[case::bare_error(format!("data: {}\n\n", error_body("why", "internal_error", None)), "", ErrorCode::Internal)]
#[tokio::test]
async fn a_stream_that_ends_otherwise_ends_in_an_error(
    #[case] body: String,
    #[case] expected: &str,
    #[case] code: ErrorCode,
) {
    let mut server = Server::new_async().await;
    create(&mut server, body).create_async().await;
    let stream = client(&server)
        .create_response_stream(ResponseRequest::new("m", "hi"))
        .await
        .unwrap();
    let (text, _, end) = collect(stream).await;
    let error = end.unwrap_err();
    assert_eq!((text.as_str(), error.code), (expected, code));
    assert_eq!(error.request_id.as_deref(), Some("r1"));
}

#[tokio::test]
async fn a_followed_response_resumes_behind_its_last_event() {
    let mut server = Server::new_async().await;
    let story = story();
    let created = create(&mut server, told(&story[..3]))
        .match_body(Matcher::PartialJson(
            json!({"background": true, "store": true, "stream": true}),
        ))
        .expect(1)
        .create_async()
        .await;
    // It tells one more, then is cut again; the last one repeats what was told before.
    let second = resume(&mut server, "starting_after=2&stream=true", told(&story[3..4]))
        .expect(1)
        .create_async()
        .await;
    let third = resume(&mut server, "starting_after=3&stream=true", told(&story[2..]))
        .expect(1)
        .create_async()
        .await;
    let stream = client(&server)
        .create_and_follow_response(ResponseRequest::new("m", "hi"))
        .await
        .unwrap();
    assert_eq!(stream.meta().request_id.as_deref(), Some("r1"));
    let (text, last, end) = collect(stream).await;
    end.unwrap();
    assert_eq!((text.as_str(), last), ("abc", Some(5)));
    for mock in [created, second, third] {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_followed_response_gives_up_where_nothing_comes_any_more() {
    let mut server = Server::new_async().await;
    let first = resume(&mut server, "starting_after=1&stream=true", told(&story()[2..3]))
        .expect(1)
        .create_async()
        .await;
    let silent = resume(&mut server, "starting_after=2&stream=true", String::new())
        .expect(2)
        .create_async()
        .await;
    let client = client(&server);
    let stream = client.follow_response(ID.parse().unwrap(), Some(1)).await.unwrap();
    let (text, last, end) = collect(stream).await;
    assert_eq!((text.as_str(), last), ("a", Some(2)));
    assert_eq!(end.unwrap_err().code, ErrorCode::StreamCut);
    first.assert_async().await;
    silent.assert_async().await;
}

#[tokio::test]
async fn what_failed_is_not_asked_for_again() {
    let mut server = Server::new_async().await;
    create(&mut server, told(&story()[..1])).create_async().await;
    let gone = server
        .mock("GET", format!("/v1/responses/{ID}").as_str())
        .match_query(Matcher::Any)
        .with_status(404)
        .with_body(error_body("there is no such response", "not_found", None))
        .expect(1)
        .create_async()
        .await;
    let stream = client(&server)
        .create_and_follow_response(ResponseRequest::new("m", "hi"))
        .await
        .unwrap();
    let (_, _, end) = collect(stream).await;
    assert_eq!(end.unwrap_err().code, ErrorCode::NotFound);
    gone.assert_async().await;
}

#[tokio::test]
async fn a_response_in_the_background_is_waited_for() {
    let mut server = Server::new_async().await;
    server
        .mock("POST", "/v1/responses")
        .match_body(Matcher::PartialJson(json!({"background": true})))
        .with_body(response("queued").to_string())
        .create_async()
        .await;
    let path = format!("/v1/responses/{ID}");
    for status in ["in_progress", "completed"] {
        let mock = server
            .mock("GET", path.as_str())
            .with_body(response(status).to_string());
        mock.expect(1).create_async().await;
    }
    let client: CloudClient = quick(&format!("{}/v1", server.url())).build().unwrap();
    let queued = client
        .create_response(ResponseRequest::new("m", "hi").background())
        .await
        .unwrap();
    assert_eq!(queued.status, ResponseStatus::Queued);
    let ended = client
        .wait_for_response(queued.id, Duration::from_mins(2))
        .await
        .unwrap();
    assert_eq!(ended.status, ResponseStatus::Completed);
}

#[tokio::test]
async fn input_items_are_one_stream() {
    let mut server = Server::new_async().await;
    let item = json!({"type": "message", "role": "user", "content": "hi", "id": "msg_1"});
    server
        .mock("GET", format!("/v1/responses/{ID}/input_items").as_str())
        .with_body(crate::support::page(&[item], false).to_string())
        .create_async()
        .await;
    let items = client(&server).response_input_items_stream(ID.parse().unwrap(), PageQuery::default());
    let items: Vec<_> = items.try_collect().await.unwrap();
    assert_eq!(items[0].kind(), Some("message"));
}
