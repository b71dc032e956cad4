//! Calls that are answered as a whole: what is sent, what is tried again, what an error says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use mockito::{Matcher, Mock, Server, ServerGuard};
use resultity_client::GateClient;
use resultity_client::core::api::cloud::{ChatApi, ModelsApi};
use resultity_client::core::api::gate::{CreditGrant, GrantApi};
use resultity_client::core::credits::Credits;
use resultity_client::core::error::ErrorCode;
use resultity_client::core::openai::chat::{ChatRequest, Message};
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::{PATIENCE, answer, assert_nobody_waits, client, completion, error_body, listener, models, quick};

fn question() -> ChatRequest {
    ChatRequest::new("m", [Message::user("hi")])
}

fn chat(server: &mut ServerGuard) -> Mock {
    server
        .mock("POST", "/v1/chat/completions")
        .with_header("content-type", "application/json")
}

#[tokio::test]
async fn a_chat_sends_key_and_request_and_reads_what_is_said_beside_the_answer() {
    let mut server = Server::new_async().await;
    let mock = chat(&mut server)
        .match_header("authorization", "Bearer rk_test_1")
        .match_header("content-type", "application/json")
        .match_header("user-agent", Matcher::Regex("^resultity-client/".into()))
        .match_body(Matcher::Json(json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "x_unknown": [1],
        })))
        .with_header("x-request-id", "r1")
        .with_header("x-resultity-job-id", "0198c0de-0000-7000-8000-000000000001")
        .with_header("x-resultity-cost", "0.002")
        .with_body(completion("hello").to_string())
        .create_async()
        .await;
    let mut request = question().max_tokens(5).with("x_unknown", json!([1])).include_usage();
    request.stream = Some(true);
    let reply = client(&server).chat(request).await.unwrap();
    mock.assert_async().await;
    assert_eq!(reply.text(), "hello");
    assert_eq!(reply.meta.request_id.as_deref(), Some("r1"));
    assert_eq!(
        reply.meta.job_id.unwrap().to_string(),
        "0198c0de-0000-7000-8000-000000000001"
    );
    assert_eq!(reply.meta.cost, Some(Credits::from_micros(2000)));
}

#[rstest]
#[case::too_many(429)]
#[case::no_capacity(503)]
#[tokio::test]
async fn a_chat_is_repeated_where_nothing_was_begun(#[case] status: usize) {
    let mut server = Server::new_async().await;
    let refused = chat(&mut server)
        .with_status(status)
        .with_body("{}")
        .expect(2)
        .create_async()
        .await;
    let taken = chat(&mut server)
        .with_body(completion("hello").to_string())
        .expect(1)
        .create_async()
        .await;
    let reply = client(&server).chat(question()).await.unwrap();
    assert_eq!(reply.text(), "hello");
    refused.assert_async().await;
    taken.assert_async().await;
}

#[rstest]
#[case::node_failed(502, None, 1)]
#[case::fault(500, None, 1)]
#[case::late(504, None, 1)]
#[case::no_credits(402, Some("false"), 1)]
#[case::not_wanted(503, Some("false"), 1)]
#[case::wanted(502, Some("true"), 3)]
#[case::gives_up(503, None, 3)]
#[tokio::test]
async fn a_chat_is_sent_so_often(#[case] status: usize, #[case] should_retry: Option<&str>, #[case] attempts: usize) {
    let mut server = Server::new_async().await;
    let mut mock = chat(&mut server)
        .with_status(status)
        .with_body(error_body("why", "strange", None))
        .expect(attempts);
    if let Some(value) = should_retry {
        mock = mock.with_header("x-should-retry", value);
    }
    let mock = mock.create_async().await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.message, "why");
    mock.assert_async().await;
}

#[tokio::test]
async fn reading_is_repeated_on_any_fault_of_the_server() {
    let mut server = Server::new_async().await;
    let broken = server
        .mock("GET", "/v1/models")
        .with_status(500)
        .expect(1)
        .create_async()
        .await;
    let cut = server
        .mock("GET", "/v1/models")
        .with_chunked_body(|body| {
            body.write_all(b"{\"object\"")?;
            Err(std::io::Error::other("cut"))
        })
        .expect(1)
        .create_async()
        .await;
    let whole = server
        .mock("GET", "/v1/models")
        .with_body(models(&["a"]))
        .expect(1)
        .create_async()
        .await;
    assert_eq!(client(&server).models().await.unwrap().data[0].id, "a");
    for mock in [broken, cut, whole] {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_repeat_waits_as_long_as_the_server_asks() {
    let mut server = Server::new_async().await;
    chat(&mut server)
        .with_status(503)
        .with_header("retry-after-ms", "300")
        .expect(1)
        .create_async()
        .await;
    chat(&mut server)
        .with_body(completion("hello").to_string())
        .expect(1)
        .create_async()
        .await;
    let begin = tokio::time::Instant::now();
    client(&server).chat(question()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[rstest]
#[case::longer_than_anyone_waits("3600", Duration::from_hours(2))]
#[case::longer_than_the_time_limit("30", Duration::from_secs(10))]
#[tokio::test]
async fn a_wait_that_is_too_long_is_told_instead(#[case] wait: &str, #[case] limit: Duration) {
    let mut server = Server::new_async().await;
    let mock = chat(&mut server)
        .with_status(429)
        .with_header("retry-after", wait)
        .with_body(error_body("slow down", "rate_limit_exceeded", None))
        .expect(1)
        .create_async()
        .await;
    let client = quick(&format!("{}/v1", server.url())).timeout(limit).build().unwrap();
    let error = timeout(PATIENCE, client.chat(question())).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimitExceeded);
    assert_eq!(error.retry_after, Some(Duration::from_secs(wait.parse().unwrap())));
    mock.assert_async().await;
}

#[tokio::test]
async fn an_error_says_code_field_and_request() {
    let mut server = Server::new_async().await;
    chat(&mut server)
        .with_status(400)
        .with_header("x-request-id", "r7")
        .with_body(error_body(
            "temperature must be from 0 to 2",
            "invalid_value",
            Some("temperature"),
        ))
        .create_async()
        .await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidValue);
    assert_eq!(error.param.as_deref(), Some("temperature"));
    assert_eq!(
        error.to_string(),
        "temperature must be from 0 to 2 (invalid_value, temperature, request r7)"
    );
}

#[tokio::test]
async fn a_wrong_key_is_an_error_that_does_not_show_the_key() {
    let mut server = Server::new_async().await;
    let mock = chat(&mut server)
        .with_status(401)
        .with_body(error_body("this key is not known", "invalid_api_key", None))
        .expect(1)
        .create_async()
        .await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidApiKey);
    assert!(!format!("{error:?}").contains("rk_test_1"));
    mock.assert_async().await;
}

#[rstest]
#[case::no_json("<html>")]
#[case::other_json(r#"{"object":"list"}"#)]
#[case::empty("")]
#[tokio::test]
async fn an_answer_that_is_not_what_was_promised_is_an_error(#[case] body: &str) {
    let mut server = Server::new_async().await;
    chat(&mut server)
        .with_body(body)
        .with_header("x-request-id", "r1")
        .create_async()
        .await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidResponse);
    assert_eq!(error.request_id.as_deref(), Some("r1"));
}

