//! The link between the network and its nodes, line by line of what the protocol promises: leases, frames that are not as they
//! should be, what comes twice or late, who reads nothing, links that are replaced, and nodes without a socket. Each test ends
//! in `harness::invariants`. What breaks in machines and processes is in `faults`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "the modules of this test are for it alone")]

#[path = "../harness/mod.rs"]
mod harness;

mod agent;
mod askers;
mod fallback;
mod frames;
mod leases;
mod links;
mod replay;
mod strangers;

use std::time::Duration;

use harness::node::TestNode;
use harness::{TestServer, soon, timeless};
use resultity_core::api::cloud::{ChatApi, Reply};
use resultity_core::credits::Credits;
use resultity_core::error::ApiError;
use resultity_core::id::{JobId, NodeId};
use resultity_core::job::Attempt;
use resultity_core::openai::chat::{ChatCompletion, ChatRequest, Message};
use resultity_core::wire::Job;
use resultity_server::assemble::Offer;
use tokio::task::JoinHandle;

/// What an answer of a test node costs: three prompt tokens, two made.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

/// Longer than a job waits for a node whose link has gone.
const GRACE: Duration = Duration::from_secs(4);

fn request(text: &str) -> ChatRequest {
    ChatRequest::new("m", [Message::user(text)]).max_tokens(10)
}

/// Asks for a whole answer.
fn ask(server: &TestServer) -> JoinHandle<Result<Reply<ChatCompletion>, ApiError>> {
    let client = server.client();
    tokio::spawn(async move { client.chat(request("hello")).await })
}

/// Asks for a stream; its text, once it is complete.
fn ask_for_stream(server: &TestServer) -> JoinHandle<Result<String, ApiError>> {
    use futures::TryStreamExt;
    let client = server.client();
    tokio::spawn(async move {
        let chunks: Vec<_> = client.chat_stream(request("hello")).await?.try_collect().await?;
        Ok(chunks.iter().map(|chunk| chunk.text().to_owned()).collect())
    })
}

async fn text_of(asked: JoinHandle<Result<Reply<ChatCompletion>, ApiError>>) -> String {
    let reply = soon("the answer", asked).await.unwrap().unwrap();
    reply.text().to_owned()
}

async fn server_and_node() -> (TestServer, TestNode) {
    with_node(Offer::new(vec![harness::model("m")])).await
}

async fn with_node(offer: Offer) -> (TestServer, TestNode) {
    let server = TestServer::with(offer).await;
    let node = server.node_in_rotation("m", 1).await;
    server.until_served("m").await;
    (server, node)
}

/// The attempt that a node was given.
fn held(job: &Job) -> (JobId, Attempt) {
    (job.job_id, job.attempt)
}

/// The node again, over a new link, with what it still has.
async fn again(server: &TestServer, node: TestNode, jobs: &[&Job]) -> TestNode {
    let resume = node.resume(jobs.iter().map(|job| held(job)).collect());
    let (key, url) = (node.key.clone(), server.io_url());
    // A job waits for its node for seconds.
    timeless(async {
        drop(node);
        TestNode::connect(&url, key, "m", 1, Some(resume)).await
    })
    .await
}

/// Waits until the network has noticed that a node has no link any more.
async fn until_gone(server: &TestServer, node: NodeId) {
    let flow = server.running.app().flow();
    soon("the end of the link", async {
        while flow.bus.node(node).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// So much time goes by at once, for all that waits for it.
async fn pass(time: Duration) {
    // What is under way first gets where it waits.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
