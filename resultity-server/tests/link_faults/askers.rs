//! Askers that stop reading, or that want an end after some time: what was made for them is paid for, and no node is to blame.

use std::time::Duration;

use futures::StreamExt;
use resultity_core::api::cloud::{ChatApi, ChatStream};
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::AckOutcome;

use crate::harness::invariants::invariants;
use crate::harness::node::Sent;
use crate::harness::soon;
use crate::{COST, again, held, pass, request, server_and_node};

/// What is left of a stream: its text, and why it ended.
async fn rest(mut stream: ChatStream) -> (String, Option<ApiError>) {
    let mut text = String::new();
    loop {
        match soon("the rest of the stream", stream.next()).await {
            Some(Ok(chunk)) => text.push_str(chunk.text()),
            Some(Err(error)) => return (text, Some(error)),
            None => return (text, None),
        }
    }
}

/// It does not read: its node is stopped, and paid for what it has made, though it had made all of it.
#[tokio::test]
async fn who_does_not_read_a_stream_pays_for_what_was_made() {
    let (server, mut node) = server_and_node().await;
    let session = server.session();
    let asked = tokio::spawn(async move { session.chat_stream(request("hello").max_tokens(600)).await.unwrap() });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    for _ in 0..400 {
        node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "x")]).await;
    }
    let stream = soon("the stream", asked).await.unwrap();
    let result = node.stream_result(&job, &sent, Outcome::Complete);
    node.send(result).await;
    // Answered when all before it was heard.
    node.renewed(1, &[held(&job)]).await;
    pass(Duration::from_secs(31)).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    let (text, error) = rest(stream).await;
    assert!(text.len() < 400, "{}", text.len());
    assert!(error.unwrap().message.contains("read too slowly"));
    server.assert_charged(COST).await;
    invariants(&server).await;
}

/// Chunks that come again after a link was lost need no room once more.
#[tokio::test]
async fn who_reads_slowly_gets_all_of_a_stream_that_is_sent_again() {
    let (server, mut node) = server_and_node().await;
    let session = server.session();
    let asked = tokio::spawn(async move { session.chat_stream(request("hello").max_tokens(600)).await.unwrap() });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    for _ in 0..600 {
        node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "x")]).await;
    }
    let stream = soon("the stream", asked).await.unwrap();
    for _ in 0..2 {
        node = again(&server, node, &[&job]).await;
        let mut once_more = Sent::default();
        for _ in 0..600 {
            node.chunk(&job, &mut once_more, &[ChunkChoice::text(0, "x")]).await;
        }
    }
    let result = node.stream_result(&job, &sent, Outcome::Complete);
    node.send(result).await;
    let (text, error) = rest(stream).await;
    assert!(error.is_none() && text.len() == 600, "{} {error:?}", text.len());
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

/// `x-resultity-ttl` is a way to hang up: what came until then is paid for.
#[tokio::test]
async fn a_stream_that_its_asker_wants_to_end_is_paid_for_as_far_as_it_came() {
    let (server, mut node) = server_and_node().await;
    let api = crate::harness::api::Api::new(&server);
    let body = serde_json::json!({
        "model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10, "stream": true,
    });
    let ttl = [("x-resultity-ttl", "1")];
    let asked = api.call(reqwest::Method::POST, "/v1/chat/completions", &ttl, Some(body));
    let works = async {
        let job = node.next_job().await;
        let mut sent = Sent::default();
        node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "half an ")]).await;
        node.cancel_of(job.job_id).await;
        let result = node.stream_result(&job, &sent, Outcome::Partial);
        node.send(result).await;
        node.ack_of(job.job_id).await.outcome
    };
    let (said, outcome) = tokio::join!(asked, works);
    assert_eq!(outcome, AckOutcome::Recorded);
    assert!(
        said.body.contains("half an ") && said.body.contains(ErrorCode::DeadlineExceeded.as_str()),
        "{}",
        said.body
    );
    assert!(!said.body.contains("[DONE]"), "{}", said.body);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

/// The same where its node says nothing in time: it is not paid.
#[tokio::test]
async fn a_stream_that_its_asker_wants_to_end_costs_nothing_without_a_signed_result() {
    let (server, mut node) = server_and_node().await;
    let api = crate::harness::api::Api::new(&server);
    let body = serde_json::json!({
        "model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10, "stream": true,
    });
    let ttl = [("x-resultity-ttl", "1")];
    let asked = api.call(reqwest::Method::POST, "/v1/chat/completions", &ttl, Some(body));
    let works = async {
        let job = node.next_job().await;
        node.chunk(&job, &mut Sent::default(), &[ChunkChoice::text(0, "half an ")])
            .await;
        node.cancel_of(job.job_id).await;
        pass(Duration::from_secs(6)).await;
    };
    let (said, ()) = tokio::join!(asked, works);
    assert!(
        said.body.contains(ErrorCode::DeadlineExceeded.as_str()),
        "{}",
        said.body
    );
    server.assert_charged(Credits::ZERO).await;
    invariants(&server).await;
}
