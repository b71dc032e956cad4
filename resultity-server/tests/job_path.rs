//! The way of a job, with a node whose every step the test decides: what is answered, and what is charged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::time::Duration;

use futures::StreamExt;
use harness::node::{Sent, TestNode};
use harness::{TestServer, soon, timeless};
use resultity_core::api::cloud::{ChatApi, Reply};
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::JobState;
use resultity_core::openai::chat::{ChatCompletion, ChatRequest, ChunkChoice, Message};
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{AckOutcome, FailureCode, ServerFrame};
use resultity_server::assemble::Offer;
use tokio::task::JoinHandle;

/// Three prompt tokens, two made: what every answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

fn request() -> ChatRequest {
    ChatRequest::new("m", [Message::user("hello")]).max_tokens(10)
}

/// A server that serves the model `m` by one node with one slot.
async fn server_and_node() -> (TestServer, TestNode) {
    let server = TestServer::start().await;
    let node = server.node_in_rotation("m", 1).await;
    server.until_served("m").await;
    (server, node)
}

/// Asks over HTTP for a whole answer; dropping or aborting this is a client that goes away.
fn ask(server: &TestServer) -> JoinHandle<Result<Reply<ChatCompletion>, ApiError>> {
    let client = server.client();
    tokio::spawn(async move { client.chat(request()).await })
}

#[tokio::test]
async fn an_answer_is_verified_paid_for_and_given() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.answer(&job, "hi there").await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    let reply = soon("the answer", asked).await.unwrap().unwrap();
    assert_eq!(reply.text(), "hi there");
    assert_eq!(reply.meta.cost, Some(COST));
    assert_eq!(reply.meta.job_id, Some(job.job_id));
    let record = server.store.job(job.job_id).await.unwrap().unwrap();
    assert_eq!(
        (record.state, record.node, record.cost),
        (JobState::Succeeded, Some(node.id()), Some(COST))
    );
    // The same result again: the same ack, and nothing happens.
    let again = node.result(&job, "hi there");
    node.send(again).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_stream_passes_chunks_on_and_ends_after_settlement() {
    let (server, mut node) = server_and_node().await;
    let asked = tokio::spawn({
        let client = server.client();
        async move { client.chat_stream(request().include_usage()).await }
    });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.accept(&job).await;
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "hi ")]).await;
    let mut stream = soon("the stream", asked).await.unwrap().unwrap();
    let role = soon("the role", stream.next()).await.unwrap().unwrap();
    assert_eq!(role.choices[0].delta.role.as_deref(), Some("assistant"));
    assert_eq!(
        soon("the first text", stream.next()).await.unwrap().unwrap().text(),
        "hi "
    );
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "there")]).await;
    node.chunk(&job, &mut sent, &[ChunkChoice::finish(0, "length")]).await;
    assert_eq!(
        soon("the second text", stream.next()).await.unwrap().unwrap().text(),
        "there"
    );
    let result = node.stream_result(&job, &sent, Outcome::Complete);
    node.send(result).await;
    let finish = soon("the end", stream.next()).await.unwrap().unwrap();
    assert_eq!(finish.choices[0].finish_reason.as_deref(), Some("length"));
    let usage = soon("the usage", stream.next()).await.unwrap().unwrap();
    assert_eq!(usage.usage.map(|usage| usage.total_tokens), Some(5));
    assert!(stream.next().await.is_none());
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_job_whose_node_dies_before_output_moves_to_another() {
    for stream in [false, true] {
        let server = TestServer::start().await;
        let mut first = server.node_in_rotation("m", 1).await;
        server.until_served("m").await;
        let asked = tokio::spawn({
            let client = server.client();
            async move {
                if stream {
                    let chunks: Vec<_> = client.chat_stream(request()).await?.collect().await;
                    chunks
                        .into_iter()
                        .map(|chunk| chunk.map(|chunk| chunk.text().to_owned()))
                        .collect()
                } else {
                    client.chat(request()).await.map(|reply| reply.text().to_owned())
                }
            }
        });
        let job = first.next_job().await;
        first.accept(&job).await;
        let mut second = server.node_in_rotation("m", 1).await;
        drop(first);
        let again = second.next_job().await;
        assert_eq!((again.job_id, again.attempt.get()), (job.job_id, 2));
        assert_ne!(again.lease_token, job.lease_token);
        if stream {
            let mut sent = Sent::default();
            second.chunk(&again, &mut sent, &[ChunkChoice::text(0, "second")]).await;
            let result = second.stream_result(&again, &sent, Outcome::Complete);
            second.send(result).await;
        } else {
            second.answer(&again, "second").await;
        }
        assert_eq!(soon("the answer", asked).await.unwrap().unwrap(), "second");
        server.assert_charged(COST).await;
    }
}

