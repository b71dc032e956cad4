//! Faults to survive: whatever breaks, on either side, in the middle of whatever, every job ends once, and is paid for once
//! or not at all. Each test ends in `harness::invariants`. Kills of the server are in `kill_server`, `kill_detached`,
//! `kill_batches`; all of them at random, with batches and real processes, are the soak in `benches`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "the modules of this test are for it alone")]
#![cfg(feature = "dev")]

#[path = "../harness/mod.rs"]
mod harness;

mod clocks;
mod database;
mod engine;
mod engines;
mod leases;
mod lines;
mod node;
mod nodes;
mod readiness;
mod snapshots;

use harness::TestServer;
use resultity_core::api::cloud::{ChatApi, Reply};
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::{ChatCompletion, ChatRequest, Message};
use resultity_server::assemble::Offer;
use tokio::task::JoinHandle;

/// What an answer of a test node costs: three prompt tokens, two made.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

fn request(text: &str) -> ChatRequest {
    ChatRequest::new("m", [Message::user(text)]).max_tokens(10)
}

/// Asks for a whole answer.
fn ask(server: &TestServer, text: &str) -> JoinHandle<Result<Reply<ChatCompletion>, ApiError>> {
    let (client, request) = (server.client(), request(text));
    tokio::spawn(async move { client.chat(request).await })
}

/// Asks for a stream, or for the same in one piece; its text, once it is complete.
async fn text_of(server: &TestServer, request: ChatRequest, stream: bool) -> Result<String, ApiError> {
    use futures::TryStreamExt;
    let client = server.client();
    if !stream {
        return Ok(client.chat(request).await?.text().to_owned());
    }
    let chunks: Vec<_> = client.chat_stream(request).await?.try_collect().await?;
    Ok(chunks.iter().map(|chunk| chunk.text().to_owned()).collect())
}

/// A failure of ours: it may be asked again, and cost nothing.
fn is_ours(error: &ApiError) -> bool {
    matches!(error.code, ErrorCode::NodeFailed | ErrorCode::NoCapacity)
}

/// Heartbeats every other second: what comes with them comes soon, and a node that is slow keeps its place and its link.
fn brisk() -> Offer {
    let mut offer = Offer::new(vec![harness::model("m")]);
    offer.heartbeat_interval_ms = 2_000;
    offer
}

/// Leases that run out soon.
fn with_short_leases() -> Offer {
    let mut offer = Offer::new(vec![harness::model("m")]);
    offer.jobs.lease_ms = 10_000;
    offer
}
