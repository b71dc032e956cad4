//! What comes a second time, or from another time: hellos, heartbeats, logs, results, orders; and clocks that are off.

use std::collections::BTreeMap;
use std::sync::Arc;

use resultity_core::canonical;
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use resultity_core::signing::{Keypair, Signature, TypedData as _};
use resultity_core::wire::{AckOutcome, Control, ControlAction, LogLevel, LogLine, RejectCode};
use resultity_node::agent::{Agent, AgentStatus};
use resultity_server::store::node_logs::{NodeLogFilter, NodeLogRecord};
use resultity_server::store::webhooks::PageOf;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use crate::agent::Parrot;
use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::{TestServer, soon};
use crate::{COST, again, ask, held, server_and_node, text_of};

fn line(message: &str) -> LogLine {
    LogLine {
        time: SystemClock.now(),
        level: LogLevel::Info,
        job_id: None,
        message: message.into(),
        fields: BTreeMap::default(),
    }
}

/// The lines that are kept of a node.
pub async fn lines(server: &TestServer, node: NodeId, account: Option<AccountId>) -> Vec<NodeLogRecord> {
    let filter = NodeLogFilter {
        node,
        environment: Environment::Testnet,
        account,
        level: None,
        job: None,
        page: PageOf {
            after: None,
            limit: 1000,
            ascending: true,
        },
    };
    server.store.node_logs(filter).await.unwrap()
}

#[tokio::test]
async fn a_heartbeat_that_comes_again_ends_the_link_and_no_job() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let first = node.signed_heartbeat(1, 1, &[held(&job)], SystemClock.now());
    node.send_text(first.clone()).await;
    assert_eq!(node.renewed(2, &[held(&job)]).await.len(), 1);
    node.send_text(first.clone()).await;
    assert_eq!(node.close_code().await, 1008);
    // Over the next link it is of another session.
    let mut node = again(&server, node, &[&job]).await;
    node.send_text(first).await;
    assert_eq!(node.close_code().await, 1008);
    let mut node = again(&server, node, &[&job]).await;
    let result = node.result(&job, "hi");
    node.send(result).await;
    assert_eq!(text_of(asked).await, "hi");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_log_that_comes_again_ends_the_link_and_is_kept_once() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let log = node.signed_log(1, vec![line("once")]);
    node.send_text(log.clone()).await;
    soon("the line", async {
        while lines(&server, node.id(), None).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.send_text(log.clone()).await;
    assert_eq!(node.close_code().await, 1008);
    let mut node = again(&server, node, &[&job]).await;
    node.send_text(log).await;
    assert_eq!(node.close_code().await, 1008, "of another session");
    let mut node = again(&server, node, &[&job]).await;
    let result = node.result(&job, "hi");
    node.send(result).await;
    assert_eq!(text_of(asked).await, "hi");
    let kept = lines(&server, node.id(), None).await;
    assert_eq!(kept.iter().filter(|kept| kept.line.message == "once").count(), 1);
    invariants(&server).await;
}

#[tokio::test]
async fn a_late_result_that_its_node_has_not_signed_ends_the_link() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.answer(&job, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    let mut forged = node.result(&job, "hi");
    forged.completion_tokens += 1;
    node.send(forged).await;
    assert_eq!(node.close_code().await, 1008);
    // Another node's, signed by that: neither.
    let mut other = server.node_in_rotation("m", 1).await;
    let result = node.result(&job, "hi");
    other.send(result).await;
    assert_eq!(other.close_code().await, 1008);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[rstest]
#[case(-61_000)]
#[case(120_000)]
#[tokio::test]
async fn a_node_whose_clock_is_off_is_told_so_and_loses_no_job(#[case] off: i64) {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let at = || Timestamp::from_millis(SystemClock.now().as_millis() + off);
    let heartbeat = node.signed_heartbeat(1, 1, &[held(&job)], at());
    node.send_text(heartbeat).await;
    assert_eq!(node.close_code().await, 1008);
    let url = server.io_url();
    let skewed = TestNode::try_connect(
        &url,
        node.key.clone(),
        ("m", node.models[0].version.clone()),
        1,
        |hello| hello.issued_at = at(),
    );
    let reject = skewed.await.err().expect("its clock is off");
    assert_eq!(reject.code, RejectCode::ClockSkew);
    assert!(reject.retry_after_ms.is_some());
    // Once it is right again.
    let mut node = again(&server, node, &[&job]).await;
    let result = node.result(&job, "on time");
    node.send(result).await;
    assert_eq!(text_of(asked).await, "on time");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_hello_that_is_not_for_this_link_is_not_let_in() {
    let (server, node) = server_and_node().await;
    // What another signs in its name is no better than what it signed for another link.
    let thief = Keypair::generate(&SystemEntropy);
    let (id, version) = (node.id(), node.models[0].version.clone());
    let url = server.io_url();
    let stolen = TestNode::try_connect(&url, thief, ("m", version), 1, |hello| hello.node_id = id);
    let reject = stolen.await.err().expect("it is not its own");
    assert_eq!(reject.code, RejectCode::BadSignature);
    invariants(&server).await;
}

/// A real Agent, whose link a test speaks over beside the network.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_again_ends_the_link_and_no_job() {
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
    let session = flow.bus.node(id).unwrap().session;
    let mut order = Control {
        node_id: id,
        session_id: session,
        action: ControlAction::Resume,
        nonce: canonical::sha256("once"),
        expires_at: SystemClock.now().after(std::time::Duration::from_mins(1)),
        signature: Signature::from_bytes([0; 65]),
    };
    order.signature = order.signed_data().sign(&flow.domain, &flow.network_key());
    assert!(flow.bus.send_to_node(id, order.clone()));
    assert!(flow.bus.send_to_node(id, order.clone()));
    let is_another = |status: &AgentStatus| status.connected && status.session != Some(session);
    let before = soon("another link", status.wait_for(is_another)).await.unwrap().session;
    // In the next session it does not count either, whoever signed it.
    soon("the link", async {
        while flow.bus.node(id).map(|topic| topic.session) != before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(flow.bus.send_to_node(id, order.clone()));
    let is_third = |status: &AgentStatus| status.connected && status.session != before;
    soon("a third link", status.wait_for(is_third)).await.unwrap();
    runtime.go_on();
    assert_eq!(text_of(asked).await, Parrot::says("hello"));
    invariants(&server).await;
    stop.cancel();
    soon("the Agent's end", task).await.unwrap().unwrap();
}