#[tokio::test]
async fn a_stream_whose_node_dies_after_output_ends_in_an_error_and_costs_nothing() {
    let (server, mut node) = server_and_node().await;
    let mut other = TestNode::ready(&server.io_url(), "m", 0).await;
    let asked = tokio::spawn({
        let client = server.client();
        async move { client.chat_stream(request()).await.unwrap().collect::<Vec<_>>().await }
    });
    // Whichever has it.
    let (job, mut node) = tokio::select! {
        job = node.next_job() => (job, node),
        job = other.next_job() => (job, other),
    };
    node.chunk(&job, &mut Sent::default(), &[ChunkChoice::text(0, "half an ")])
        .await;
    drop(node);
    let chunks = soon("the end of the stream", asked).await.unwrap();
    let error = chunks.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.code, ErrorCode::NodeFailed);
    let text: String = chunks
        .iter()
        .flatten()
        .map(resultity_core::openai::chat::ChatChunk::text)
        .collect();
    assert!(text.is_empty() || text == "half an ", "{text:?}");
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_job_at_the_node() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    asked.abort();
    node.cancel_of(job.job_id).await;
    // Too late, and not wanted: neither billed nor paid.
    let result = node.result(&job, "too late");
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    server.assert_charged(Credits::ZERO).await;
    assert_eq!(
        server.store.job(job.job_id).await.unwrap().unwrap().state,
        JobState::Cancelled
    );
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_pays_for_what_was_made_until_then() {
    let (server, mut node) = server_and_node().await;
    let asked = tokio::spawn({
        let client = server.client();
        async move { client.chat_stream(request()).await.unwrap() }
    });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "hi")]).await;
    let stream = soon("the stream", asked).await.unwrap();
    drop(stream);
    node.cancel_of(job.job_id).await;
    let result = node.stream_result(&job, &sent, Outcome::Partial);
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    assert_eq!(
        server.store.job(job.job_id).await.unwrap().unwrap().state,
        JobState::Cancelled
    );
}

