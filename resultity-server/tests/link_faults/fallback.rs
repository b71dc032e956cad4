//! Nodes without a socket: what they keep, for how long, and how little one of them can take from the others.

use std::num::NonZeroU32;
use std::time::Duration;

use resultity_core::api::gate::{AdminNodesApi, FlagNode, InEnvironment, NodeFlag, PenaliseNode};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::networks::Networks;
use resultity_core::signing::Keypair;
use resultity_core::wire::{AckOutcome, Job, NodeFrame};
use resultity_server::assemble::Offer;
use resultity_server::store::fleet::NodeChange;
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::gate::administrator;
use crate::harness::http_node::HttpNode;
use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::{TestServer, model, soon};
use crate::{COST, GRACE, ask, held, pass, server_and_node, text_of, until_gone};

/// The job of a node whose socket has gone, and which goes on over HTTP.
async fn over_http(server: &TestServer, node: TestNode, job: &Job) -> HttpNode {
    let (id, mut http) = (node.id(), HttpNode::of(server, &node));
    let welcome = http.knock(vec![held(job)]).await;
    assert_eq!(welcome.leases.len(), 1);
    drop(node);
    until_gone(server, id).await;
    http
}

fn outcomes(acks: &[resultity_core::wire::Ack]) -> Vec<AckOutcome> {
    acks.iter().map(|ack| ack.outcome).collect()
}

#[tokio::test]
async fn a_socket_that_dies_takes_no_job_with_it_that_goes_on_over_http() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let result = NodeFrame::from(node.result(&job, "over HTTP"));
    // It says so while the network still believes in the socket.
    let http = over_http(&server, node, &job).await;
    pass(GRACE).await;
    assert_eq!(http.report(1, &[held(&job)]).await.renewed.len(), 1);
    assert_eq!(outcomes(&http.deliver(&[result]).await), [AckOutcome::Recorded]);
    assert_eq!(text_of(asked).await, "over HTTP");
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_job_that_a_node_without_a_socket_does_not_have_moves_on() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    // Sent, and lost with the socket.
    let job = node.next_job().await;
    let mut other = server.node_in_rotation("m", 1).await;
    let (id, mut http) = (node.id(), HttpNode::of(&server, &node));
    http.knock(Vec::new()).await;
    drop(node);
    until_gone(&server, id).await;
    pass(GRACE).await;
    let next = other.next_job().await;
    assert_eq!((next.job_id, next.attempt.get()), (job.job_id, 2));
    other.answer(&next, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    invariants(&server).await;
}

#[tokio::test]
async fn a_session_over_http_that_falls_silent_keeps_nothing() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut other = server.node_in_rotation("m", 1).await;
    let result = NodeFrame::from(node.result(&job, "late"));
    let http = over_http(&server, node, &job).await;
    let environment = Environment::Testnet;
    assert!(server.running.app().fallback.has(environment, http.key.node_id()));
    // Three heartbeats are missing, of all nodes.
    pass(Duration::from_secs(31)).await;
    other.renewed(1, &[]).await;
    assert!(!server.running.app().fallback.has(environment, http.key.node_id()));
    pass(GRACE).await;
    let next = other.next_job().await;
    assert_eq!((next.job_id, next.attempt.get()), (job.job_id, 2));
    other.answer(&next, "hi").await;
    assert_eq!(text_of(asked).await, "hi");
    let beat = http.heartbeat(1, Vec::new(), SystemClock.now());
    assert_eq!(http.post("heartbeat", &beat).await.0, 404);
    assert_eq!(outcomes(&http.deliver(&[result]).await), [AckOutcome::Superseded]);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[derive(Debug, Clone, Copy)]
enum Decided {
    Frozen,
    Excluded,
    Paused,
}

