//! Links that are replaced, that nobody reads from, and that end because their node leaves.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::{AckOutcome, ControlAction, ErrorFrame, Resume};
use resultity_node::agent::{Agent, AgentStatus};
use resultity_server::store::fleet::NodeChange;
use tokio_util::sync::CancellationToken;

use crate::agent::Parrot;
use crate::harness::invariants::invariants;
use crate::harness::node::{Sent, TestNode};
use crate::harness::{TestServer, soon, timeless};
use crate::{COST, GRACE, ask, ask_for_stream, held, pass, request, server_and_node, text_of, until_gone};

/// Another link of the same node while the first one stands.
async fn beside(server: &TestServer, node: &TestNode, resume: Resume) -> TestNode {
    timeless(TestNode::connect(
        &server.io_url(),
        node.key.clone(),
        "m",
        1,
        Some(resume),
    ))
    .await
}

#[tokio::test]
async fn a_second_link_replaces_the_first_and_running_jobs_go_on() {
    let (server, mut first) = server_and_node().await;
    let asked = ask_for_stream(&server);
    let job = first.next_job().await;
    let mut sent = Sent::default();
    first.chunk(&job, &mut sent, &[ChunkChoice::text(0, "one ")]).await;
    let mut second = beside(&server, &first, first.resume(vec![held(&job)])).await;
    assert_eq!(first.close_code().await, 4000);
    pass(GRACE).await;
    second.chunk(&job, &mut sent, &[ChunkChoice::text(0, "two")]).await;
    let result = second.stream_result(&job, &sent, Outcome::Complete);
    second.send(result).await;
    assert_eq!(soon("the text", asked).await.unwrap().unwrap(), "one two");
    assert_eq!(second.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

/// A hello has no room for all: the node says of the others by what it sends of them.
#[tokio::test]
async fn an_attempt_that_a_hello_had_no_room_for_goes_on_by_its_next_chunk() {
    let (server, mut first) = server_and_node().await;
    let client = server.client();
    let asked = tokio::spawn(async move {
        use futures::StreamExt as _;
        use resultity_core::api::cloud::ChatApi as _;
        let mut stream = client.chat_stream(request("hello")).await.unwrap();
        let (mut text, tell) = (String::new(), tokio::sync::watch::Sender::new(String::new()));
        let seen = tell.subscribe();
        let rest = tokio::spawn(async move {
            while let Some(piece) = stream.next().await {
                text.push_str(piece.unwrap().text());
                tell.send_replace(text.clone());
            }
            text
        });
        (seen, rest)
    });
    let job = first.next_job().await;
    let mut sent = Sent::default();
    first.chunk(&job, &mut sent, &[ChunkChoice::text(0, "one ")]).await;
    let more = Resume {
        more: true,
        ..first.resume(Vec::new())
    };
    let mut second = beside(&server, &first, more).await;
    second.chunk(&job, &mut sent, &[ChunkChoice::text(0, "two ")]).await;
    let (mut seen, rest) = soon("the stream", asked).await.unwrap();
    soon("the second chunk", seen.wait_for(|text| text.contains("two")))
        .await
        .unwrap();
    pass(GRACE).await;
    second.chunk(&job, &mut sent, &[ChunkChoice::text(0, "three")]).await;
    let result = second.stream_result(&job, &sent, Outcome::Complete);
    second.send(result).await;
    assert_eq!(soon("the text", rest).await.unwrap(), "one two three");
    assert_eq!(second.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn an_attempt_of_a_replaced_link_that_nobody_speaks_of_moves_on() {
    let (server, mut first) = server_and_node().await;
    let asked = ask(&server);
    let job = first.next_job().await;
    first.accept(&job).await;
    let mut other = server.node_in_rotation("m", 1).await;
    let more = Resume {
        more: true,
        ..first.resume(Vec::new())
    };
    let _second = beside(&server, &first, more).await;
    assert_eq!(first.close_code().await, 4000);
    pass(GRACE).await;
    let next = other.next_job().await;
    assert_eq!((next.job_id, next.attempt.get()), (job.job_id, 2));
    other.answer(&next, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_node_that_reads_nothing_is_cut_off_and_its_job_moves_on() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut other = server.node_in_rotation("m", 1).await;
    let (id, flow) = (node.id(), server.running.app().flow());
    // As many frames as may wait: no more are taken. The network's memory of them is bounded by that.
    let long = ErrorFrame {
        code: "long".into(),
        message: "x".repeat(8 * 1024),
        frame: None,
    };
    let mut taken: usize = 0;
    soon("a full queue", async {
        let mut refusals = 0;
        while refusals < 3 {
            if flow.bus.send_to_node(id, long.clone()) {
                taken += 1;
                refusals = 0;
            } else {
                refusals += 1;
            }
            // What can be written is written.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    assert!(taken < 20_000, "{taken}");
    pass(Duration::from_secs(31)).await;
    until_gone(&server, id).await;
    // It missed its heartbeats, as far as the clock goes.
    other.renewed(1, &[]).await;
    pass(GRACE).await;
    let next = other.next_job().await;
    assert_eq!((next.job_id, next.attempt.get()), (job.job_id, 2));
    other.answer(&next, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_finishes_its_job_takes_no_other_and_leaves() {
    let server = TestServer::start().await;
    let flow = server.running.app().flow();
    let (runtime, dir) = (Parrot::stopping(), tempfile::tempdir().unwrap());
    let agent = Agent::builder(server.io_url(), dir.path()).runtime(Arc::new(runtime.clone()));
    let agent = agent.build().unwrap();
    let (id, mut status, stop) = (agent.node_id(), agent.status(), CancellationToken::new());
    let task = tokio::spawn(agent.run(stop.clone()));
    server.until_served("m").await;
    let asked = ask(&server);
    runtime.until_stopped().await;
    let change = NodeChange {
        paused: Some(true),
        ..NodeChange::default()
    };
    let account = server.principal.account;
    let environment = resultity_core::environment::Environment::Testnet;
    let changed = server
        .store
        .update_node(account, id, environment, change, SystemClock.now());
    changed.await.unwrap().unwrap();
    flow.fleet_changed(id);
    assert!(flow.control(id, ControlAction::Drain));
    soon("the pause", status.wait_for(|status| status.paused))
        .await
        .unwrap();
    let mut other = server.node_in_rotation("m", 1).await;
    let second = ask(&server);
    let job = other.next_job().await;
    other.answer(&job, "from another").await;
    assert_eq!(text_of(second).await, "from another");
    assert!(status.borrow().connected && status.borrow().running == 1);
    runtime.go_on();
    assert_eq!(text_of(asked).await, Parrot::says("hello"));
    let has_left = |status: &AgentStatus| !status.connected;
    soon("the goodbye", status.wait_for(has_left)).await.unwrap();
    invariants(&server).await;
    stop.cancel();
    soon("the Agent's end", task).await.unwrap().unwrap();
}
