//! Nodes that nobody has bound: they are heard, and nothing else.

use std::num::NonZeroU32;

use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::signing::Keypair;
use resultity_core::wire::{FailureCode, ServerFrame};
use resultity_server::assemble::Offer;
use resultity_server::link::LinkPolicy;

use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::{TestServer, model, soon};
use crate::{COST, ask, text_of};

/// A server that binds no node by itself, with places for so many.
async fn server(places: u32) -> TestServer {
    TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.link_policy = LinkPolicy::default();
        options.connections.total = NonZeroU32::new(places).unwrap();
    })
    .await
}

async fn connect(server: &TestServer) -> TestNode {
    let key = Keypair::generate(&SystemEntropy);
    TestNode::connect(&server.io_url(), key, "m", 1, None).await
}

async fn bind(server: &TestServer, node: &Keypair) {
    let (store, now) = (&server.store, SystemClock.now());
    let (node, environment) = (node.node_id(), Environment::Testnet);
    store.register_node(node, environment, now).await.unwrap();
    let bound = store.bind_node(node, environment, server.principal.account, now).await;
    assert!(bound.unwrap().is_some());
}

#[tokio::test]
async fn nothing_that_a_stranger_says_is_answered_but_its_heartbeats() {
    let server = server(100).await;
    let key = Keypair::generate(&SystemEntropy);
    bind(&server, &key).await;
    let mut known = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    let mut stranger = connect(&server).await;
    known.pass_readiness().await;
    server.until_served("m").await;
    let asked = ask(&server);
    let job = known.next_job().await;
    known.accept(&job).await;
    // Somebody else's job, its own lies about it, and what nobody understands.
    for text in ["stolen", "again"] {
        stranger.accept(&job).await;
        let result = stranger.result(&job, text);
        stranger.send(result).await;
        let failure = stranger.failure(&job, FailureCode::EngineFailed);
        stranger.send(failure).await;
    }
    stranger.send_text(r#"{"type":"of the future"}"#.into()).await;
    let log = stranger.signed_log(1, Vec::new());
    stranger.send_text(log).await;
    assert!(stranger.renewed(1, &[(job.job_id, job.attempt)]).await.is_empty());
    let result = known.result(&job, "mine");
    known.send(result).await;
    assert_eq!(text_of(asked).await, "mine");
    server.assert_charged(COST).await;

    // Once somebody has bound it, it is a node like any other.
    bind(&server, &stranger.key).await;
    server.running.app().flow().fleet_changed(stranger.id());
    stranger.pass_readiness().await;
    stranger.send_text(r#"{"type":"of the future"}"#.into()).await;
    loop {
        match stranger.next().await {
            ServerFrame::Error(error) => break assert_eq!(error.code, "unknown_type"),
            ServerFrame::Notice(_) | ServerFrame::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
    invariants(&server).await;
}

#[tokio::test]
async fn a_stranger_may_send_little() {
    let server = server(100).await;
    let mut stranger = connect(&server).await;
    let id = stranger.id();
    let padding = "x".repeat(64 * 1024);
    let frame = format!(r#"{{"type":"error","code":"c","message":"{padding}"}}"#);
    // Sooner or later it is cut off in the middle of what it sends.
    soon("the end of the link", async {
        while stranger.try_send_text(frame.clone()).await {}
    })
    .await;
    crate::until_gone(&server, id).await;
    invariants(&server).await;
}

#[tokio::test]
async fn strangers_have_a_quarter_of_the_places() {
    // Two for strangers.
    let server = server(11).await;
    let _held = [connect(&server).await, connect(&server).await];
    let key = Keypair::generate(&SystemEntropy);
    let refused = TestNode::try_connect(&server.io_url(), key.clone(), ("m", "1".into()), 1, |_| ()).await;
    let reject = refused.err().expect("there is no place");
    assert!(
        reject.message.contains("busy") && reject.retry_after_ms.is_some(),
        "{reject:?}"
    );
    // One that somebody has bound gets in.
    bind(&server, &key).await;
    let mut known = TestNode::connect(&server.io_url(), key, "m", 1, None).await;
    known.pass_readiness().await;
    server.until_served("m").await;
    invariants(&server).await;
}
