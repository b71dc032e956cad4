//! Idempotency keys over HTTP: the first outcome, once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::TestServer;
use harness::api::{Api, chat};
use harness::node::{Sent, TestNode};
use reqwest::{Method, StatusCode};
use resultity_core::credits::Credits;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::FailureCode;
use serde_json::json;

/// Three prompt tokens, two made: what every answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

async fn server_and_node() -> (TestServer, TestNode, Api) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    (server, node, api)
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_and_is_never_charged_again() {
    let (server, mut node, api) = server_and_node().await;
    let ask = || {
        api.call(
            Method::POST,
            "/v1/chat/completions",
            &[("idempotency-key", "k1")],
            Some(chat()),
        )
    };
    let node_answers = async {
        let work = node.next_job().await;
        node.answer(&work, "once").await;
    };
    let (first, second, ()) = tokio::join!(ask(), ask(), node_answers);
    for said in [&first, &second] {
        assert_eq!(said.status, 200, "{}", said.body);
    }
    assert_eq!(first.body, second.body);
    let third = ask().await;
    assert_eq!(third.body, first.body);
    assert_eq!(third.header("x-resultity-replayed"), Some("true"));
    let mut other = chat();
    other["max_tokens"] = json!(11);
    let clash = api
        .call(
            Method::POST,
            "/v1/chat/completions",
            &[("idempotency-key", "k1")],
            Some(other),
        )
        .await;
    assert_eq!(
        (clash.status, clash.json()["error"]["code"].clone()),
        (StatusCode::CONFLICT, json!("conflict"))
    );
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_stream_is_given_again_as_it_was() {
    let (server, mut node, api) = server_and_node().await;
    let mut body = chat();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let ask = || {
        api.call(
            Method::POST,
            "/v1/chat/completions",
            &[("idempotency-key", "s")],
            Some(body.clone()),
        )
    };
    let node_answers = async {
        let work = node.next_job().await;
        let mut sent = Sent::default();
        for piece in ["one ", "two"] {
            node.chunk(&work, &mut sent, &[ChunkChoice::text(0, piece)]).await;
        }
        node.chunk(&work, &mut sent, &[ChunkChoice::finish(0, "stop")]).await;
        let result = node.stream_result(&work, &sent, Outcome::Complete);
        node.send(result).await;
    };
    let (first, ()) = tokio::join!(ask(), node_answers);
    assert!(
        first.body.contains("one ") && first.body.ends_with("data: [DONE]\n\n"),
        "{}",
        first.body
    );
    let again = ask().await;
    assert_eq!(again.body, first.body);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn after_a_failure_of_ours_a_repeat_begins_anew() {
    let (server, mut node, api) = server_and_node().await;
    let ask = || {
        api.call(
            Method::POST,
            "/v1/chat/completions",
            &[("idempotency-key", "k")],
            Some(chat()),
        )
    };
    let fails = async {
        let work = node.next_job().await;
        let failure = node.failure(&work, FailureCode::EngineFailed);
        node.send(failure).await;
    };
    let (first, ()) = tokio::join!(ask(), fails);
    assert_eq!(first.status, 503, "{}", first.body);
    let answers = async {
        let work = node.next_job().await;
        node.answer(&work, "now").await;
    };
    let (second, ()) = tokio::join!(ask(), answers);
    assert_eq!(second.status, 200, "{}", second.body);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn who_waits_when_the_server_stops_is_asked_to_come_back() {
    let (server, mut node, api) = server_and_node().await;
    let _busy = api
        .post("/v1/jobs", json!({"endpoint": "/v1/chat/completions", "body": chat()}))
        .await;
    node.next_job().await;
    let waiting = api.call(
        Method::POST,
        "/v1/chat/completions",
        &[("idempotency-key", "k1")],
        Some(chat()),
    );
    let flow = std::sync::Arc::clone(server.running.app().flow());
    let stop = async {
        while flow.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        server.running.stop(std::time::Duration::from_millis(100)).await;
    };
    let (said, ()) = tokio::join!(waiting, stop);
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "{}", said.body);
    assert!(said.header("retry-after").is_some());
}