#[tokio::test]
async fn a_lying_node_is_not_paid_and_the_job_moves_on() {
    let (server, mut liar) = server_and_node().await;
    let asked = ask(&server);
    let job = liar.next_job().await;
    let mut honest = server.node_in_rotation("m", 1).await;
    let mut result = liar.result(&job, "a lie");
    let stranger = Keypair::generate(&resultity_core::clock::SystemEntropy);
    result.signature = stranger.sign(resultity_core::B256::ZERO);
    liar.send(result).await;
    let again = honest.next_job().await;
    honest.answer(&again, "the truth").await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "the truth");
    // What the liar signs now, rightly, comes too late.
    let late = liar.result(&job, "late");
    liar.send(late).await;
    assert_eq!(liar.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn when_all_nodes_fail_nothing_is_charged() {
    let (server, mut node) = server_and_node().await;
    for (code, expected) in [
        (FailureCode::EngineFailed, ErrorCode::NoCapacity),
        (FailureCode::ContextLengthExceeded, ErrorCode::ContextLengthExceeded),
        (FailureCode::InvalidRequest, ErrorCode::InvalidValue),
    ] {
        let asked = ask(&server);
        let job = node.next_job().await;
        let failure = node.failure(&job, code);
        node.send(failure).await;
        assert_eq!(
            soon("the error", asked).await.unwrap().unwrap_err().code,
            expected,
            "{code:?}"
        );
    }
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_node_that_does_not_accept_loses_the_job() {
    let mut offer = Offer::new(vec![harness::model("m")]);
    offer.jobs.accept_timeout_ms = 4_000;
    let server = TestServer::with(offer).await;
    let mut node = server.node_in_rotation("m", 1).await;
    server.until_served("m").await;
    let client = server.client();
    let error = soon("the error", client.chat(request())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCapacity);
    let job = node.next_job().await;
    node.answer(&job, "late").await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_job_that_finds_all_nodes_busy_waits_and_expires_in_the_end() {
    let mut offer = Offer::new(vec![harness::model("m")]);
    offer.jobs.queue_ttl_ms = 2_000;
    let server = TestServer::with(offer).await;
    let mut node = server.node_in_rotation("m", 1).await;
    server.until_served("m").await;
    let first = ask(&server);
    let job = node.next_job().await;
    let client = server.client();
    let error = soon("the error", client.chat(request())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCapacity);
    assert!(error.retry_after.is_some_and(|after| after >= Duration::from_secs(1)));
    node.answer(&job, "done").await;
    assert_eq!(soon("the answer", first).await.unwrap().unwrap().text(), "done");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_node_whose_link_drops_may_come_back_and_deliver() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let result = node.result(&job, "after the break");
    let resume = node.resume(vec![(job.job_id, job.attempt)]);
    let key = node.key.clone();
    let url = server.io_url();
    // Its job waits for it for seconds.
    let mut node = timeless(async {
        drop(node);
        TestNode::connect(&url, key, "m", 1, Some(resume)).await
    })
    .await;
    assert_eq!(
        node.welcome.leases.iter().map(|lease| lease.job_id).collect::<Vec<_>>(),
        [job.job_id]
    );
    node.send(result).await;
    assert_eq!(
        soon("the answer", asked).await.unwrap().unwrap().text(),
        "after the break"
    );
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_second_link_of_a_node_replaces_the_first() {
    let server = TestServer::start().await;
    let mut first = server.node_in_rotation("m", 1).await;
    let mut second = TestNode::connect(&server.io_url(), first.key.clone(), "m", 1, None).await;
    assert_eq!(first.close_code().await, 4000);
    second.pass_readiness().await;
    server.until_served("m").await;
}

#[tokio::test]
async fn frames_that_are_unknown_are_told_and_malformed_ones_end_the_link() {
    let server = TestServer::start().await;
    let mut node = server.node_in_rotation("m", 1).await;
    node.send_text(r#"{"type":"from_the_future","x":1}"#.into()).await;
    assert!(matches!(node.next().await, ServerFrame::Error(error) if error.code == "unknown_type"));
    node.send_text(r#"{"type":"accept"}"#.into()).await;
    assert_eq!(node.close_code().await, 1007);
}

#[tokio::test]
async fn a_stop_lets_running_jobs_finish() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    let TestServer { running, store, .. } = server;
    let stop_intake = running.app().stop_intake.clone();
    let stopping = tokio::spawn(running.stop(harness::PATIENCE));
    soon("the first stage", stop_intake.cancelled()).await;
    node.answer(&job, "just in time").await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "just in time");
    assert_eq!(node.close_code().await, 1001);
    soon("the stop", stopping).await.unwrap();
    let report = store.audit().await.unwrap();
    assert_eq!((report.open_holds, report.problems), (0, Vec::new()));
}

#[tokio::test]
async fn an_idle_node_gets_work_once_an_account_has_bound_it() {
    let mut offer = Offer::new(vec![harness::model("m")]);
    offer.heartbeat_interval_ms = 60_000;
    let server = TestServer::with_policy(offer, resultity_server::link::LinkPolicy::default()).await;
    let key = Keypair::generate(&resultity_core::clock::SystemEntropy);
    let mut node = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    assert!(!node.welcome.bound);
    node.heartbeat(1).await;
    assert!(
        matches!(node.next().await, ServerFrame::HeartbeatAck(_)),
        "idle: no readiness job"
    );
    let account = server.store.account("tester").await.unwrap().unwrap();
    let now = resultity_core::clock::Clock::now(&resultity_core::clock::SystemClock);
    let environment = resultity_core::environment::Environment::Testnet;
    let store = &server.store;
    store.register_node(node.id(), environment, now).await.unwrap();
    let bound = store.bind_node(node.id(), environment, account, now).await;
    assert!(bound.unwrap().is_some());
    node.heartbeat(2).await;
    node.pass_readiness().await;
    server.until_served("m").await;
}

#[tokio::test]
async fn a_partial_result_that_nobody_asked_for_is_not_paid() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    let mut result = node.result(&job, "half");
    result.outcome = Outcome::Partial;
    node.sign(&mut result);
    node.send(result).await;
    let error = soon("the error", asked).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCapacity);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn what_a_bad_node_said_is_not_taken_for_the_next_ones() {
    let (server, mut bad) = server_and_node().await;
    let asked = tokio::spawn({
        let client = server.client();
        async move {
            let chunks: Vec<_> = client.chat_stream(request()).await?.collect().await;
            chunks
                .into_iter()
                .map(|chunk| chunk.map(|chunk| chunk.text().to_owned()))
                .collect::<Result<String, _>>()
        }
    });
    let job = bad.next_job().await;
    let mut good = server.node_in_rotation("m", 1).await;
    // A chunk out of order ends the attempt; what follows at once must not reach the client.
    let mut sent = Sent {
        count: 5,
        ..Sent::default()
    };
    bad.chunk(&job, &mut sent, &[ChunkChoice::text(0, "junk")]).await;
    bad.chunk(&job, &mut Sent::default(), &[ChunkChoice::text(0, "evil")])
        .await;
    for _ in 0..200 {
        bad.accept(&job).await;
    }
    let again = good.next_job().await;
    let mut sent = Sent::default();
    good.chunk(&again, &mut sent, &[ChunkChoice::text(0, "good")]).await;
    let result = good.stream_result(&again, &sent, Outcome::Complete);
    good.send(result).await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap(), "good");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_refusal_by_one_node_is_put_to_another() {
    let (server, mut liar) = server_and_node().await;
    let asked = ask(&server);
    let job = liar.next_job().await;
    let mut honest = server.node_in_rotation("m", 1).await;
    let failure = liar.failure(&job, FailureCode::InvalidRequest);
    liar.send(failure).await;
    let again = honest.next_job().await;
    honest.answer(&again, "it can be answered").await;
    assert_eq!(
        soon("the answer", asked).await.unwrap().unwrap().text(),
        "it can be answered"
    );
    server.assert_charged(COST).await;
}