#[rstest]
#[case(Decided::Frozen)]
#[case(Decided::Excluded)]
#[case(Decided::Paused)]
#[tokio::test]
async fn what_is_decided_about_a_node_counts_without_a_socket_too(#[case] decided: Decided) {
    let testnet = InEnvironment {
        environment: Some(Environment::Testnet),
    };
    let (server, mut node) = server_and_node().await;
    let (_, _, root) = administrator(&server, "root").await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut other = server.node_in_rotation("m", 1).await;
    let (id, result) = (node.id(), NodeFrame::from(node.result(&job, "mine")));
    let http = over_http(&server, node, &job).await;
    assert_eq!(http.report(1, &[held(&job)]).await.renewed.len(), 1);
    match decided {
        Decided::Frozen => drop(
            root.flag_node(id, testnet, FlagNode::new(NodeFlag::Freeze, "odd"))
                .await
                .unwrap(),
        ),
        Decided::Excluded => drop(root.penalise_node(id, testnet, PenaliseNode::new("odd")).await.unwrap()),
        Decided::Paused => {
            let change = NodeChange {
                paused: Some(true),
                ..NodeChange::default()
            };
            let account = server.principal.account;
            let changed = server
                .store
                .update_node(account, id, Environment::Testnet, change, SystemClock.now());
            assert!(changed.await.unwrap().is_some());
        }
    }
    let renewed = http.report(2, &[held(&job)]).await.renewed;
    if matches!(decided, Decided::Paused) {
        // What it has it finishes.
        assert_eq!(renewed.len(), 1);
        assert_eq!(outcomes(&http.deliver(&[result]).await), [AckOutcome::Recorded]);
        assert_eq!(text_of(asked).await, "mine");
    } else {
        assert!(renewed.is_empty());
        pass(GRACE).await;
        let next = other.next_job().await;
        assert_eq!(next.job_id, job.job_id);
        other.answer(&next, "not its own").await;
        assert_eq!(text_of(asked).await, "not its own");
        assert_eq!(outcomes(&http.deliver(&[result]).await), [AckOutcome::Superseded]);
    }
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_heartbeat_is_told_what_became_of_ends_that_it_names() {
    let (server, mut node) = server_and_node().await;
    let asked = ask(&server);
    let first = node.next_job().await;
    node.answer(&first, "done").await;
    assert_eq!(text_of(asked).await, "done");
    let asked = ask(&server);
    let second = node.next_job().await;
    node.accept(&second).await;
    asked.abort();
    node.cancel_of(second.job_id).await;
    server.until_idle().await;
    let mut http = HttpNode::of(&server, &node);
    drop(node);
    http.knock(Vec::new()).await;
    let said = http.report(1, &[held(&first), held(&second)]).await;
    assert!(said.renewed.is_empty());
    let acks: Vec<_> = said.acks.iter().map(|ack| (ack.job_id, ack.outcome)).collect();
    assert_eq!(
        acks,
        [
            (first.job_id, AckOutcome::Recorded),
            (second.job_id, AckOutcome::Superseded)
        ]
    );
    server.assert_charged(COST).await;
    invariants(&server).await;
}

/// A delivery whose body does not come.
async fn stuck(server: &TestServer, http: &HttpNode) -> TcpStream {
    let mut head = "POST /io/v1/results HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n".to_owned();
    for (name, value) in http.signed("a body that never comes", http.now()) {
        for part in [name, ": ", &value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    let mut socket = TcpStream::connect(server.running.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn one_node_hands_in_one_thing_at_a_time_and_keeps_no_other_from_it() {
    let (server, node) = server_and_node().await;
    let http = HttpNode::of(&server, &node);
    let another = server.node_in_rotation("m", 1).await;
    let another = HttpNode::of(&server, &another);
    let held = stuck(&server, &http).await;
    // Asked with what counts in no case: else it might come before what is to be stuck.
    let is_under_way = || async {
        let mut forged = http.signed("", SystemClock.now());
        forged[2].1 = resultity_core::B256::ZERO.to_string();
        http.post_with("results", String::new(), forged).await.0 == 429
    };
    soon("a refusal", async { while !is_under_way().await {} }).await;
    for _ in 0..20 {
        assert_eq!(http.try_deliver(&[]).await.0, 429);
        assert_eq!(another.try_deliver(&[]).await.0, 200);
    }
    drop(held);
    soon("room", async { while http.try_deliver(&[]).await.0 != 200 {} }).await;
    invariants(&server).await;
}

#[tokio::test]
async fn an_address_that_forges_requests_is_not_heard_for_a_while() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.connections.exempt = Networks::default();
        options.connections.failed_handshakes_per_minute = NonZeroU32::MIN;
    })
    .await;
    let node = server.node_in_rotation("m", 1).await;
    let http = HttpNode::of(&server, &node);
    assert_eq!(http.try_deliver(&[]).await.0, 200);
    // In its name, with the key of another.
    let forger = HttpNode::new(&server, Keypair::generate(&SystemEntropy), node.domain.clone());
    let body = r#"{"frames":[]}"#;
    for _ in 0..2 {
        let mut headers = forger.signed(body, http.now());
        headers[0].1 = node.id().to_string();
        assert_eq!(forger.post_with("results", body.into(), headers).await.0, 403);
    }
    // From now on nothing is even looked at, on any of its ways.
    assert_eq!(http.try_deliver(&[]).await.0, 429);
    let beat = http.heartbeat(1, Vec::new(), SystemClock.now());
    assert_eq!(http.post("heartbeat", &beat).await.0, 429);
    assert_eq!(http.post("nodes", "{}").await.0, 429);
    invariants(&server).await;
}
