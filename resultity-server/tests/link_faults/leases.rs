//! Each row of the table of leases, over a real socket.

use std::time::Duration;

use resultity_core::api::cloud::ChatApi;
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::job::JobState;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::{AckOutcome, CancelReason, Decline, DeclineCode, ServerFrame};
use resultity_server::assemble::Offer;
use rstest::rstest;

use crate::harness::invariants::invariants;
use crate::harness::node::{Sent, TestNode};
use crate::harness::{TestServer, model, soon};
use crate::{COST, again, ask, ask_for_stream, held, pass, request, server_and_node, text_of, with_node};

#[tokio::test]
async fn a_lease_is_on_disk_before_its_job_is_sent() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    let record = server.store.job(job.job_id).await.unwrap().unwrap();
    assert_eq!(
        (record.state, record.node, record.attempt),
        (JobState::Leased, Some(node.id()), Some(job.attempt))
    );
    assert!(job.deadline > SystemClock.now());
    node.answer(&job, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    invariants(&server).await;
}

#[rstest]
#[case::busy(DeclineCode::Busy)]
#[case::draining(DeclineCode::Draining)]
#[case::model_missing(DeclineCode::ModelMissing)]
#[tokio::test]
async fn a_job_that_is_declined_is_the_next_nodes(#[case] code: DeclineCode) {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    // One that is only busy may get it again; else there has to be another.
    let mut other = match code {
        DeclineCode::Busy => None,
        _ => Some(server.node_in_rotation("m", 1).await),
    };
    let decline = Decline {
        job_id: job.job_id,
        attempt: job.attempt,
        lease_token: job.lease_token,
        code,
    };
    node.send(decline).await;
    let next = other.as_mut().unwrap_or(&mut node);
    let second = next.next_job().await;
    assert_eq!((second.job_id, second.attempt.get()), (job.job_id, 2));
    assert_ne!(second.lease_token, job.lease_token);
    next.answer(&second, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    // Nothing of that is held against who was busy or is about to leave.
    if code != DeclineCode::ModelMissing {
        let (rejoined, asked) = (&mut node, ask(&server));
        if other.is_some() {
            drop(other);
        }
        let third = rejoined.next_job().await;
        rejoined.answer(&third, "me again").await;
        assert_eq!(text_of(asked).await, "me again");
    }
    invariants(&server).await;
}

#[tokio::test]
async fn a_job_that_is_not_accepted_in_time_is_the_next_nodes() {
    let mut offer = Offer::new(vec![model("m")]);
    offer.jobs.accept_timeout_ms = 4_000;
    let (server, one) = with_node(offer).await;
    let other = server.node_in_rotation("m", 1).await;
    let asked = ask(&server);
    let (mut node, job, mut other) = TestNode::whoever_is_given(one, other).await;
    let second = other.next_job().await;
    other.accept(&second).await;
    assert_eq!((second.job_id, second.attempt.get()), (job.job_id, 2));
    node.cancel_of(job.job_id).await;
    // Its result is too late.
    node.answer(&job, "late").await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    let result = other.result(&second, "hi");
    other.send(result).await;
    assert_eq!(text_of(asked).await, "hi");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_lease_goes_on_for_as_long_as_heartbeats_name_it() {
    let mut offer = Offer::new(vec![model("m")]);
    offer.jobs.lease_ms = 5_000;
    let (server, mut node) = with_node(offer).await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let first = node.renewed(1, &[held(&job)]).await[0].deadline;
    let mut seq = 1;
    // Longer than the lease would last by itself.
    while SystemClock.now() < first.after(Duration::from_millis(500)) {
        seq += 1;
        assert_eq!(node.renewed(seq, &[held(&job)]).await.len(), 1);
    }
    let result = node.result(&job, "at last");
    node.send(result).await;
    assert_eq!(text_of(asked).await, "at last");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn no_heartbeat_keeps_a_job_beyond_its_own_deadline() {
    let mut offer = Offer::new(vec![model("m")]);
    (offer.jobs.lease_ms, offer.jobs.deadline_ms) = (5_000, 7_000);
    let (server, mut node) = with_node(offer).await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut seq = 0;
    loop {
        seq += 1;
        let heartbeat = node.signed_heartbeat(seq, 1, &[held(&job)], SystemClock.now());
        node.send_text(heartbeat).await;
        match node.next().await {
            ServerFrame::Cancel(cancel) => {
                assert_eq!((cancel.job_id, cancel.reason), (job.job_id, CancelReason::Deadline));
                break;
            }
            ServerFrame::HeartbeatAck(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let error = soon("the end", asked).await.unwrap().unwrap_err();
    assert!(
        matches!(error.code, ErrorCode::Timeout | ErrorCode::DeadlineExceeded),
        "{error:?}"
    );
    server.assert_charged(Credits::ZERO).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_result_counts_once_and_is_acknowledged_as_often_as_it_comes() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.answer(&job, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    for _ in 0..3 {
        let result = node.result(&job, "hi");
        node.send(result).await;
        assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    }
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_result_that_fails_a_check_ends_its_attempt_and_the_next_node_is_paid() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    let mut other = server.node_in_rotation("m", 1).await;
    let mut lie = node.result(&job, "hi");
    lie.request_hash = resultity_core::B256::repeat_byte(1);
    node.sign(&mut lie);
    node.send(lie).await;
    let second = other.next_job().await;
    assert_eq!((second.job_id, second.attempt.get()), (job.job_id, 2));
    other.answer(&second, "hi there").await;
    assert_eq!(text_of(asked).await, "hi there");
    let record = server.store.job(job.job_id).await.unwrap().unwrap();
    assert_eq!(record.node, Some(other.id()));
    // The right one comes too late.
    let late = node.result(&job, "hi");
    node.send(late).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_lease_that_runs_out_moves_its_job_on_up_to_the_limit() {
    let mut offer = Offer::new(vec![model("m")]);
    (offer.jobs.lease_ms, offer.jobs.max_attempts) = (5_000, 2);
    let (server, one) = with_node(offer).await;
    let other = server.node_in_rotation("m", 1).await;
    let asked = ask(&server);
    let (mut node, job, mut other) = TestNode::whoever_is_given(one, other).await;
    node.accept(&job).await;
    let second = other.next_job().await;
    assert_eq!((second.job_id, second.attempt.get()), (job.job_id, 2));
    other.accept(&second).await;
    let error = soon("the end", asked).await.unwrap().unwrap_err();
    assert!(
        matches!(error.code, ErrorCode::NodeFailed | ErrorCode::NoCapacity),
        "{error:?}"
    );
    for (node, job) in [(&mut node, &job), (&mut other, &second)] {
        let late = node.result(job, "late");
        node.send(late).await;
        assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    }
    server.assert_charged(Credits::ZERO).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_node_whose_link_drops_goes_on_if_it_resumes() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut node = again(&server, node, &[&job]).await;
    let leases: Vec<_> = node.welcome.leases.iter().map(|lease| lease.job_id).collect();
    assert_eq!(leases, [job.job_id]);
    // Longer than it would have waited for the node.
    pass(crate::GRACE).await;
    let result = node.result(&job, "still here");
    node.send(result).await;
    assert_eq!(text_of(asked).await, "still here");
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_node_that_comes_back_without_its_job_loses_it() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut other = server.node_in_rotation("m", 1).await;
    let _node = again(&server, node, &[]).await;
    let second = other.next_job().await;
    assert_eq!((second.job_id, second.attempt.get()), (job.job_id, 2));
    other.answer(&second, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_cancel_is_answered_by_a_partial_result_that_is_paid() {
    let (server, mut node) = server_and_node().await;
    let client = server.client();
    let asked = tokio::spawn(async move { client.chat_stream(request("hello")).await.unwrap() });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "hi")]).await;
    drop(soon("the stream", asked).await.unwrap());
    node.cancel_of(job.job_id).await;
    let result = node.stream_result(&job, &sent, Outcome::Partial);
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_cancel_that_is_not_answered_releases_the_hold() {
    let (server, mut node) = server_and_node().await;
    let client = server.client();
    let asked = tokio::spawn(async move { client.chat_stream(request("hello")).await.unwrap() });
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "hi")]).await;
    drop(soon("the stream", asked).await.unwrap());
    node.cancel_of(job.job_id).await;
    pass(Duration::from_secs(6)).await;
    server.assert_charged(Credits::ZERO).await;
    let result = node.stream_result(&job, &sent, Outcome::Partial);
    node.send(result).await;
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    invariants(&server).await;
}

#[tokio::test]
async fn after_a_restart_no_lease_counts_and_what_is_kept_begins_anew() {
    let (server, mut node) = server_and_node().await;
    let waits = ask(&server);
    let lost = node.next_job().await;
    node.accept(&lost).await;
    let mut second = server.node_in_rotation("m", 1).await;
    let kept = server
        .client()
        .create_job(JobRequest::chat(&request("hello")).unwrap())
        .await
        .unwrap();
    let job = second.next_job().await;
    second.accept(&job).await;
    assert_eq!(job.job_id, kept.id);

    let server = server.restarted(Offer::new(vec![model("m")])).await;
    assert!(soon("the end", waits).await.unwrap().is_err());
    let mut node = again(&server, node, &[&lost]).await;
    assert!(node.welcome.leases.is_empty());
    let result = node.result(&lost, "for nobody");
    node.send(result).await;
    assert_eq!(node.ack_of(lost.job_id).await.outcome, AckOutcome::Superseded);
    drop(node);
    let mut second = again(&server, second, &[&job]).await;
    assert!(second.welcome.leases.is_empty());
    let result = second.result(&job, "of the first try");
    // Readiness first; then the job in the background, as a new attempt.
    second.pass_readiness().await;
    let anew = second.next_job().await;
    assert_eq!(anew.job_id, job.job_id);
    assert!(anew.attempt > job.attempt);
    second.send(result).await;
    assert_eq!(second.ack_of(job.job_id).await.outcome, AckOutcome::Superseded);
    second.answer(&anew, "of the second").await;
    assert_eq!(second.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_node_without_heartbeats_is_out_of_rotation_until_the_next_valid_one() {
    let mut offer = Offer::new(vec![model("m")]);
    offer.heartbeat_interval_ms = 2_000;
    let (server, mut node) = with_node(offer).await;
    let flow = server.running.app().flow();
    let is_in = || {
        let view = flow.fleet.node(node.key.node_id());
        view.is_some_and(|view| view.in_rotation(flow.clock.now()))
    };
    soon("the end of patience", async {
        while is_in() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    node.heartbeat(1).await;
    let flow = server.running.app().flow();
    soon("a node in rotation", async {
        while !flow
            .fleet
            .node(node.key.node_id())
            .is_some_and(|view| view.in_rotation(flow.clock.now()))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let asked = ask_for_stream(&server);
    let job = node.next_job().await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "back")]).await;
    let result = node.stream_result(&job, &sent, Outcome::Complete);
    node.send(result).await;
    assert_eq!(soon("the text", asked).await.unwrap().unwrap(), "back");
    invariants(&server).await;
}

/// A server that is about to stop lets the jobs of its nodes end.
#[tokio::test]
async fn a_server_that_stops_says_goodbye_after_the_last_job() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let stop_intake = server.running.app().stop_intake.clone();
    let TestServer {
        running,
        store,
        data_dir,
        ..
    } = server;
    let stopping = tokio::spawn(running.stop(Duration::from_secs(20)));
    soon("the first stage", stop_intake.cancelled()).await;
    node.answer(&job, "just in time").await;
    assert_eq!(text_of(asked).await, "just in time");
    assert_eq!(node.close_code().await, 1001);
    soon("the stop", stopping).await.unwrap();
    crate::harness::invariants::invariants_of(&*store, data_dir.path()).await;
}
