//! Lines that are slow, swallow everything, and break in the middle of frames; and all nodes coming back at once.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use resultity_client::CloudClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::clock::SystemEntropy;
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::signing::Keypair;
use resultity_core::wire::AckOutcome;
use rstest::rstest;
use secrecy::ExposeSecret;

use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::proxy::{FaultProxy, Luck, Weather};
use crate::harness::{CREDITS, TestServer, soon, timeless};
use crate::node::{Node, Parrot, Step};
use crate::{COST, ask, brisk, is_ours, request, with_short_leases};

async fn line_to(server: &TestServer, seed: u64) -> FaultProxy {
    FaultProxy::start(server.running.address(), seed).await.unwrap()
}

fn io_url(address: SocketAddr) -> String {
    format!("ws://{address}/io/v1/ws")
}

/// Waits until the network and the node have noticed that there is no link any more.
async fn until_apart(server: &TestServer, node: &Node) {
    while server.running.app().flow().bus.node(node.id).is_some() || node.status.borrow().connected {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_socket_is_cut_in_the_middle_of_a_frame_and_the_result_comes_over_the_next_one() {
    let server = TestServer::start().await;
    let line = line_to(&server, 1).await;
    let (runtime, dir) = (Parrot::stopping_at(Step::Made), tempfile::tempdir().unwrap());
    let node = Node::start(&io_url(line.address()), dir.path(), runtime.clone());
    node.until_in_rotation(&server).await;
    // Longer than what the line passes on at once.
    let question = "long ".repeat(2_000);
    let asked = ask(&server, &question);
    runtime.until_stopped().await;
    // The node dials again after a moment, and its job waits for it for seconds: that much time goes by, and not more.
    let reply = timeless(async {
        line.set(Weather {
            cuts: 10_000,
            ..Weather::default()
        });
        runtime.go_on();
        while line.cuts() == 0 {
            tokio::task::yield_now().await;
        }
        line.set(Weather::default());
        until_apart(&server, &node).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        soon("the answer", asked).await.unwrap().unwrap()
    })
    .await;
    assert_eq!(reply.text(), Parrot::says(&question));
    invariants(&server).await;
    node.stop().await;
}

#[tokio::test]
async fn fifty_nodes_come_back_at_once_and_deliver() {
    const NODES: usize = 50;
    let server = TestServer::start().await;
    let line = line_to(&server, 1).await;
    let url = io_url(line.address());
    let dialled = (0..NODES).map(|_| TestNode::connect_light(&url, Keypair::generate(&SystemEntropy), "m", 1));
    let mut nodes = join_all(dialled).await;
    join_all(nodes.iter_mut().map(TestNode::pass_readiness)).await;
    let flow = server.running.app().flow();
    soon("all nodes in rotation", async {
        while flow
            .fleet
            .all()
            .iter()
            .filter(|view| view.in_rotation(flow.clock.now()))
            .count()
            < NODES
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let asked: Vec<_> = (0..NODES).map(|number| ask(&server, &format!("{number}"))).collect();
    let jobs = join_all(nodes.iter_mut().map(TestNode::next_job)).await;
    for (node, job) in nodes.iter_mut().zip(&jobs) {
        node.accept(job).await;
    }
    let back = nodes.iter().zip(&jobs).map(|(node, job)| {
        let (key, resume) = (node.key.clone(), node.resume(vec![(job.job_id, job.attempt)]));
        let model = ("m", "1".to_owned());
        TestNode::try_connect(&url, key, model, 1, |hello| hello.resume = Some(resume))
    });
    // A job waits for its node for seconds: no more than that is what is looked at, whatever the machine can do.
    let back = timeless(async {
        line.cut_all();
        join_all(back).await
    })
    .await;
    let mut back: Vec<TestNode> = back.into_iter().map(Result::unwrap).collect();
    for (node, job) in back.iter_mut().zip(&jobs) {
        let held: Vec<_> = node.welcome.leases.iter().map(|lease| lease.job_id).collect();
        assert_eq!(held, [job.job_id]);
        node.answer(job, &job.job_id.to_string()).await;
    }
    for (node, job) in back.iter_mut().zip(&jobs) {
        assert_eq!(node.ack_of(job.job_id).await.outcome, AckOutcome::Recorded);
    }
    for asked in asked {
        let reply = soon("an answer", asked).await.unwrap().unwrap();
        assert_eq!(reply.text(), reply.meta.job_id.unwrap().to_string());
    }
    server
        .assert_charged(Credits::from_micros(COST.micros() * NODES as i64))
        .await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_node_behind_a_line_that_swallows_everything_loses_its_job_to_another() {
    let server = TestServer::with(with_short_leases()).await;
    let (line, second_line) = (line_to(&server, 1).await, line_to(&server, 2).await);
    let one = TestNode::ready(&io_url(line.address()), "m", 1).await;
    let second = TestNode::ready(&io_url(second_line.address()), "m", 1).await;
    let first = one.id();
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let (mut lost, job, mut other) = TestNode::whoever_is_given(one, second).await;
    let line = if lost.id() == first { line } else { second_line };
    lost.accept(&job).await;
    line.set(Weather {
        swallows: true,
        ..Weather::default()
    });
    let result = lost.result(&job, "from afar");
    lost.send(result).await;
    let again = other.next_job().await;
    other.answer(&again, "at last").await;
    assert_eq!(soon("the answer", asked).await.unwrap().unwrap().text(), "at last");
    // Now all that was swallowed comes.
    line.set(Weather::default());
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[rstest]
#[case(1)]
#[case(2)]
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_clients_and_nodes_break_at_random(#[case] seed: u64) {
    const ASKED: u64 = 60;
    let server = TestServer::with(brisk()).await;
    let mut nodes = Vec::new();
    let mut lines = Vec::new();
    for number in 0..2 {
        let line = line_to(&server, seed ^ number).await;
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&io_url(line.address()), dir.path(), Parrot::default());
        node.until_in_rotation(&server).await;
        nodes.push((node, dir));
        lines.push(line);
    }
    let clients = line_to(&server, seed ^ 7).await;
    let client = CloudClient::builder()
        .base_url(format!("http://{}/v1", clients.address()))
        .api_key(server.api_key.expose_secret().to_owned())
        .max_retries(0)
        .build()
        .unwrap();
    lines.push(clients);
    let storm = Weather {
        delay: Duration::from_millis(10),
        rate: 256 * 1024,
        cuts: 300,
        swallows: false,
    };
    for line in &lines {
        line.set(storm);
    }
    let asked = (0..ASKED).map(|number| {
        let (client, mut luck) = (client.clone(), Luck::of(seed, number));
        async move {
            tokio::time::sleep(Duration::from_millis(luck.up_to(1_500))).await;
            let question = format!("number {number}");
            match client.chat(request(&question)).await {
                Ok(reply) => {
                    assert_eq!(reply.text(), Parrot::says(&question));
                    reply.meta.job_id
                }
                Err(error) => {
                    let is_line = matches!(error.code, ErrorCode::Connection | ErrorCode::InvalidResponse);
                    assert!(is_line || is_ours(&error), "{error:?}");
                    None
                }
            }
        }
    });
    let mut answered: Vec<_> = soon("all ends", join_all(asked)).await.into_iter().flatten().collect();
    assert!(!answered.is_empty(), "nothing came through");
    let count = answered.len();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), count, "one job answered two questions");
    for line in &lines {
        line.set(Weather::default());
    }
    server.until_idle().await;
    let mut told = 0;
    for job in answered {
        told += server.store.job(job).await.unwrap().unwrap().cost.unwrap().micros();
    }
    // Whoever's line broke after their answer was paid did not hear it.
    let charged = CREDITS.micros() - server.balance().await.available.micros();
    assert!(charged >= told, "{charged} {told}");
    invariants(&server).await;
    for (node, _dir) in nodes {
        node.stop().await;
    }
}
