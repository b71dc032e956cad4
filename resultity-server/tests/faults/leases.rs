//! Leases that were lost, results that come twice, late, or after the job was cancelled.

use resultity_core::api::cloud::ChatApi;
use resultity_core::clock::{Clock, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::id::LeaseToken;
use resultity_core::job::JobState;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::{HeartbeatData, Outcome, TypedData};
use resultity_core::wire::{AckOutcome, Heartbeat, Load, NodeFrame, RunningJob, ServerFrame, body_hash};

use crate::harness::invariants::invariants;
use crate::harness::node::{Sent, TestNode};
use crate::harness::{TestServer, soon};
use crate::{COST, ask, request, with_short_leases};

/// A heartbeat that names these jobs as its own.
async fn claims(node: &mut TestNode, seq: u64, running: Vec<RunningJob>) {
    let mut heartbeat = Heartbeat {
        seq,
        issued_at: SystemClock.now(),
        load: Load {
            slots: 1,
            ..Load::default()
        },
        running,
        models: node.models.clone(),
        runtime: resultity_core::wire::RuntimeInfo {
            healthy: true,
            ..Default::default()
        },
        hardware: resultity_core::wire::Hardware::default(),
        config_digest: None,
        signature: None,
    };
    let data = HeartbeatData {
        nodeId: node.key.address(),
        sessionId: node.session.to_string(),
        seq,
        issuedAt: heartbeat.issued_at.as_millis() as u64,
        bodyHash: body_hash(&NodeFrame::from(heartbeat.clone()).encode()).unwrap(),
    };
    heartbeat.signature = Some(data.sign(&node.domain, &node.key));
    node.send(heartbeat).await;
}

#[tokio::test]
async fn a_node_that_claims_a_lease_that_it_lost_gets_nothing() {
    let server = TestServer::with(with_short_leases()).await;
    let one = TestNode::ready(&server.io_url(), "m", 1).await;
    let other = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let (mut first, job, mut second) = TestNode::whoever_is_given(one, other).await;
    first.accept(&job).await;
    // It does not renew its lease: the job moves on.
    let again = second.next_job().await;
    assert_eq!((again.job_id, again.attempt.get()), (job.job_id, 2));
    second.accept(&again).await;

    for attempt in [job.attempt, again.attempt] {
        let running = RunningJob {
            job_id: job.job_id,
            attempt,
        };
        claims(&mut first, u64::from(attempt.get()), vec![running]).await;
        let renewed = loop {
            if let ServerFrame::HeartbeatAck(ack) = first.next().await {
                break ack.renewed;
            }
        };
        assert!(renewed.is_empty(), "{renewed:?}");
    }
    // Its own attempt, the other's, and the other's with a token that it made up.
    let late = first.result(&job, "late");
    first.send(late).await;
    assert_eq!(first.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    let mut stolen = again.clone();
    for token in [again.lease_token, LeaseToken::new(&SystemClock, &SystemEntropy)] {
        stolen.lease_token = token;
        let result = first.result(&stolen, "stolen");
        first.send(result).await;
        assert_eq!(first.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    }
    second.answer(&again, "right").await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "right");
    assert_eq!(second.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    let record = server.store.job(job.job_id).await.unwrap().unwrap();
    assert_eq!((record.state, record.node), (JobState::Succeeded, Some(second.id())));
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_result_that_comes_again_and_again_counts_once() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let job = node.next_job().await;
    node.accept(&job).await;
    let result = node.result(&job, "once");
    for _ in 0..3 {
        node.send(result.clone()).await;
    }
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "once");
    // Those that came while the first was being settled are told the same by its one ack.
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    // Over a new link, and another text for the same lease.
    let key = node.key.clone();
    drop(node);
    let mut node = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    let other = node.result(&job, "twice");
    node.send(other).await;
    node.ack_of(job.job_id).await;
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_partial_result_that_was_paid_is_told_the_same_when_it_comes_again() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let client = server.client();
    let asked = tokio::spawn(async move { client.chat_stream(request("hello")).await.unwrap() });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "hi")]).await;
    drop(soon("the stream", asked).await.unwrap());
    node.cancel_of(job.job_id).await;
    let result = node.stream_result(&job, &sent, Outcome::Partial);
    node.send(result.clone()).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_result_after_its_job_was_cancelled_is_neither_paid_nor_told() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = crate::harness::api::Api::new(&server);
    let body = serde_json::json!({"endpoint": "/v1/chat/completions", "body": crate::harness::api::chat()});
    let submitted = api.post("/v1/jobs", body).await.json();
    let id = submitted["id"].as_str().unwrap();
    let job = node.next_job().await;
    node.accept(&job).await;
    let cancelled = api.post(&format!("/v1/jobs/{id}/cancel"), serde_json::json!({})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    node.cancel_of(job.job_id).await;
    for outcome in [Outcome::Complete, Outcome::Partial] {
        let mut result = node.result(&job, "too late");
        result.outcome = outcome;
        node.sign(&mut result);
        node.send(result).await;
        assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    }
    let found = api.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(
        (&found["status"], &found["result"]),
        (&"cancelled".into(), &serde_json::Value::Null)
    );
    server.assert_charged(Credits::ZERO).await;
    invariants(&server).await;
}
