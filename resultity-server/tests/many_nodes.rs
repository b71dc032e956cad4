//! Two thousand nodes on one server: real signatures on real WebSockets, nodes so light that what is looked at is the server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, stream};
use harness::node::TestNode;
use harness::{TestServer, model};
use resultity_core::api::cloud::ChatApi;
use resultity_core::clock::SystemEntropy;
use resultity_core::credits::Credits;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::signing::Keypair;
use resultity_core::wire::ServerFrame;
use resultity_server::assemble::Offer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const NODES: usize = 2000;

/// How many come at once.
const AT_ONCE: usize = 64;

/// How many lose their links at the same moment.
const LOST: usize = 60;

/// Jobs before, and jobs after that.
const JOBS: usize = 200;

/// What every answer of a test node costs.
const COST: i64 = 10 + 3 + 4;

/// How long each part of it may take before it counts as hanging. How fast it is, is for the bench to say.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a node has done.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Job,
    Heartbeat,
}

/// A node that answers whatever it is asked, and reports when it is told to.
fn work(mut node: TestNode, done: mpsc::UnboundedSender<Done>, mut beats: watch::Receiver<u64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Ok(()) = beats.changed() => {
                    let seq = *beats.borrow_and_update();
                    node.heartbeat(seq).await;
                }
                frame = node.next_or_end() => match frame {
                    Some(ServerFrame::Job(job)) => node.answer(&job, "yes").await,
                    Some(ServerFrame::Ack(_)) => drop(done.send(Done::Job)),
                    Some(ServerFrame::HeartbeatAck(_)) => drop(done.send(Done::Heartbeat)),
                    Some(_) => {}
                    None => return,
                },
            }
        }
    })
}

async fn until(done: &mut mpsc::UnboundedReceiver<Done>, what: &Done, count: usize) {
    let end = Instant::now() + PATIENCE;
    let mut found = 0;
    while found < count {
        let next = tokio::time::timeout_at(end, done.recv()).await;
        let next = next
            .unwrap_or_else(|_| panic!("only {found} of {count}: {what:?}"))
            .unwrap();
        found += usize::from(next == *what);
    }
}

async fn jobs(server: &TestServer, count: usize) {
    let client = server.client();
    let asked = stream::iter(0..count).map(|_| {
        let request = ChatRequest::new("m", [Message::user("hello")]).max_tokens(10);
        client.chat(request)
    });
    let answers: Vec<_> = asked.buffer_unordered(32).collect().await;
    for answer in answers {
        assert_eq!(answer.unwrap().text(), "yes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_nodes_connect_report_work_and_come_back() {
    let begun = Instant::now();
    // The test says when a heartbeat is due: nobody is let go meanwhile.
    let mut offer = Offer::new(vec![model("m")]);
    offer.heartbeat_interval_ms = 3_600_000;
    let server = TestServer::with(offer).await;
    let io_url = server.io_url();
    let (done, mut dones) = mpsc::unbounded_channel();
    let (beat, beats) = watch::channel(0);
    let connect = |key: Keypair| TestNode::connect_light(&io_url, key, "m", 2);

    let nodes: Vec<TestNode> = stream::iter(0..NODES)
        .map(|_| connect(Keypair::generate(&SystemEntropy)))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let keys: Vec<Keypair> = nodes.iter().map(|node| node.key.clone()).collect();
    let mut tasks: Vec<_> = nodes
        .into_iter()
        .map(|node| work(node, done.clone(), beats.clone()))
        .collect();
    // Each has answered its readiness job.
    until(&mut dones, &Done::Job, NODES).await;
    server.until_served("m").await;
    println!("{NODES} nodes in rotation after {:?}", begun.elapsed());

    let at = Instant::now();
    beat.send(1).unwrap();
    until(&mut dones, &Done::Heartbeat, NODES).await;
    println!("{NODES} heartbeats took {:?}", at.elapsed());

    let at = Instant::now();
    jobs(&server, JOBS).await;
    println!("{JOBS} jobs took {:?}", at.elapsed());
    until(&mut dones, &Done::Job, JOBS).await;

    // Links that break at the same moment, and come back at the same moment.
    let at = Instant::now();
    for task in &tasks[..LOST] {
        task.abort();
    }
    for task in tasks.drain(..LOST) {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let back: FuturesUnordered<_> = keys[..LOST].iter().cloned().map(connect).collect();
    let back: Vec<TestNode> = back.collect().await;
    tasks.extend(back.into_iter().map(|node| work(node, done.clone(), beats.clone())));
    until(&mut dones, &Done::Job, LOST).await;
    println!("{LOST} nodes were back after {:?}", at.elapsed());
    jobs(&server, JOBS).await;

    server
        .assert_charged(Credits::from_micros(COST * 2 * JOBS as i64))
        .await;
    println!("all of it took {:?}", begun.elapsed());
    tasks.iter().for_each(JoinHandle::abort);
}