#[tokio::test]
async fn the_page_of_a_proxy_becomes_an_error_by_its_status() {
    let mut server = Server::new_async().await;
    chat(&mut server)
        .with_status(413)
        .with_header("content-type", "text/html")
        .with_body("<html><h1>413</h1></html>")
        .create_async()
        .await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PayloadTooLarge);
    assert_eq!(
        error.message,
        "the server answered 413 Payload Too Large without an explanation"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut server = Server::new_async().await;
    let elsewhere = server.mock("GET", "/elsewhere").expect(0).create_async().await;
    server
        .mock("GET", "/v1/models")
        .with_status(307)
        .with_header("location", "/elsewhere")
        .create_async()
        .await;
    let error = client(&server).models().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidResponse);
    elsewhere.assert_async().await;
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_a_connection_error() {
    // Held by the test, so that nobody else gets the port, and not listened on.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/v1", held.local_addr().unwrap());
    let error = quick(&url).build().unwrap().chat(question()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Connection);
    assert!(
        error.message.starts_with("could not connect to http://127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_chat_whose_connection_breaks_is_not_sent_again() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap();
    let (error, ()) = tokio::join!(client.chat(question()), async { drop(answer(&listener, "").await) });
    assert_eq!(error.unwrap_err().code, ErrorCode::Connection);
    assert_nobody_waits(listener);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let (listener, url) = listener().await;
    let client = quick(&url).timeout(Duration::from_secs(3)).build().unwrap();
    let (error, socket) = tokio::join!(client.chat(question()), answer(&listener, ""));
    let error = error.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Timeout, "no answer within 3 s")
    );
    drop(socket);
}

#[tokio::test]
async fn the_time_limit_holds_for_the_body_too() {
    let (listener, url) = listener().await;
    let client = quick(&url).timeout(Duration::from_secs(3)).build().unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    let (error, socket) = tokio::join!(client.chat(question()), answer(&listener, head));
    assert_eq!(error.unwrap_err().code, ErrorCode::Timeout);
    drop(socket);
}

#[tokio::test]
async fn a_model_is_named_by_one_segment_of_the_path() {
    let mut server = Server::new_async().await;
    let model = json!({"id": "org/name v1", "object": "model", "created": 1, "owned_by": "x", "context_length": 9});
    let mock = server
        .mock("GET", "/v1/models/org%2Fname%20v1")
        .with_body(model.to_string())
        .create_async()
        .await;
    let reply = client(&server).model("org/name v1").await.unwrap();
    assert_eq!(
        (reply.id.as_str(), &reply.extra["context_length"]),
        ("org/name v1", &json!(9))
    );
    mock.assert_async().await;
    for id in ["", ".", ".."] {
        assert_eq!(
            client(&server).model(id).await.unwrap_err().code,
            ErrorCode::ModelNotFound
        );
    }
}

#[tokio::test]
async fn an_administrator_grants_credits() {
    let mut server = Server::new_async().await;
    let namespace = "0198c0de-0000-7000-8000-000000000002";
    let mock = server
        .mock("POST", "/gate/v1/admin/credits")
        .match_header("authorization", "Bearer admin")
        .match_body(Matcher::Json(json!({"api_key": "rk_test_1", "credits": "10.5"})))
        .with_body(json!({"namespace": namespace, "granted": "10.5", "balance": "110.5"}).to_string())
        .create_async()
        .await;
    let url = format!("{}/gate/v1", server.url());
    let gate = GateClient::builder()
        .base_url(url)
        .admin_token("admin")
        .build()
        .unwrap();
    let granted = gate
        .grant_credits(CreditGrant::to_key("rk_test_1", "10.5".parse().unwrap()))
        .await
        .unwrap();
    assert_eq!(granted.namespace.to_string(), namespace);
    assert_eq!(granted.balance, Credits::from_micros(110_500_000));
    mock.assert_async().await;
}
